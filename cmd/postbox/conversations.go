package main

import (
	"context"
	"encoding/json"
	"fmt"
)

type conversationsCmd struct {
	serverFlags
	jsonFlag
	Limit int  `default:"50" help:"How many, at most 500."`
	All   bool `help:"All that there are."`
}

// Help is the end of the command's --help.
func (conversationsCmd) Help() string {
	return `Examples:

  postbox conversations
  postbox conversations --all --json | jq -r 'select(.unread > 0) | .with // .room'`
}

type conversation struct {
	With   string          `json:"with"`
	Room   string          `json:"room"`
	Unread int64           `json:"unread"`
	Last   json.RawMessage `json:"last"`
}

func (c conversation) name() string {
	if c.Room != "" {
		return "#" + printable(c.Room, false)
	}
	return printable(c.With, false)
}

// Run lists the conversations.
func (c *conversationsCmd) Run(ctx context.Context, g *globals) error {
	server, err := c.open(g)
	if err != nil {
		return err
	}
	defer server.close()
	s := newScreen(g)
	table := columns{heads: []string{"WITH", "UNREAD", "LAST", "FROM", "TEXT"}}
	request := map[string]any{"limit": c.Limit}
	if c.All {
		request["limit"] = maxPage
	}
	for more := true; more; {
		var answer struct {
			Conversations []json.RawMessage `json:"conversations"`
			HasMore       bool              `json:"has_more"`
		}
		if _, err := server.do(ctx, call{name: "conversations", request: request, again: true}, &answer); err != nil {
			return err
		}
		more = c.All && answer.HasMore
		for _, text := range answer.Conversations {
			var one conversation
			var last entry
			err := json.Unmarshal(text, &one)
			if err == nil && one.Last != nil {
				last, err = parseEntry(one.Last)
			}
			if err != nil {
				return fmt.Errorf("the server sends what this program does not understand: %w", err)
			}
			if one.Last != nil {
				request["before"] = last.ID
			} else {
				request["after_room"] = one.Room
			}
			if !c.JSON {
				table.add(one.name(), unread(one.Unread), moment(last.SentAt), last.From, printable(last.content(&screen{}), false))
			} else if err := writeJSONLine(g.Stdout, text, s.terminal); err != nil {
				return err
			}
		}
	}
	if c.JSON {
		return nil
	}
	return table.write(s)
}

// unread is how many; the server counts to 1,000.
func unread(n int64) string {
	switch {
	case n == 0:
		return ""
	case n >= 1000:
		return "1000+"
	}
	return fmt.Sprint(n)
}
