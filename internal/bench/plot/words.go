package plot

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// label is a path as people read it.
func label(path []string) string {
	parts := make([]string, len(path))
	for i, name := range path {
		parts[i] = words(name)
	}
	return strings.Join(parts, " · ")
}

// units are endings of names, the longer ones first.
var units = []struct{ suffix, unit string }{
	{"_each_second", ""}, {"_each_round", ""}, {"_per_s", "/s"}, {"_ms", ", ms"}, {"_bytes", ", bytes"}, {"_s", ", s"},
}

// words makes a name of JSON into words: the unit stands behind it.
func words(name string) string {
	for _, u := range units {
		if rest, ok := strings.CutSuffix(name, u.suffix); ok && len(rest) > 1 {
			return strings.ReplaceAll(rest, "_", " ") + u.unit
		}
	}
	return strings.ReplaceAll(name, "_", " ")
}

// scalar is a JSON value that is neither object nor array.
func scalar(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	if n, err := strconv.ParseFloat(string(value), 64); err == nil {
		return number(n)
	}
	return string(value)
}

// number has thousands separated, and three figures behind small ones.
func number(v float64) string {
	switch size := math.Abs(v); {
	case size >= 1000:
		digits := strconv.FormatFloat(size, 'f', 0, 64)
		for at := len(digits) - 3; at > 0; at -= 3 {
			digits = digits[:at] + "," + digits[at:]
		}
		if v < 0 {
			return "−" + digits
		}
		return digits
	case v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case size >= 0.1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}
