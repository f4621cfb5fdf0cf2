package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"postbox/broker"
	"postbox/configs"
)

// addressesFile tells other processes where a server on the embedded database
// listens.
const addressesFile = "addresses.json"

// shutdownTimeout bounds the end: flush, tell everybody, save.
const shutdownTimeout = 9 * time.Second

type serveCmd struct {
	Demo bool `help:"Make users alice, bob and carol, and print how to try them."`
}

// Help is the end of the command's --help.
func (serveCmd) Help() string {
	return `Without database.url it runs its own PostgreSQL in ./postbox-data.

Examples:

  postbox serve --demo
  postbox serve --config postbox.yaml
  POSTBOX_DATABASE_URL=postgres://app@db/app postbox serve`
}

// Run serves until SIGINT or SIGTERM; a second signal ends it at once.
func (c *serveCmd) Run(ctx context.Context, g *globals) error {
	config, err := loadConfig(g, c.flags())
	if err != nil {
		return err
	}
	log := newLogger(g.Stderr, config.Log)
	url, stopDatabase := config.Database.URL, func() {}
	if url == "" {
		if url, stopDatabase, err = startEmbedded(ctx, config, log); err != nil {
			return err
		}
	}
	defer stopDatabase()
	fenced, fence := context.WithCancel(ctx)
	defer fence()
	server, err := broker.New(ctx, broker.Options{Config: config, DatabaseURL: url, Logger: log, Fenced: fence})
	if err != nil {
		return err
	}
	if err := server.Start(ctx); err != nil {
		_ = shut(server)
		return err
	}
	if err := announce(g, config, server.Addresses()); err != nil {
		_ = shut(server)
		return err
	}
	if c.Demo {
		if err := demo(ctx, g, url, server.Addresses()); err != nil {
			_ = shut(server)
			return err
		}
	}
	<-fenced.Done()
	g.Unhook() // a second signal now has its default effect: the end
	log.Info("shutting down")
	err = shut(server)
	if err == nil && ctx.Err() == nil {
		return fmt.Errorf("another postbox server has taken over the database")
	}
	return err
}

func (c *serveCmd) flags() map[string]string {
	if c.Demo {
		return map[string]string{"registration": "open"}
	}
	return nil
}

func shut(s *broker.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	return s.Shutdown(ctx)
}

// announce tells where the server listens: a line for people and programs that
// started it, a file for others.
func announce(g *globals, c configs.Config, at broker.Addresses) error {
	if c.Database.URL == "" {
		b, err := json.Marshal(at)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(c.Database.EmbeddedDir, addressesFile), b, 0o644); err != nil {
			return fmt.Errorf("write down the addresses: %w", err)
		}
	}
	_, err := fmt.Fprintf(g.Stdout, "listening mqtt=%s http=%s private=%s\n", at.MQTT, at.HTTP, at.Private)
	return err
}

func newLogger(w io.Writer, c configs.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	text := c.Format == configs.LogText
	if f, ok := w.(*os.File); ok && c.Format == configs.LogAuto {
		text = term.IsTerminal(int(f.Fd()))
	}
	if text {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
