package main

import (
	"context"
)

type searchCmd struct {
	serverFlags
	jsonFlag
	Text   string `arg:"" help:"Words that must all be in a message; hel* for the beginning of one, \"two words\" for those in a row."`
	With   string `placeholder:"USER" complete:"users" help:"Only in the conversation with this user."`
	Room   string `placeholder:"ROOM" complete:"rooms" help:"Only in this room."`
	From   string `placeholder:"USER" complete:"users" help:"Only what this user wrote."`
	Before string `placeholder:"PLACE" help:"Older than this: an id, a time as 2026-11-26T15:04:05Z, or with --with or --room a number."`
	After  string `placeholder:"PLACE" help:"Newer than this."`
	Limit  int    `default:"50" help:"How many messages, at most 500."`
	All    bool   `help:"All that there are."`
}

// Help is the end of the command's --help.
func (searchCmd) Help() string {
	return `Prints the newest first. What has just come to your inbox is found at once, anything
else some seconds after it was stored.

Examples:

  postbox search 'release notes'
  postbox search 'releas*' --room dev --from alice
  postbox search 会议 --all --json | jq -r .body`
}

// Run prints what is found, page by page.
func (c *searchCmd) Run(ctx context.Context, g *globals) error {
	if c.With != "" && c.Room != "" {
		return usageError("give --with or --room, not both")
	}
	request := fields(map[string]string{"text": c.Text, "with": c.With, "room": c.Room, "from": c.From})
	bounds(request, map[string]string{"before": c.Before, "after": c.After})
	request["limit"] = c.Limit
	if c.All {
		request["limit"] = maxPage
	}
	server, err := c.open(g)
	if err != nil {
		return err
	}
	defer server.close()
	s := newScreen(g)
	list, said, printed := listing{s: s}, sayingOf(g, s), 0
	for {
		var p page
		if _, err := server.do(ctx, call{name: "search", request: request, again: true}, &p); err != nil {
			return err
		}
		last, err := list.print(p.Messages, c.JSON)
		if err != nil {
			return err
		}
		printed += len(p.Messages)
		if said("%d messages", printed); !c.All || !p.HasMore || last.ID == "" {
			if p.HasMore {
				hint(g, s, "There are more: --before %s, or --all", printable(last.ID, false))
			}
			return nil
		}
		request["before"] = last.ID
	}
}
