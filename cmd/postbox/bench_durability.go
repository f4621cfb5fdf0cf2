package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"postbox/internal/bench"
	"postbox/store"
)

// durabilityProbe looks at Postbox's database before and after a run. Its
// connections are opened as the server's own are, by package store.
type durabilityProbe struct {
	db     *store.Store
	before databaseCounters
}

// databaseCounters only grow.
type databaseCounters struct {
	Commits  int64  `db:"commits"`
	Rows     int64  `db:"rows"`
	WALBytes int64  `db:"wal_bytes"`
	WALSyncs *int64 `db:"wal_syncs"`
}

// Begin notes the counters.
func (p *durabilityProbe) Begin(ctx context.Context) (err error) {
	p.before, err = p.counters(ctx)
	return err
}

// End reads settings, tables and file systems, and what the counters have
// gained.
func (p *durabilityProbe) End(ctx context.Context, acknowledged int) (*bench.DatabaseReport, error) {
	const settings = `
		SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync,
		       current_setting('full_page_writes') AS full_page_writes,
		       current_setting('synchronous_commit') AS synchronous_commit,
		       current_setting('wal_sync_method') AS wal_sync_method,
		       coalesce((SELECT setting FROM pg_settings WHERE name = 'data_directory'), '') AS data_directory`
	var s struct {
		Version           string `db:"version"`
		Fsync             string `db:"fsync"`
		FullPageWrites    string `db:"full_page_writes"`
		SynchronousCommit string `db:"synchronous_commit"`
		WALSyncMethod     string `db:"wal_sync_method"`
		DataDirectory     string `db:"data_directory"`
	}
	if err := p.db.DB().GetContext(ctx, &s, settings); err != nil {
		return nil, fmt.Errorf("read durability settings: %w", err)
	}
	tables, err := p.tables(ctx)
	if err != nil {
		return nil, err
	}
	after, err := p.gathered(ctx, int64(acknowledged))
	if err != nil {
		return nil, err
	}
	report := &bench.DatabaseReport{
		Version:           "PostgreSQL " + s.Version,
		SeenOn:            "a connection opened as the server's own",
		Fsync:             s.Fsync,
		FullPageWrites:    s.FullPageWrites,
		SynchronousCommit: s.SynchronousCommit,
		WALSyncMethod:     s.WALSyncMethod,
		Tables:            tables,
		DataDirectory:     s.DataDirectory,
		DataFileSystem:    fileSystem(s.DataDirectory),
		WALFileSystem:     fileSystem(filepath.Join(s.DataDirectory, "pg_wal")),
		Commits:           after.Commits - p.before.Commits,
		WALBytes:          after.WALBytes - p.before.WALBytes,
		Rows:              after.Rows - p.before.Rows,
	}
	if after.WALSyncs != nil && p.before.WALSyncs != nil {
		syncs := *after.WALSyncs - *p.before.WALSyncs
		report.WALSyncs = &syncs
	}
	return report, nil
}

// indexDelay bounds the wait for the search index.
const indexDelay = 5 * time.Minute

// Settle waits until the search index is complete.
func (p *durabilityProbe) Settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, indexDelay, fmt.Errorf("the search index is not complete after %v: does a server run on this database?", indexDelay))
	defer cancel()
	return awaitTrue(ctx, p.db, `SELECT NOT EXISTS (SELECT FROM postbox.search_queue)`)
}

// statisticsDelay bounds the wait for statistics: a backend with nothing to do
// hands its own in after ten seconds.
const statisticsDelay = 12 * time.Second

// gathered reads the counters, once rows are at least what they must be or it
// makes no sense to wait longer.
func (p *durabilityProbe) gathered(ctx context.Context, rows int64) (databaseCounters, error) {
	deadline := time.Now().Add(statisticsDelay)
	for {
		now, err := p.counters(ctx)
		if err != nil || now.Rows-p.before.Rows >= rows || time.Now().After(deadline) {
			return now, err
		}
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// tables lists the tables of our schema.
func (p *durabilityProbe) tables(ctx context.Context) ([]bench.Table, error) {
	const list = `
		SELECT c.relname AS name,
		       CASE c.relpersistence WHEN 'p' THEN 'permanent' WHEN 'u' THEN 'unlogged' ELSE 'temporary' END AS persistence
		  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE n.nspname = 'postbox' AND c.relkind IN ('r', 'p') ORDER BY c.relname`
	var tables []bench.Table
	if err := p.db.DB().SelectContext(ctx, &tables, list); err != nil {
		return nil, fmt.Errorf("read how tables are kept: %w", err)
	}
	if len(tables) == 0 {
		return nil, errors.New("the database has no tables in schema postbox: is it the server's?")
	}
	return tables, nil
}

// counters reads what the statistics of PostgreSQL have counted. Version 18
// counts syncs of the log elsewhere; methods that sync with the write itself
// are not counted.
func (p *durabilityProbe) counters(ctx context.Context) (databaseCounters, error) {
	const (
		read = `
			SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS commits,
			       (SELECT coalesce(sum(n_tup_ins), 0) FROM pg_stat_user_tables WHERE schemaname = 'postbox')::bigint AS rows,
			       (SELECT wal_bytes::bigint FROM pg_stat_wal) AS wal_bytes,
			       (SELECT %s WHERE current_setting('wal_sync_method') IN ('fsync', 'fdatasync', 'fsync_writethrough')) AS wal_syncs`
		since14 = `(SELECT wal_sync FROM pg_stat_wal)`
		since18 = `(SELECT sum(fsyncs)::bigint FROM pg_stat_io WHERE object = 'wal')`
	)
	var version int
	if err := p.db.DB().GetContext(ctx, &version, `SELECT current_setting('server_version_num')::int`); err != nil {
		return databaseCounters{}, fmt.Errorf("read version of the database: %w", err)
	}
	syncs := since14
	if version >= 180000 {
		syncs = since18
	}
	var c databaseCounters
	if err := p.db.DB().GetContext(ctx, &c, fmt.Sprintf(read, syncs)); err != nil {
		return databaseCounters{}, fmt.Errorf("read counters of the database: %w", err)
	}
	return c, nil
}
