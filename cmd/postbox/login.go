package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"postbox"
)

type loginCmd struct {
	serverFlags
	User         string `arg:"" optional:"" help:"Name of the account; POSTBOX_USER if not given."`
	PasswordFile string `type:"path" placeholder:"FILE" help:"Read the password from the first line of a file."`
}

// Help is the end of the command's --help.
func (loginCmd) Help() string {
	return `Asks for the password; where there is no terminal it is the first line of standard
input. Kept are tokens, not the password: in the directory of your settings, closed to
others, and renewed as they are used. Several logins are kept under names (--profile).

Examples:

  postbox login alice
  postbox login --url https://chat.example.org --profile work alice
  postbox login alice --password-file alice.password
  POSTBOX_URL=http://127.0.0.1:8080 POSTBOX_USER=alice POSTBOX_PASSWORD=… postbox send bob hello`
}

// Run logs in, and ends what was kept under the name before.
func (c *loginCmd) Run(ctx context.Context, g *globals) error {
	user, err := postbox.ParseUser(cmp.Or(c.User, g.Env("POSTBOX_USER")))
	if err != nil {
		return usageError(err.Error())
	}
	file, err := c.kept(g)
	if err != nil {
		return err
	}
	// Who has to log in again means the server from before.
	known, _ := file.load()
	asked := cmp.Or(c.URL, g.Env("POSTBOX_URL"))
	insecure := c.Insecure || asked == "" && known.Insecure
	base, err := baseOf(cmp.Or(asked, known.URL, defaultURL), insecure)
	if err != nil {
		return err
	}
	password, err := c.password(g, user, base)
	if err != nil {
		return err
	}
	server := newRemote(base, nil)
	defer server.close()
	var tokens granted
	request := map[string]string{"user": string(user), "password": password, "device": deviceName()}
	if _, err := server.do(ctx, call{name: "login", request: request}, &tokens); err != nil {
		return err
	}
	unlock, err := file.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	before, _ := file.load()
	saved := savedLogin{URL: base, Insecure: insecure}
	saved.take(tokens, time.Now())
	if err := file.save(saved); err != nil {
		return err
	}
	before.end(ctx)
	_, err = fmt.Fprintf(g.Stdout, "logged in as %s at %s\n", saved.User, base)
	return err
}

// end tells the server that a login is not used any more. If it cannot be told, the
// login ends by itself, when its time has come.
func (s savedLogin) end(ctx context.Context) {
	if s.AccessToken == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	server := newRemote(s.URL, fixed("Bearer "+s.AccessToken))
	defer server.close()
	_, _ = server.do(ctx, call{name: "logout", request: struct{}{}}, nil)
}

// deviceName is what the login is called in the list of logins.
func deviceName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	name := "postbox on " + host
	if postbox.CheckDevice(name) != nil {
		return "postbox"
	}
	return name
}

// password is that of the file, of the environment, or what is answered.
func (c *loginCmd) password(g *globals, user postbox.User, base string) (string, error) {
	terminal, ok := g.Stdin.(*os.File)
	switch given := g.Env("POSTBOX_PASSWORD"); {
	case c.PasswordFile != "":
		f, err := os.Open(c.PasswordFile)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		defer f.Close()
		line, err := bufio.NewReader(io.LimitReader(f, 8192)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	case given != "":
		return given, nil
	case !ok || !term.IsTerminal(int(terminal.Fd())):
		return firstLine(g, "the password")
	}
	fmt.Fprintf(g.Stderr, "Password of %s at %s: ", user, base)
	b, err := term.ReadPassword(int(terminal.Fd()))
	fmt.Fprintln(g.Stderr)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return string(b), nil
}

type logoutCmd struct {
	serverFlags
	Local bool `help:"Forget the login here without telling the server, where it then ends in its time."`
}

// Help is the end of the command's --help.
func (logoutCmd) Help() string {
	return "Example:\n\n  postbox logout --profile work"
}

// Run ends the login at the server, and forgets it.
func (c *logoutCmd) Run(ctx context.Context, g *globals) error {
	file, err := c.kept(g)
	if err != nil {
		return err
	}
	saved, err := file.load()
	if errors.Is(err, errNoLogin) {
		return fmt.Errorf("%w under the name %s", err, file.name)
	}
	if err == nil && !c.Local {
		server := file.open(saved)
		defer server.close()
		_, err := server.do(ctx, call{name: "logout", request: struct{}{}}, nil)
		if err != nil && !errors.Is(err, postbox.ErrUnauthenticated) {
			return fmt.Errorf("the login goes on: %w; give --local to forget it here only", err)
		}
	}
	unlock, err := file.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.Remove(file.path); err != nil {
		return fmt.Errorf("forget the login: %w", err)
	}
	_, err = fmt.Fprintf(g.Stdout, "logged out of %s\n", cmp.Or(saved.URL, file.name))
	return err
}
