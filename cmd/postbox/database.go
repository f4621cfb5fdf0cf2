package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"postbox/configs"
	"postbox/internal/embedpg"
	"postbox/schema"
	"postbox/store"
)

// database is an open store and how to let go of it.
type database struct {
	*store.Store
	url   string
	close func()
}

// openDatabase reaches the database of a configuration from a command: the one
// that database.url names, or the embedded one of a server that runs, or the
// embedded one started for as long as the command takes. Its schema is
// brought up to date.
func openDatabase(ctx context.Context, g *globals) (*database, error) {
	c, err := loadConfig(g, nil)
	if err != nil {
		return nil, err
	}
	url, stopWithin, err := databaseURL(ctx, c, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	stop := func() { stopWithin(30 * time.Second) }
	st, err := store.Open(store.Options{URL: url, PoolSize: 2})
	if err != nil {
		stop()
		return nil, err
	}
	d := &database{Store: st, url: url, close: func() { _ = st.Close(); stop() }}
	if err := st.Ping(ctx); err != nil {
		d.close()
		return nil, advise(fmt.Errorf("the database cannot be used: %w", err))
	}
	if err := st.Migrating(ctx, schema.Migrate); err != nil {
		d.close()
		return nil, advise(err)
	}
	return d, nil
}

func databaseURL(ctx context.Context, c configs.Config, log *slog.Logger) (string, func(time.Duration), error) {
	if c.Database.URL != "" {
		return c.Database.URL, func(time.Duration) {}, nil
	}
	url, err := embedpg.Attach(c.Database.EmbeddedDir)
	if err == nil {
		return url, func(time.Duration) {}, nil
	}
	if !errors.Is(err, embedpg.ErrNotRunning) {
		return "", nil, err
	}
	return startEmbedded(ctx, c, log)
}

// startEmbedded runs the embedded PostgreSQL until the returned function, which
// is told how long a clean end may take.
func startEmbedded(ctx context.Context, c configs.Config, log *slog.Logger) (string, func(time.Duration), error) {
	server, err := embedpg.Start(ctx, embedpg.Options{
		Dir: c.Database.EmbeddedDir, BinDir: c.Database.BinDir, FetchURL: c.Database.FetchURL, Logger: log,
	})
	if errors.Is(err, fs.ErrPermission) && !errors.Is(err, embedpg.ErrUnreachable) {
		err = fmt.Errorf("%w: choose a directory that this account may write (database.embedded_dir), or set database.url (POSTBOX_DATABASE_URL) to a PostgreSQL of yours", err)
	}
	if err != nil {
		return "", nil, err
	}
	stop := func(within time.Duration) {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			log.Error("stopping the embedded postgresql failed", "error", err)
		}
	}
	return server.URL(), stop, nil
}
