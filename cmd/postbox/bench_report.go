package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"postbox/internal/bench/plot"
)

type benchReportCmd struct {
	Files []string `arg:"" name:"file" type:"path" help:"JSON that another bench command has written."`
	Out   string   `required:"" type:"path" help:"Where to write the page."`
}

// Help is the end of the command's --help.
func (benchReportCmd) Help() string {
	return `Draws reports as one page of HTML that needs nothing else: ratios between brokers,
latencies by percentile, rates second by second. Example:

  postbox bench report docs/results/bench-send.json docs/results/bench-mixed.json --out report.html`
}

// Run reads the files and writes the page.
func (c *benchReportCmd) Run(_ context.Context, g *globals) error {
	var documents []plot.Document
	for _, file := range c.Files {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read a report: %w", err)
		}
		documents = append(documents, plot.Document{Name: filepath.Base(file), JSON: text})
	}
	var page bytes.Buffer
	if err := plot.Write(&page, documents); err != nil {
		return err
	}
	if err := os.WriteFile(c.Out, page.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	_, err := fmt.Fprintf(g.Stdout, "written to %s\n", c.Out)
	return err
}
