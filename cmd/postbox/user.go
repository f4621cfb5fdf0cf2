package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"postbox"
	"postbox/auth"
	"postbox/store"
)

type userCmd struct {
	Add      userAddCmd      `cmd:"" help:"Make an account."`
	List     userListCmd     `cmd:"" help:"List the accounts."`
	Password userPasswordCmd `cmd:"" help:"Change a password; ends the user's connections and tokens."`
	Disable  userDisableCmd  `cmd:"" help:"Disable an account; ends the user's connections."`
	Enable   userEnableCmd   `cmd:"" help:"Enable a disabled account."`
}

// passwordFlags say where a password comes from.
type passwordFlags struct {
	PasswordStdin bool `help:"Read the password from the first line of standard input instead of asking for it."`
}

// read returns the password, asked for twice on a terminal.
func (f passwordFlags) read(g *globals) (string, error) {
	if f.PasswordStdin {
		line, err := bufio.NewReader(io.LimitReader(g.Stdin, 8192)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password from standard input: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	terminal, ok := g.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return "", usageError("there is no terminal to ask for the password: give --password-stdin")
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(g.Stderr, prompt)
		b, err := term.ReadPassword(int(terminal.Fd()))
		fmt.Fprintln(g.Stderr)
		return string(b), err
	}
	first, err := ask("Password: ")
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	second, err := ask("Once more: ")
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if first != second {
		return "", errors.New("the two passwords differ: nothing was changed")
	}
	return first, nil
}

// withUser checks the name, opens the database and runs f.
func withUser(ctx context.Context, g *globals, name string, f func(ctx context.Context, db *database, user postbox.User) error) error {
	user, err := postbox.ParseUser(name)
	if err != nil {
		return usageError(err.Error())
	}
	db, err := openDatabase(ctx, g)
	if err != nil {
		return err
	}
	defer db.close()
	return f(ctx, db, user)
}

type userAddCmd struct {
	Name  string `arg:"" help:"Name of the account: a-z, 0-9, then also . _ @ -"`
	Admin bool   `help:"Give it the rights of an administrator."`
	passwordFlags
}

// Help is the end of the command's --help.
func (userAddCmd) Help() string {
	return "Examples:\n\n  postbox user add alice\n  echo 's3cret' | postbox user add bob --password-stdin"
}

// Run makes the account.
func (c *userAddCmd) Run(ctx context.Context, g *globals) error {
	password, err := c.read(g)
	if err != nil {
		return err
	}
	return withUser(ctx, g, c.Name, func(ctx context.Context, db *database, user postbox.User) error {
		hash, err := auth.HashPassword(password)
		if err != nil {
			return err
		}
		if _, err := db.AddUser(ctx, user, hash, c.Admin); err != nil {
			return err
		}
		fmt.Fprintf(g.Stdout, "added %s\n", user)
		return nil
	})
}

type userListCmd struct {
	JSON bool `help:"One JSON object per line."`
}

// Run lists the accounts by name.
func (c *userListCmd) Run(ctx context.Context, g *globals) error {
	db, err := openDatabase(ctx, g)
	if err != nil {
		return err
	}
	defer db.close()
	users, err := db.Users(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return listJSON(g.Stdout, users)
	}
	w := tabwriter.NewWriter(g.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tROLE\tCREATED")
	for _, u := range users {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", u.Name, stateOf(u), roleOf(u), u.CreatedAt.UTC().Format(time.DateOnly))
	}
	return w.Flush()
}

func listJSON(w io.Writer, users []store.User) error {
	lines := json.NewEncoder(w)
	for _, u := range users {
		err := lines.Encode(struct {
			User      postbox.User `json:"user"`
			Display   string       `json:"display_name,omitempty"`
			State     string       `json:"state"`
			Admin     bool         `json:"admin"`
			CreatedAt time.Time    `json:"created_at"`
		}{u.Name, u.DisplayName, stateOf(u), u.Admin, u.CreatedAt.UTC()})
		if err != nil {
			return err
		}
	}
	return nil
}

func stateOf(u store.User) string {
	if u.DisabledAt.Valid {
		return "disabled"
	}
	return "active"
}

func roleOf(u store.User) string {
	if u.Admin {
		return "admin"
	}
	return "user"
}

type userPasswordCmd struct {
	Name string `arg:"" help:"Name of the account."`
	passwordFlags
}

// Run changes the password.
func (c *userPasswordCmd) Run(ctx context.Context, g *globals) error {
	password, err := c.read(g)
	if err != nil {
		return err
	}
	return withUser(ctx, g, c.Name, func(ctx context.Context, db *database, user postbox.User) error {
		hash, err := auth.HashPassword(password)
		if err != nil {
			return err
		}
		if err := db.SetPassword(ctx, user, hash); err != nil {
			return err
		}
		fmt.Fprintf(g.Stdout, "changed the password of %s\n", user)
		return nil
	})
}

type userDisableCmd struct {
	Name string `arg:"" help:"Name of the account."`
}

// Run disables the account.
func (c *userDisableCmd) Run(ctx context.Context, g *globals) error {
	return setDisabled(ctx, g, c.Name, true)
}

type userEnableCmd struct {
	Name string `arg:"" help:"Name of the account."`
}

// Run enables the account.
func (c *userEnableCmd) Run(ctx context.Context, g *globals) error {
	return setDisabled(ctx, g, c.Name, false)
}

func setDisabled(ctx context.Context, g *globals, name string, disabled bool) error {
	return withUser(ctx, g, name, func(ctx context.Context, db *database, user postbox.User) error {
		if err := db.SetDisabled(ctx, user, disabled); err != nil {
			return err
		}
		word := "enabled"
		if disabled {
			word = "disabled"
		}
		fmt.Fprintf(g.Stdout, "%s %s\n", word, user)
		return nil
	})
}
