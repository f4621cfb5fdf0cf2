package main

import (
	"context"
	"encoding/json"
	"os"
	"strconv"

	"golang.org/x/term"
)

// maxPage is the largest page of the API.
const maxPage = 500

type historyCmd struct {
	serverFlags
	jsonFlag
	With   string `placeholder:"USER" complete:"users" help:"The conversation with this user."`
	Room   string `placeholder:"ROOM" complete:"rooms" help:"The conversation in this room."`
	Before string `placeholder:"PLACE" help:"Older than this: a number, an id, or a time as 2026-11-26T15:04:05Z."`
	After  string `placeholder:"PLACE" help:"Newer than this."`
	Around string `placeholder:"PLACE" help:"On both sides of this."`
	Limit  int    `default:"50" help:"How many messages, at most 500."`
	All    bool   `help:"All of them, from the oldest on, or from --after on."`
}

// Help is the end of the command's --help.
func (historyCmd) Help() string {
	return `Prints the latest messages, the oldest of them first, or those that the bounds say.

Examples:

  postbox history --with bob
  postbox history --room dev --around 1200 --limit 20
  postbox history --with bob --after 2026-11-01T00:00:00Z --all
  postbox history --with bob --all --json > bob.jsonl`
}

// page is the answer of history and of search.
type page struct {
	Messages  []json.RawMessage `json:"messages"`
	HasBefore bool              `json:"has_before"`
	HasAfter  bool              `json:"has_after"`
	HasMore   bool              `json:"has_more"`
}

// Run prints messages, page by page.
func (c *historyCmd) Run(ctx context.Context, g *globals) error {
	if (c.With == "") == (c.Room == "") {
		return usageError("which conversation? Give --with USER or --room ROOM")
	}
	if c.All && c.Around != "" {
		return usageError("--around has two ends, and --all goes one way: give --after, or leave --all out")
	}
	request := fields(map[string]string{"with": c.With, "room": c.Room})
	bounds(request, map[string]string{"before": c.Before, "after": c.After, "around": c.Around})
	request["limit"] = c.Limit
	if c.All {
		request["limit"] = maxPage
		if c.After == "" {
			request["after"] = 0
		}
	}
	server, err := c.open(g)
	if err != nil {
		return err
	}
	defer server.close()
	s := newScreen(g)
	list, said, printed := listing{s: s, numbers: true}, sayingOf(g, s), 0
	for {
		var p page
		if _, err := server.do(ctx, call{name: "history", request: request, again: true}, &p); err != nil {
			return err
		}
		last, err := list.print(p.Messages, c.JSON)
		if err != nil {
			return err
		}
		printed += len(p.Messages)
		if said("%d messages", printed); !c.All || !p.HasAfter || last.ID == "" {
			if !c.All && p.HasBefore && c.After == "" && c.Around == "" && printed > 0 {
				hint(g, s, "There are older ones: --before %d, or --all", last.Seq-int64(printed)+1)
			}
			return nil
		}
		request["after"] = last.ID
	}
}

// print writes messages, and returns the last.
func (l *listing) print(messages []json.RawMessage, asJSON bool) (entry, error) {
	all := make([]entry, len(messages))
	for i, text := range messages {
		var err error
		if all[i], err = parseEntry(text); err != nil {
			return entry{}, err
		}
	}
	l.fit(all)
	var last entry
	for i, text := range messages {
		if last = all[i]; asJSON {
			if err := writeJSONLine(l.s.w, text, l.s.terminal); err != nil {
				return last, err
			}
			continue
		}
		if err := writeText(l.s.w, l.line(last)); err != nil {
			return last, err
		}
	}
	return last, nil
}

// sayingOf tells a person who sends the output elsewhere how far it is.
func sayingOf(g *globals, s *screen) func(format string, args ...any) {
	if f, ok := g.Stderr.(*os.File); s.terminal || !ok || !term.IsTerminal(int(f.Fd())) {
		return func(string, ...any) {}
	}
	return saying(g.Stderr)
}

// fields are those of a request that were given.
func fields(given map[string]string) map[string]any {
	request := make(map[string]any)
	for name, value := range given {
		if value != "" {
			request[name] = value
		}
	}
	return request
}

// bounds adds those that were given: a seq goes as a number, the rest as text.
func bounds(request map[string]any, given map[string]string) {
	for name, value := range fields(given) {
		if seq, err := strconv.ParseInt(value.(string), 10, 64); err == nil {
			value = seq
		}
		request[name] = value
	}
}
