package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postbox/internal/bench"
	"postbox/store"
)

type benchSearchCmd struct {
	Addr        string   `help:"Address of the HTTP API (default: of --embedded-dir, else 127.0.0.1:8080)."`
	DatabaseURL string   `help:"Database of the server."`
	EmbeddedDir string   `type:"path" help:"Data directory of a running server with the embedded database: gives its address and database."`
	Messages    int      `short:"m" default:"50000" help:"Fill the database until it has so many."`
	Users       int      `default:"11" help:"Users to fill it with."`
	Friends     int      `default:"10" help:"With how many others each has a conversation; an even number."`
	ServerPID   int      `name:"server-pid" help:"Process of the server, for its CPU."`
	Limit       int      `default:"50" help:"Messages of a page."`
	Searches    int      `default:"300" help:"Searches of a run."`
	WarmUp      int      `default:"20" help:"Searches before each run."`
	Note        []string `sep:"none" help:"Put a setting that matters into the report. Repeatable."`
	JSON        bool     `help:"Print JSON instead of text."`
	Out         string   `type:"path" help:"Write JSON to this file too."`
}

// Help is the end of the command's --help.
func (benchSearchCmd) Help() string {
	return `Fills the server's database with conversations in words of a made-up language
and in Chinese, waits until the server has indexed them, and searches over HTTP:
for frequent and rare words, in one conversation and in all of a user's. Each
message that is found is looked at; a wrong one fails the run. Use a database of
its own: what is filled in stays.

The server slows each user down: serve with POSTBOX_LIMITS_REQUEST_RATE=0. Example:

  postbox bench search --embedded-dir ./postbox-data --messages 1000000`
}

// Validate finds wrong usage before anything starts.
func (c *benchSearchCmd) Validate() error {
	switch {
	case (c.DatabaseURL == "") == (c.EmbeddedDir == ""):
		return errors.New("give --database-url or --embedded-dir")
	case c.Friends < 2 || c.Friends%2 != 0 || c.Users <= c.Friends:
		return errors.New("--friends must be an even number, and less than --users")
	case c.Users > 10_000:
		return fmt.Errorf("--users %d: at most 10000", c.Users)
	case c.Limit < 1 || c.Limit > 500:
		return fmt.Errorf("--limit %d: 1 to 500", c.Limit)
	case c.Searches < 1:
		return errors.New("--searches must be at least 1")
	}
	return nil
}

// Run fills, waits for the index, searches and prints.
func (c *benchSearchCmd) Run(ctx context.Context, g *globals) error {
	url, address, err := benchTarget(c.DatabaseURL, c.EmbeddedDir, c.Addr)
	if err != nil {
		return err
	}
	db, err := store.Open(store.Options{URL: url, PoolSize: 2})
	if err != nil {
		return err
	}
	defer db.Close()
	filling := benchHistoryCmd{Messages: c.Messages, Users: c.Users, Friends: c.Friends, body: bench.SearchBody}
	history, shelves, err := filling.library(ctx, db, g)
	if err != nil {
		return err
	}
	report := bench.NewSearchReport(history.Library, c.Note)
	if history.Library.Filled > 0 {
		took, err := reindex(ctx, db)
		if err != nil {
			return err
		}
		report.IndexRate = float64(history.Library.Messages) / took.Seconds()
	}
	const size = `SELECT pg_total_relation_size('postbox.search') + pg_total_relation_size('postbox.search_windows')`
	if err := db.DB().GetContext(ctx, &report.IndexBytes, size); err != nil {
		return err
	}
	postmaster, err := findPostmaster(ctx, db)
	if err != nil {
		return err
	}
	report.Runs, err = bench.Search(ctx, bench.SearchOptions{
		Address: address, Shelves: shelves, Limit: c.Limit, WarmUp: c.WarmUp, Searches: c.Searches,
		Processes: bench.Processes{Server: c.ServerPID, Database: postmaster},
	})
	if err != nil {
		return err
	}
	load := benchLoad{JSON: c.JSON, Out: c.Out}
	if err := load.print(g.Stdout, report); err != nil {
		return err
	}
	return load.verdict(report.Faults(), nil)
}

// reindex has the server index everything, and waits for it. What was filled in
// went past the writer, who tells the indexer what there is.
func reindex(ctx context.Context, db *store.Store) (took time.Duration, err error) {
	began := time.Now()
	if _, err := db.DB().ExecContext(ctx, `SELECT postbox.search_rebuild()`); err != nil {
		return 0, fmt.Errorf("empty the search index: %w", err)
	}
	err = awaitTrue(ctx, db, `SELECT fill_after IS NULL FROM postbox.search_state`)
	return time.Since(began), err
}

// awaitTrue asks again and again, until the answer is yes.
func awaitTrue(ctx context.Context, db *store.Store, question string) error {
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		var done bool
		if err := db.DB().GetContext(ctx, &done, question); err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-look.C:
		}
	}
}
