package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// screen is where a person reads what commands print: in columns that hold for
// wide characters too, times as the clock on the wall shows them, colours on a
// terminal only, and nothing of what strangers write obeyed.
type screen struct {
	w        io.Writer
	terminal bool
	colours  bool
	width    int // cells in a line; zero: not known, or not to be cut
}

func newScreen(g *globals) *screen {
	s := &screen{w: g.Stdout}
	f, ok := g.Stdout.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return s
	}
	s.terminal = true
	s.colours = g.Env("NO_COLOR") == "" && g.Env("TERM") != "dumb"
	s.width, _, _ = term.GetSize(int(f.Fd()))
	return s
}

// A colour is a number of ECMA-48 §8.3.117 (SGR).
const (
	bold   = "1"
	faint  = "2"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (s *screen) paint(colour, text string) string {
	if !s.colours || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// moment is a time by the local clock.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// pad fills a text up with spaces to a number of cells.
func pad(text string, cells int) string { return runewidth.FillRight(text, cells) }

// columns is a table of texts that may hold wide characters. The last column is cut
// where the line ends.
type columns struct {
	heads []string
	rows  [][]string
}

func (c *columns) add(row ...string) { c.rows = append(c.rows, row) }

// write prints the table, with nothing for no rows but its heads.
func (c *columns) write(s *screen) error {
	widths := make([]int, len(c.heads))
	for _, row := range append([][]string{c.heads}, c.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], runewidth.StringWidth(cell))
		}
	}
	var b strings.Builder
	for n, row := range append([][]string{c.heads}, c.rows...) {
		at := 0
		for i, cell := range row {
			last := i == len(row)-1
			if last {
				cell = s.cut(cell, at)
			} else {
				cell = pad(cell, widths[i])
				at += widths[i] + 2
			}
			if n == 0 {
				cell = s.paint(bold, cell)
			} else if i == 0 {
				cell = s.paint(cyan, cell)
			}
			b.WriteString(cell)
			if !last {
				b.WriteString("  ")
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(s.w, b.String())
	return err
}

// cut shortens a text that begins at a cell to the end of the line.
func (s *screen) cut(text string, at int) string {
	if s.width == 0 {
		return text
	}
	return runewidth.Truncate(text, max(s.width-at, 10), "…")
}

// hint tells a person what a program has no use for.
func hint(g *globals, s *screen, format string, args ...any) {
	if s.terminal {
		fmt.Fprintf(g.Stderr, format+"\n", args...)
	}
}

// size says how many bytes base64 stands for.
func size(base64 string) int {
	return len(base64)/4*3 - strings.Count(base64, "=")
}
