// Package plot draws the reports of package bench as one page of HTML: no scripts, and
// nothing from elsewhere. It goes by the shape of the JSON, not by the command that
// wrote it: what has percentiles is a distribution, an array by the second is a rate
// over time, an array by the round is a ratio; the other numbers are a table.
package plot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Document is one JSON report.
type Document struct {
	Name string // of its file
	JSON []byte
}

// latency is a distribution, in milliseconds.
type latency struct {
	Label                     string
	P50, P90, P99, P999, Most float64
}

// series is a rate, second by second.
type series struct {
	Label  string
	Values []float64
}

// ratio is the ratios of a figure, round by round.
type ratio struct {
	Label  string
	Values []float64
}

// figure is a number or a word.
type figure struct{ Label, Value string }

// chapter is what was found in a document.
type chapter struct {
	Title     string
	Facts     []figure // what it was measured on, and when
	Latencies []latency
	Series    []series
	Ratios    []ratio
	Figures   []figure
}

// field is a member of a JSON object, in the order of the text.
type field struct {
	name  string
	value json.RawMessage
}

// collect takes a document apart.
func collect(d Document) (*chapter, error) {
	c := &chapter{Title: d.Name}
	fields, err := fieldsOf(d.JSON)
	if err != nil {
		return nil, fmt.Errorf("%s is no report of bench: %w", d.Name, err)
	}
	if !slices.ContainsFunc(fields, func(f field) bool { return f.name == "machine" }) {
		return nil, fmt.Errorf("%s is no report of bench: it names no machine", d.Name)
	}
	c.object(nil, fields)
	return c, nil
}

// fieldsOf reads an object, keeping its order.
func fieldsOf(text json.RawMessage) (fields []field, err error) {
	in := json.NewDecoder(bytes.NewReader(text))
	first, err := in.Token()
	if err != nil {
		return nil, err
	}
	if first != json.Delim('{') {
		return nil, fmt.Errorf("it begins with %v", first)
	}
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return nil, err
		}
		f := field{name: name.(string)}
		if err := in.Decode(&f.value); err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	_, err = in.Token()
	return fields, err
}

// aside are the parts that say what was measured, and on what.
var aside = []string{"machine", "started", "commit", "notes", "load", "database", "library"}

// object files all that an object has; path is where it is.
func (c *chapter) object(path []string, fields []field) {
	var l latency
	values := map[string]*float64{"p50_ms": &l.P50, "p90_ms": &l.P90, "p99_ms": &l.P99, "p999_ms": &l.P999, "max_ms": &l.Most}
	found := 0
	for _, f := range fields {
		if into := values[f.name]; into != nil && json.Unmarshal(f.value, into) == nil {
			found++
		}
	}
	if found == len(values) {
		if l.Label = label(path); l.Most > 0 {
			c.Latencies = append(c.Latencies, l)
		}
		return
	}
	for _, f := range fields {
		c.value(path, f)
	}
}

func (c *chapter) value(path []string, f field) {
	here := append(slices.Clone(path), f.name)
	switch {
	case slices.Contains(aside, f.name):
		if len(path) == 0 {
			c.fact(f)
		}
	case f.value[0] == '{':
		if inner, err := fieldsOf(f.value); err == nil {
			c.object(here, inner)
		}
	case f.value[0] == '[':
		c.array(here, f)
	case f.name == "name" || f.name == "round" || f.name == "against" || f.name == "kind" || f.name == "address" || string(f.value) == "null":
	default:
		c.Figures = append(c.Figures, figure{label(here), scalar(f.value)})
	}
}

// array is a series, ratios, or objects each of which is called by its name.
func (c *chapter) array(path []string, f field) {
	var numbers []float64
	if json.Unmarshal(f.value, &numbers) == nil {
		switch {
		case strings.HasSuffix(f.name, "_each_second"):
			c.Series = append(c.Series, series{label(path), numbers})
		case strings.HasSuffix(f.name, "_each_round"):
			c.Ratios = append(c.Ratios, ratio{label(path), numbers})
		}
		return
	}
	var objects []json.RawMessage
	if json.Unmarshal(f.value, &objects) != nil {
		return
	}
	for i, o := range objects {
		inner, err := fieldsOf(o)
		if err != nil {
			continue
		}
		c.object(append(slices.Clone(path[:len(path)-1]), called(inner, f.name, i)), inner)
	}
}

// called is the name of an object among others.
func called(fields []field, list string, i int) string {
	var parts []string
	for _, f := range fields {
		switch f.name {
		case "name", "kind", "looked_for", "where", "what":
			parts = append(parts, scalar(f.value))
		case "against":
			parts = append(parts, "to "+scalar(f.value))
		case "round":
			parts = append(parts, "round "+scalar(f.value))
		case "clients":
			parts = append(parts, scalar(f.value)+" clients")
		}
	}
	if len(parts) == 0 {
		return fmt.Sprintf("%s %d", list, i+1)
	}
	slices.Sort(parts) // names are after their round
	slices.Reverse(parts)
	return strings.Join(parts, " ")
}

// fact is a line on what was measured.
func (c *chapter) fact(f field) {
	switch {
	case f.value[0] == '{':
		inner, err := fieldsOf(f.value)
		if err != nil {
			return
		}
		var parts []string
		for _, i := range inner {
			if i.value[0] != '[' && i.value[0] != '{' && string(i.value) != "null" {
				parts = append(parts, words(i.name)+" "+scalar(i.value))
			}
		}
		c.Facts = append(c.Facts, figure{words(f.name), strings.Join(parts, ", ")})
	case f.value[0] == '[':
		var notes []string
		if json.Unmarshal(f.value, &notes) == nil && len(notes) > 0 {
			c.Facts = append(c.Facts, figure{words(f.name), strings.Join(notes, "; ")})
		}
	default:
		c.Facts = append(c.Facts, figure{words(f.name), scalar(f.value)})
	}
}
