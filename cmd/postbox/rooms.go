package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
)

type roomsCmd struct {
	List   roomsListCmd   `cmd:"" default:"withargs" help:"List the rooms that you are in."`
	Get    roomsGetCmd    `cmd:"" help:"Show a room and its members."`
	Create roomsCreateCmd `cmd:"" help:"Make a room; you are its owner."`
	Update roomsUpdateCmd `cmd:"" help:"Change a room's title, who may join, what its members may read."`
	Add    roomsAddCmd    `cmd:"" help:"Add somebody to a room."`
	Remove roomsRemoveCmd `cmd:"" help:"Remove somebody from a room."`
	Role   roomsRoleCmd   `cmd:"" help:"Give a member another role."`
	Join   roomsJoinCmd   `cmd:"" help:"Join a public room."`
	Leave  roomsLeaveCmd  `cmd:"" help:"Leave a room."`
	Delete roomsDeleteCmd `cmd:"" help:"Delete a room, with its history."`
}

// room is a room as the API has it.
type room struct {
	Room      string `json:"room"`
	Title     string `json:"title"`
	Public    bool   `json:"public"`
	History   string `json:"history"`
	Role      string `json:"role"`
	Count     int64  `json:"member_count"`
	CreatedAt string `json:"created_at"`
	Members   []struct {
		User    string `json:"user"`
		Role    string `json:"role"`
		ReadSeq *int64 `json:"read_seq"`
	} `json:"members"`
	HasMore bool `json:"has_more"`
}

func (r room) row() []string {
	access := "private"
	if r.Public {
		access = "public"
	}
	return []string{
		printable(r.Room, false), printable(cmp.Or(r.Role, "-"), false), fmt.Sprint(r.Count), access,
		printable(r.History, false), printable(r.Title, false),
	}
}

func roomColumns() columns {
	return columns{heads: []string{"ROOM", "ROLE", "MEMBERS", "ACCESS", "HISTORY", "TITLE"}}
}

type roomsListCmd struct {
	serverFlags
	jsonFlag
	Public bool `help:"The public rooms that you are not in, instead."`
}

// Help is the end of the command's --help.
func (roomsListCmd) Help() string {
	return "Examples:\n\n  postbox rooms\n  postbox rooms --public --json"
}

// Run lists all rooms, page by page.
func (c *roomsListCmd) Run(ctx context.Context, g *globals) error {
	server, err := c.open(g)
	if err != nil {
		return err
	}
	defer server.close()
	s, table := newScreen(g), roomColumns()
	request := map[string]any{"limit": maxPage, "public": c.Public}
	for more := true; more; {
		var answer struct {
			Rooms   []json.RawMessage `json:"rooms"`
			HasMore bool              `json:"has_more"`
		}
		if _, err := server.do(ctx, call{name: "room.list", request: request, again: true}, &answer); err != nil {
			return err
		}
		more = answer.HasMore && len(answer.Rooms) > 0
		for _, text := range answer.Rooms {
			var r room
			if err := json.Unmarshal(text, &r); err != nil {
				return fmt.Errorf("the server sends what this program does not understand: %w", err)
			}
			request["after"] = r.Room
			if !c.JSON {
				table.add(r.row()...)
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

// roomFlags are those of the commands for one room.
type roomFlags struct {
	serverFlags
	jsonFlag
	Room string `arg:"" complete:"rooms" help:"Name of the room."`
}

type roomsGetCmd struct{ roomFlags }

// Help is the end of the command's --help.
func (roomsGetCmd) Help() string {
	return "With --json there is an object for each page of members.\n\nExample:\n\n  postbox rooms get dev"
}

// Run shows a room and all members that may be seen.
func (c *roomsGetCmd) Run(ctx context.Context, g *globals) error {
	server, err := c.open(g)
	if err != nil {
		return err
	}
	defer server.close()
	s, about := newScreen(g), roomColumns()
	members := columns{heads: []string{"MEMBER", "ROLE", "HAS READ"}}
	request := map[string]any{"room": c.Room, "limit": maxPage}
	for more := true; more; {
		var r room
		answer, err := server.do(ctx, call{name: "room.get", request: request, again: true}, &r)
		if err != nil {
			return err
		}
		if c.JSON {
			if err := writeJSONLine(g.Stdout, answer, s.terminal); err != nil {
				return err
			}
		}
		if about.rows == nil {
			about.add(r.row()...)
		}
		for _, m := range r.Members {
			read := ""
			if m.ReadSeq != nil {
				read = fmt.Sprintf("#%d", *m.ReadSeq)
			}
			members.add(printable(m.User, false), printable(m.Role, false), read)
			request["after"] = m.User
		}
		more = r.HasMore && len(r.Members) > 0
	}
	if c.JSON {
		return nil
	}
	if err := about.write(s); err != nil || members.rows == nil {
		return err
	}
	if err := writeText(g.Stdout, "\n"); err != nil {
		return err
	}
	return members.write(s)
}
