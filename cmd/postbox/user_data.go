package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"postbox"
	"postbox/api"
)

type userExportCmd struct {
	Name string `arg:"" help:"Name of the account."`
	Out  string `short:"o" type:"path" help:"Write to this file instead of standard output. It is only there when it is whole." placeholder:"FILE"`
}

// Help is the end of the command's --help.
func (userExportCmd) Help() string {
	return `Writes one JSON object a line: the account, its blocks and devices, then each
conversation with its messages, and at last {"type":"end"}. Progress goes to
standard error.

Examples:

  postbox user export alice > alice.jsonl
  postbox user export alice --out alice.jsonl`
}

// Run writes everything of a user.
func (c *userExportCmd) Run(ctx context.Context, g *globals) error {
	return withUser(ctx, g, c.Name, func(ctx context.Context, db *database, user postbox.User) error {
		u, err := db.UserByName(ctx, user)
		if err != nil {
			return err
		}
		said := saying(g.Stderr)
		write := func(w io.Writer) error {
			out := bufio.NewWriterSize(w, 64<<10)
			x := api.Exporter{Archive: db.Store, People: db.Store, Devices: db.Store, Now: time.Now}
			err := x.Export(ctx, u.ID, out, func(p api.Progress) { said("%d of %d messages", p.Messages, p.Total) })
			return errors.Join(err, out.Flush())
		}
		if c.Out == "" {
			return write(g.Stdout)
		}
		return writeWhole(c.Out, write)
	})
}

// writeWhole makes a file that is there when all of it is.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

type userEraseCmd struct {
	Name string `arg:"" help:"Name of the account."`
	Yes  bool   `help:"Do not ask."`
}

// Help is the end of the command's --help.
func (userEraseCmd) Help() string {
	return `Erases the account and what is known of its user for good: name, password, devices,
inbox, idempotency keys, and the contents of the messages that the user has sent,
which stay as tombstones in the conversations of the others. The name is not given
again. Backups are not touched. What is interrupted goes on by itself, within two
minutes, in the server that runs or the next one that does.

Examples:

  postbox user export alice --out alice.jsonl
  postbox user erase alice`
}

// Run erases an account.
func (c *userEraseCmd) Run(ctx context.Context, g *globals) error {
	return withUser(ctx, g, c.Name, func(ctx context.Context, db *database, user postbox.User) error {
		if _, err := db.UserByName(ctx, user); err != nil {
			return err
		}
		if !c.Yes {
			if err := confirm(g, "erase", string(user)); err != nil {
				return err
			}
		}
		id, err := db.CloseAccount(ctx, user)
		if err != nil {
			return err
		}
		erased, said := 0, saying(g.Stderr)
		err = db.Erase(ctx, id, func(n int) {
			erased = n
			said("%d messages", n)
		})
		if err != nil {
			return fmt.Errorf("the account is closed, and a running server erases the rest: %w", err)
		}
		fmt.Fprintf(g.Stdout, "erased %s: %d messages are tombstones\n", user, erased)
		return nil
	})
}

// saying returns what tells of progress, at most once a second.
func saying(w io.Writer) func(format string, args ...any) {
	last := time.Now()
	return func(format string, args ...any) {
		if now := time.Now(); now.Sub(last) >= time.Second {
			last = now
			fmt.Fprintf(w, format+"\n", args...)
		}
	}
}
