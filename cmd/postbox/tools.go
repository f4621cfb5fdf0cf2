package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"postbox"
	"postbox/auth"
	"postbox/broker"
	"postbox/configs"
	"postbox/schema"
)

type tokenCmd struct {
	Name string        `arg:"" help:"Name of the account."`
	Life time.Duration `help:"How long it is valid; tokens.access if not given." placeholder:"12h"`
}

// Help is the end of the command's --help.
func (tokenCmd) Help() string {
	return "The token is usable as MQTT password.\n\nExample:\n\n  mosquitto_sub -u alice -P \"$(postbox token alice)\" -t inbox/alice -q 1"
}

// Run prints the token, and nothing else.
func (c *tokenCmd) Run(ctx context.Context, g *globals) error {
	config, err := loadConfig(g, nil)
	if err != nil {
		return err
	}
	return withUser(ctx, g, c.Name, func(ctx context.Context, db *database, user postbox.User) error {
		u, err := db.UserByName(ctx, user)
		switch {
		case err != nil:
			return err
		case u.DisabledAt.Valid:
			return fmt.Errorf("%s is disabled: enable the account first", user)
		}
		tokens, err := broker.OpenTokens(ctx, db.Store)
		if err != nil {
			return err
		}
		life := config.Tokens.Access
		if c.Life > 0 {
			life = c.Life
		}
		token, _, err := tokens.Grant(auth.Grant{User: user, Purpose: auth.PurposeAccess, Life: life, Issued: u.ReadAt})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(g.Stdout, token)
		return err
	})
}

type migrateCmd struct{}

// Help is the end of the command's --help.
func (migrateCmd) Help() string {
	return "\"serve\" does the same at its start.\n\nExample:\n\n  POSTBOX_DATABASE_URL=postgres://app@db.internal/app postbox migrate"
}

// Run brings the schema up to date and says what it is.
func (c *migrateCmd) Run(ctx context.Context, g *globals) error {
	db, err := openDatabase(ctx, g)
	if err != nil {
		return err
	}
	defer db.close()
	version, _, err := schema.Versions(ctx, db.DB().DB)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(g.Stdout, "schema version %d\n", version)
	return err
}

type epochCmd struct {
	New epochNewCmd `cmd:"" help:"Begin a new epoch, after the database was put back to an older state by means that cannot be detected."`
}

type epochNewCmd struct{}

// Help is the end of the command's --help.
func (epochNewCmd) Help() string {
	return "Every device is then told once, before it gets anything.\n\nExample:\n\n  postbox epoch new"
}

// Run begins an epoch; servers take it at their next start.
func (c *epochNewCmd) Run(ctx context.Context, g *globals) error {
	db, err := openDatabase(ctx, g)
	if err != nil {
		return err
	}
	defer db.close()
	epoch, err := db.NewEpoch(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(g.Stdout, "epoch %s: restart the server to take it\n", epoch)
	return err
}

type healthCmd struct {
	Timeout time.Duration `default:"5s" help:"How long to wait for the answer."`
}

// Help is the end of the command's --help.
func (healthCmd) Help() string {
	return "It asks listen.private of the configuration.\n\nExample:\n\n  postbox health --timeout 2s"
}

// Run asks the private address of the configuration.
func (c *healthCmd) Run(ctx context.Context, g *globals) error {
	config, err := loadConfig(g, nil)
	if err != nil {
		return err
	}
	address := privateAddress(config)
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("no server answers at listen.private %s: %w", address, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(answer.Body, 200))
		return fmt.Errorf("the server at %s is not ready: %s", address, strings.TrimSpace(string(why)))
	}
	_, err = fmt.Fprintln(g.Stdout, "ready")
	return err
}

// privateAddress is where a server of this configuration can be asked: with
// port 0 only the server knows, and has written it down.
func privateAddress(c configs.Config) string {
	address := c.Listen.Private
	if strings.HasSuffix(address, ":0") {
		var at broker.Addresses
		if b, err := os.ReadFile(filepath.Join(c.Database.EmbeddedDir, addressesFile)); err == nil && json.Unmarshal(b, &at) == nil {
			address = at.Private
		}
	}
	if host, port, ok := strings.Cut(address, ":"); ok && (host == "" || host == "0.0.0.0") {
		address = "127.0.0.1:" + port
	}
	return address
}

type versionCmd struct{}

// Help is the end of the command's --help.
func (versionCmd) Help() string {
	return "Example:\n\n  postbox version"
}

// Run prints the version of the program and of Go.
func (c *versionCmd) Run(g *globals) error {
	_, err := fmt.Fprintln(g.Stdout, "postbox", versionOf())
	return err
}

// version is set by the build: -ldflags "-X main.version=1.2.3".
var version = ""

func versionOf() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := version
	for _, s := range info.Settings {
		if v == "" && s.Key == "vcs.revision" {
			v = s.Value[:min(12, len(s.Value))]
		}
	}
	if v == "" {
		v = "development"
	}
	return v + " " + info.GoVersion
}
