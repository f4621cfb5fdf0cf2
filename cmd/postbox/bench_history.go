package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postbox"
	"postbox/internal/bench"
	"postbox/internal/embedpg"
	"postbox/store"
)

type benchHistoryCmd struct {
	Addr        string        `help:"Address of the HTTP API (default: of --embedded-dir, else 127.0.0.1:8080)."`
	DatabaseURL string        `help:"Database of the server."`
	EmbeddedDir string        `type:"path" help:"Data directory of a running server with the embedded database: gives its address and database."`
	Messages    int           `short:"m" default:"200000" help:"Fill the database until it has so many."`
	Users       int           `default:"100" help:"Users to fill it with."`
	Friends     int           `default:"20" help:"With how many others each has a conversation; an even number."`
	ServerPID   int           `name:"server-pid" help:"Process of the server, for its CPU."`
	Clients     []int         `default:"1,16" help:"Readers at once, a run for each."`
	Limit       int           `default:"50" help:"Messages of a page."`
	Duration    time.Duration `default:"20s" help:"Length of a run."`
	WarmUp      time.Duration `default:"2s" help:"Reading before each run."`
	Note        []string      `sep:"none" help:"Put a setting that matters into the report. Repeatable."`
	JSON        bool          `help:"Print JSON instead of text."`
	Out         string        `type:"path" help:"Write JSON to this file too."`

	// body makes the bodies; nil: bench.HistoryBody.
	body func(low, high string, seq int) string
}

// Help is the end of the command's --help.
func (benchHistoryCmd) Help() string {
	return `Fills the server's database with conversations, whose messages lie on disk as
they would have come, in any order of conversations. Then reads pages over HTTP,
with access tokens, at the head and anywhere, and checks every message of every
page. A wrong page fails the run. What was filled in stays: a later run adds what
is missing.

The server slows each user down: serve with POSTBOX_LIMITS_REQUEST_RATE=0. Example:

  postbox bench history --embedded-dir ./postbox-data --messages 10000000 --users 1000`
}

// Validate finds wrong usage before anything starts.
func (c *benchHistoryCmd) Validate() error {
	switch {
	case (c.DatabaseURL == "") == (c.EmbeddedDir == ""):
		return errors.New("give --database-url or --embedded-dir")
	case c.Friends < 2 || c.Friends%2 != 0 || c.Users <= c.Friends:
		return errors.New("--friends must be an even number, and less than --users")
	case c.Users > 10_000:
		return fmt.Errorf("--users %d: at most 10000", c.Users)
	case c.Limit < 1 || c.Limit > 500:
		return fmt.Errorf("--limit %d: 1 to 500", c.Limit)
	case c.Messages < 4*c.Limit*c.Users*c.Friends/2:
		return fmt.Errorf("--messages %d: pages of %d in %d conversations need at least %d", c.Messages, c.Limit, c.Users*c.Friends/2, 4*c.Limit*c.Users*c.Friends/2)
	}
	return nil
}

// Run fills, reads and prints.
func (c *benchHistoryCmd) Run(ctx context.Context, g *globals) error {
	url, address, err := benchTarget(c.DatabaseURL, c.EmbeddedDir, c.Addr)
	if err != nil {
		return err
	}
	db, err := store.Open(store.Options{URL: url, PoolSize: 2})
	if err != nil {
		return err
	}
	defer db.Close()
	report, shelves, err := c.library(ctx, db, g)
	if err != nil {
		return err
	}
	processes := bench.Processes{Server: c.ServerPID}
	if processes.Database, err = findPostmaster(ctx, db); err != nil {
		return err
	}
	for _, deep := range []bool{false, true} {
		for _, clients := range c.Clients {
			run, err := bench.History(ctx, bench.HistoryOptions{
				Address: address, Shelves: shelves, Clients: clients, Limit: c.Limit, Deep: deep, WarmUp: c.WarmUp, Duration: c.Duration, Processes: processes,
			})
			if err != nil {
				return err
			}
			report.Runs = append(report.Runs, *run)
		}
	}
	load := benchLoad{JSON: c.JSON, Out: c.Out}
	if err := load.print(g.Stdout, report); err != nil {
		return err
	}
	return load.verdict(report.Faults(), nil)
}

// library fills the database, and makes what a reader needs: names, lengths, and
// a token for each user.
func (c *benchHistoryCmd) library(ctx context.Context, db *store.Store, g *globals) (*bench.HistoryReport, []bench.Shelf, error) {
	l, err := openLibrary(ctx, db, c.Users, c.Friends)
	if err != nil {
		return nil, nil, err
	}
	if c.body != nil {
		l.body = c.body
	}
	added, took, err := l.fill(ctx, c.Messages, g.Stderr)
	if err != nil {
		return nil, nil, err
	}
	names := make([]postbox.User, c.Users)
	for i := range names {
		names[i] = libraryUser(i)
	}
	logins, err := tokenLogins(ctx, db, names)
	if err != nil {
		return nil, nil, err
	}
	var shelves []bench.Shelf
	for _, s := range l.shelves {
		shelves = append(shelves, bench.Shelf{User: string(libraryUser(s.low)), With: string(libraryUser(s.high)), Token: logins[s.low].Password, Length: s.length})
	}
	about := bench.Library{Messages: l.total, Conversations: len(shelves), Users: c.Users, Filled: added}
	if added > 0 {
		about.FillRate = float64(added) / took.Seconds()
	}
	err = db.DB().GetContext(ctx, &about.Bytes, `SELECT pg_database_size(current_database())`)
	return bench.NewHistoryReport(about, c.Note), shelves, err
}

// benchTarget is where the database and the HTTP API of the server are that is
// measured.
func benchTarget(databaseURL, embeddedDir, given string) (url, address string, err error) {
	url, address = databaseURL, given
	if embeddedDir != "" {
		if url, err = embedpg.Attach(embeddedDir); err != nil {
			return "", "", err
		}
		if address == "" {
			if address, err = embeddedHTTP(embeddedDir); err != nil {
				return "", "", err
			}
		}
	}
	if address == "" {
		address = "127.0.0.1:8080"
	}
	return url, address, nil
}

// embeddedHTTP reads where the API of a data directory's server listens.
func embeddedHTTP(dir string) (string, error) {
	path := filepath.Join(dir, "addresses.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("find the server of %s: %w: give --addr", dir, err)
	}
	var addresses map[string]string
	if err := json.Unmarshal(text, &addresses); err != nil || addresses["http"] == "" {
		return "", fmt.Errorf("%s names no HTTP address: give --addr", path)
	}
	return strings.TrimPrefix(addresses["http"], "http://"), nil
}
