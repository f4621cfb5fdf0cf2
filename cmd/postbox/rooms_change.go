package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// change does an operation on the room, whose reply is the room, or its name when
// that is all that there is to say.
func (c *roomFlags) change(ctx context.Context, g *globals, name string, request map[string]any) error {
	server, err := c.open(g)
	if err != nil {
		return err
	}
	defer server.close()
	request["room"] = c.Room
	var r room
	answer, err := server.do(ctx, call{name: name, request: request}, &r)
	if err != nil {
		return err
	}
	s := newScreen(g)
	switch {
	case c.JSON:
		return writeJSONLine(g.Stdout, answer, s.terminal)
	case r.History == "":
		_, err = fmt.Fprintf(g.Stdout, "%s: done\n", printable(r.Room, false))
		return err
	}
	table := roomColumns()
	table.add(r.row()...)
	return table.write(s)
}

// roomSettings are what a room can be told.
type roomSettings struct {
	Title   *string `placeholder:"TEXT" help:"Free text."`
	Public  bool    `xor:"access" help:"Everybody may see that it is there, and join."`
	Private bool    `xor:"access" help:"Only those who are added are in it."`
	History string  `enum:"all,joined," default:"" placeholder:"WHAT" help:"What a member may read: all, or what is said while they are in it (joined)."`
}

func (c roomSettings) request() map[string]any {
	request := fields(map[string]string{"history": c.History})
	if c.Title != nil {
		request["title"] = *c.Title
	}
	if c.Public || c.Private {
		request["public"] = c.Public
	}
	return request
}

type roomsCreateCmd struct {
	roomFlags
	roomSettings
}

// Help is the end of the command's --help.
func (roomsCreateCmd) Help() string {
	return "Private, with all history, if nothing else is said.\n\nExample:\n\n  postbox rooms create dev --title Development --public"
}

// Run makes a room.
func (c *roomsCreateCmd) Run(ctx context.Context, g *globals) error {
	return c.change(ctx, g, "room.create", c.request())
}

type roomsUpdateCmd struct {
	roomFlags
	roomSettings
}

// Help is the end of the command's --help.
func (roomsUpdateCmd) Help() string {
	return "What is not given stays as it is. For owners and admins.\n\nExample:\n\n  postbox rooms update dev --private --history joined"
}

// Run changes a room.
func (c *roomsUpdateCmd) Run(ctx context.Context, g *globals) error {
	return c.change(ctx, g, "room.update", c.request())
}

type roomsAddCmd struct {
	roomFlags
	User string `arg:"" complete:"users" help:"Whom."`
	Role string `enum:"owner,admin,member,reader," default:"" placeholder:"ROLE" complete:"roles" help:"owner, admin, member or reader; member if not given."`
}

// Help is the end of the command's --help.
func (roomsAddCmd) Help() string { return "Example:\n\n  postbox rooms add dev bob --role admin" }

// Run adds somebody.
func (c *roomsAddCmd) Run(ctx context.Context, g *globals) error {
	return c.change(ctx, g, "room.add", fields(map[string]string{"user": c.User, "role": c.Role}))
}

type roomsRemoveCmd struct {
	roomFlags
	User string `arg:"" complete:"users" help:"Whom."`
}

// Help is the end of the command's --help.
func (roomsRemoveCmd) Help() string { return "Example:\n\n  postbox rooms remove dev bob" }

// Run removes somebody.
func (c *roomsRemoveCmd) Run(ctx context.Context, g *globals) error {
	return c.change(ctx, g, "room.remove", map[string]any{"user": c.User})
}

type roomsRoleCmd struct {
	roomFlags
	User string `arg:"" complete:"users" help:"Whose."`
	Role string `arg:"" enum:"owner,admin,member,reader" help:"owner, admin, member or reader."`
}

// Help is the end of the command's --help.
func (roomsRoleCmd) Help() string { return "Example:\n\n  postbox rooms role dev bob owner" }

// Run gives somebody another role.
func (c *roomsRoleCmd) Run(ctx context.Context, g *globals) error {
	return c.change(ctx, g, "room.role", map[string]any{"user": c.User, "role": c.Role})
}

type roomsJoinCmd struct{ roomFlags }

// Help is the end of the command's --help.
func (roomsJoinCmd) Help() string { return "Example:\n\n  postbox rooms join lobby" }

// Run joins a public room.
func (c *roomsJoinCmd) Run(ctx context.Context, g *globals) error {
	return c.change(ctx, g, "room.join", map[string]any{})
}

type roomsLeaveCmd struct{ roomFlags }

// Help is the end of the command's --help.
func (roomsLeaveCmd) Help() string { return "Example:\n\n  postbox rooms leave lobby" }

// Run leaves a room.
func (c *roomsLeaveCmd) Run(ctx context.Context, g *globals) error {
	return c.change(ctx, g, "room.leave", map[string]any{})
}

type roomsDeleteCmd struct {
	roomFlags
	Yes bool `help:"Do not ask."`
}

// Help is the end of the command's --help.
func (roomsDeleteCmd) Help() string {
	return "Its history is gone for everybody, and its name stays taken. For owners.\n\nExample:\n\n  postbox rooms delete dev"
}

// Run deletes a room, when it is meant.
func (c *roomsDeleteCmd) Run(ctx context.Context, g *globals) error {
	if !c.Yes {
		if err := confirm(g, "delete the room", c.Room); err != nil {
			return err
		}
	}
	return c.change(ctx, g, "room.delete", map[string]any{})
}

// confirm has a name typed again before what cannot be undone.
func confirm(g *globals, what, name string) error {
	terminal, ok := g.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return usageError("there is no terminal to ask whether it is meant: give --yes")
	}
	fmt.Fprintf(g.Stderr, "This cannot be undone. Type the name to %s %s: ", what, printable(name, false))
	line, err := bufio.NewReader(io.LimitReader(terminal, 8192)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(line) != name {
		return errors.New("that is another name: nothing was done")
	}
	return nil
}
