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
	Revoke   userRevokeCmd   `cmd:"" help:"End a user's tokens, logins and connections, or one device's."`
	Admin    userAdminCmd    `cmd:"" help:"Make a user an administrator, or no more."`
	Invite   userInviteCmd   `cmd:"" help:"Manage invitations to register."`
	Export   userExportCmd   `cmd:"" help:"Write everything of a user as JSON Lines."`
	Erase    userEraseCmd    `cmd:"" help:"Erase an account and what is known of its user."`
}

// passwordFlags say where a password comes from.
type passwordFlags struct {
	PasswordStdin bool `help:"Read the password from the first line of standard input instead of asking for it."`
}

// firstLine reads the first line of standard input.
func firstLine(g *globals, what string) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(g.Stdin, 8192)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read %s from standard input: %w", what, err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// hash returns the hash of the password that is read.
func (f passwordFlags) hash(g *globals) (string, error) {
	password, err := f.read(g)
	if err != nil {
		return "", err
	}
	if err := postbox.CheckNewPassword(password); err != nil {
		return "", err
	}
	return auth.HashPassword(password)
}

// read returns the password, asked for twice on a terminal.
func (f passwordFlags) read(g *globals) (string, error) {
	if f.PasswordStdin {
		return firstLine(g, "the password")
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
	PasswordHashStdin bool `help:"Read a hash of the password from standard input: argon2id, argon2i or bcrypt, as PHP's password_hash writes them."`
}

// Help is the end of the command's --help.
func (userAddCmd) Help() string {
	return "Examples:\n\n  postbox user add alice\n  echo 'a long secret' | postbox user add bob --password-stdin\n" +
		"  php -r 'echo password_hash(\"a long secret\", PASSWORD_DEFAULT);' | postbox user add carol --password-hash-stdin"
}

// Run makes the account.
func (c *userAddCmd) Run(ctx context.Context, g *globals) error {
	hash, err := c.hash(g)
	if err != nil {
		return err
	}
	return withUser(ctx, g, c.Name, func(ctx context.Context, db *database, user postbox.User) error {
		if _, err := db.AddUser(ctx, user, hash, c.Admin); err != nil {
			return err
		}
		fmt.Fprintf(g.Stdout, "added %s\n", user)
		return nil
	})
}

// hash returns the hash that is given, or that of the password that is.
func (c *userAddCmd) hash(g *globals) (string, error) {
	if !c.PasswordHashStdin {
		return c.passwordFlags.hash(g)
	}
	if c.PasswordStdin {
		return "", usageError("give --password-stdin or --password-hash-stdin, not both")
	}
	hash, err := firstLine(g, "the hash")
	if err != nil {
		return "", err
	}
	return hash, auth.CheckHash(hash)
}

type userListCmd struct {
	JSON bool `help:"One JSON object per line."`
}

// Help is the end of the command's --help.
func (userListCmd) Help() string {
	return "Examples:\n\n  postbox user list\n  postbox user list --json"
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

// Help is the end of the command's --help.
func (userPasswordCmd) Help() string {
	return "Examples:\n\n  postbox user password alice\n  postbox user password alice --password-stdin < alice.password"
}

// Run changes the password.
func (c *userPasswordCmd) Run(ctx context.Context, g *globals) error {
	hash, err := c.hash(g)
	if err != nil {
		return err
	}
	return withUser(ctx, g, c.Name, func(ctx context.Context, db *database, user postbox.User) error {
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

// Help is the end of the command's --help.
func (userDisableCmd) Help() string {
	return "Example:\n\n  postbox user disable bob"
}

// Run disables the account.
func (c *userDisableCmd) Run(ctx context.Context, g *globals) error {
	return setDisabled(ctx, g, c.Name, true)
}

type userEnableCmd struct {
	Name string `arg:"" help:"Name of the account."`
}

// Help is the end of the command's --help.
func (userEnableCmd) Help() string {
	return "Example:\n\n  postbox user enable bob"
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
