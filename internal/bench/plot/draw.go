package plot

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// drawing is a chapter with its plots.
type drawing struct {
	*chapter
	LatencyPlot, RatioPlot template.HTML
	SeriesPlots            []template.HTML
}

// Write writes one page of HTML about all documents, in their order. What is no report
// is an error that names it.
func Write(w io.Writer, documents []Document) error {
	var page []drawing
	for _, d := range documents {
		c, err := collect(d)
		if err != nil {
			return err
		}
		p := drawing{chapter: c, LatencyPlot: drawLatencies(c.Latencies), RatioPlot: drawRatios(c.Ratios)}
		for _, s := range c.Series {
			p.SeriesPlots = append(p.SeriesPlots, drawSeries(s))
		}
		page = append(page, p)
	}
	return pageTemplate.Execute(w, page)
}

// A plot is as wide as a phone: it is never made smaller, so its letters are read.
const (
	width  = 340.0
	left   = 8.0
	right  = 12.0
	row    = 34.0
	inside = width - left - right
)

// canvas is an SVG that is being drawn.
type canvas struct{ bytes.Buffer }

func (c *canvas) add(format string, args ...any) { fmt.Fprintf(c, format, args...) }

func (c *canvas) text(x, y float64, class, text string) {
	c.add(`<text x="%.1f" y="%.1f" class="%s">%s</text>`, x, y, class, template.HTMLEscapeString(text))
}

// done wraps the drawing up; about is what a screen reader says.
func (c *canvas) done(height float64, about string) template.HTML {
	if c.Len() == 0 {
		return ""
	}
	return template.HTML(fmt.Sprintf(`<svg viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">%s</svg>`, width, height, template.HTMLEscapeString(about), c.String()))
}

// drawLatencies draws a line from the median to the longest for each distribution, with
// its percentiles, on one logarithmic scale.
func drawLatencies(all []latency) template.HTML {
	if len(all) == 0 {
		return ""
	}
	low, high := math.Inf(1), 0.0
	for _, l := range all {
		low, high = min(low, max(l.P50, 0.001)), max(high, l.Most)
	}
	from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	to = max(to, from+1)
	x := func(v float64) float64 { return left + inside*(math.Log10(max(v, math.Pow(10, from)))-from)/(to-from) }
	height := float64(len(all))*row + 24
	var c canvas
	for p := from; p <= to; p++ {
		at := x(math.Pow(10, p))
		c.add(`<line class="grid" x1="%.1f" x2="%.1f" y1="2" y2="%.1f"/>`, at, at, height-18)
		class := "tick middle"
		switch p {
		case from:
			class = "tick"
		case to:
			class = "tick end"
		}
		c.text(at, height-4, class, number(math.Pow(10, p))+" ms")
	}
	for i, l := range all {
		y := float64(i)*row + 26
		c.text(left, y-11, "name", short(l.Label))
		c.add(`<line class="whisker" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x(l.P50), x(l.Most), y, y)
		c.add(`<line class="bar" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x(l.P50), x(l.P99), y, y)
		for _, p := range []struct {
			name  string
			value float64
		}{{"p50", l.P50}, {"p90", l.P90}, {"p99", l.P99}, {"p99.9", l.P999}, {"max", l.Most}} {
			c.add(`<circle class="%s" cx="%.1f" cy="%.1f" r="4"><title>%s: %s %s ms</title></circle>`,
				strings.ReplaceAll(p.name, ".", ""), x(p.value), y, template.HTMLEscapeString(l.Label), p.name, number(p.value))
		}
	}
	return c.done(height, "latencies by percentile")
}

// drawSeries draws a rate over time, from zero.
func drawSeries(s series) template.HTML {
	if len(s.Values) == 0 {
		return ""
	}
	const height, top, bottom = 120.0, 24.0, 18.0
	most := max(slices.Max(s.Values), 1)
	step := inside / float64(len(s.Values))
	y := func(v float64) float64 { return height - bottom - (height-top-bottom)*v/most }
	var c canvas
	c.text(left, 12, "name", short(s.Label))
	for _, v := range []float64{0, most} {
		c.add(`<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, left, width-right, y(v), y(v))
	}
	for i, v := range s.Values {
		c.add(`<rect class="column" x="%.1f" y="%.1f" width="%.2f" height="%.1f"><title>second %d: %s</title></rect>`,
			left+float64(i)*step+step*0.1, y(v), step*0.8, y(0)-y(v), i+1, number(v))
	}
	c.text(width-right, 12, "tick end", "at most "+number(most)+"/s")
	c.text(left, height-4, "tick", "0 s")
	c.text(width-right, height-4, "tick end", fmt.Sprintf("%d s", len(s.Values)))
	return c.done(height, s.Label+", second by second")
}

// drawRatios draws the ratio of each round as a dot beside 1, and their median as a
// line.
func drawRatios(all []ratio) template.HTML {
	most := 1.25
	for _, r := range all {
		for _, v := range r.Values {
			most = max(most, v*1.05)
		}
	}
	x := func(v float64) float64 { return left + inside*v/most }
	height := float64(len(all))*row + 24
	var c canvas
	for i, r := range all {
		if len(r.Values) == 0 {
			continue
		}
		y := float64(i)*row + 26
		sorted := slices.Sorted(slices.Values(r.Values))
		middle := (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
		c.text(left, y-11, "name", short(r.Label))
		c.text(width-right, y-11, "value", number(middle))
		c.add(`<line class="bar" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x(0), x(middle), y, y)
		for round, v := range r.Values {
			c.add(`<circle class="p50" cx="%.1f" cy="%.1f" r="4"><title>round %d: %s</title></circle>`, x(v), y, round+1, number(v))
		}
	}
	if c.Len() > 0 {
		c.add(`<line class="one" x1="%.1f" x2="%.1f" y1="2" y2="%.1f"/>`, x(1), x(1), height-18)
		c.text(x(1), height-4, "tick middle", "1: as much as the other")
	}
	return c.done(height, "ratios to other brokers, round by round")
}

// short is a label that fits beside a plot's other words.
func short(label string) string {
	const most = 46
	if r := []rune(label); len(r) > most {
		return "…" + string(r[len(r)-most+1:])
	}
	return label
}
