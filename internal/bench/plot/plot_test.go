package plot

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const report = `{"started":"2026-01-02T03:04:05Z","commit":"abc","machine":{"cores":2,"cpu":"<fast>"},"notes":["a=0"],
"ratios":[{"against":"mochi","acknowledged":0.7,"acknowledged_each_round":[0.5,0.75,0.7]}],
"runs":[{"round":1,"name":"postbox","end_to_end":{"count":9,"p50_ms":1.5,"p90_ms":2,"p99_ms":30,"p999_ms":31,"max_ms":2000},
"acknowledged_each_second":[10,1200,40],"acknowledged_per_s":1234.5,"losses":{"missing":0}}]}`

func drawn(t *testing.T, documents ...Document) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, documents); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What stands in a report is on the page: as dots, columns, and a table.
func TestPage(t *testing.T) {
	t.Parallel()
	page := drawn(t, Document{"one.json", []byte(report)})
	for _, want := range []string{
		"<h2>one.json</h2>", "cpu &lt;fast&gt;", "<dd>a=0</dd>",
		"round 1 postbox · end to end: p99 30 ms", "round 1 postbox · end to end: max 2,000 ms",
		"second 2: 1,200", "at most 1,200/s", "round 2: 0.75", ">to mochi · acknowledged</text>", `class="value">0.70</text>`,
		"<td>round 1 postbox · acknowledged/s</td><td>1,234</td>", "<td>round 1 postbox · losses · missing</td><td>0</td>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s", want)
		}
	}
	if n := strings.Count(page, `class="column"`); n != 3 {
		t.Errorf("%d columns for 3 seconds", n)
	}
}

// The page needs nothing else and runs nothing, and its drawings are well formed,
// whatever the reports are called.
func TestPageStandsAlone(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../../docs/results/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no results: %v", err)
	}
	documents := []Document{{`<script>"&.json`, []byte(strings.ReplaceAll(report, "mochi", `<b onload=x>`))}}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, Document{filepath.Base(file), text})
	}
	page := drawn(t, documents...)
	if found := regexp.MustCompile(`(?i)<script|<link|<b |@import|(src|href)=|url\(|https?:`).FindString(page); found != "" {
		t.Errorf("%s is on the page", found)
	}
	drawings := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1)
	if len(drawings) < len(documents) {
		t.Errorf("%d drawings of %d reports", len(drawings), len(documents))
	}
	for _, d := range drawings {
		for in := xml.NewDecoder(strings.NewReader(d)); ; {
			if _, err := in.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%v in %s", err, d)
			}
		}
		if strings.Contains(d, "NaN") || strings.Contains(d, "Inf") {
			t.Errorf("no number in %s", d)
		}
	}
}

func TestNoReport(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"junk": "x.json is no report", "[]": "begins with [", `{"a":1}`: "names no machine", `{"machine":`: "x.json is no report"} {
		if err := Write(io.Discard, []Document{{"x.json", []byte(text)}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
