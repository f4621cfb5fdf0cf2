package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/jmoiron/sqlx"
)

// archiveSettings are those of the connections that history is read on. Its
// statements are written for one plan, which walks an index in its order and
// stops when it has enough, wherever in a conversation that is. The planner is
// told so: by what it knows of the tables, which may be nothing, it would
// sometimes rather read and sort all that lies behind.
var archiveSettings = map[string]string{
	"enable_seqscan":    "off",
	"enable_bitmapscan": "off",
	"enable_hashjoin":   "off",
	"enable_mergejoin":  "off",
	"plan_cache_mode":   "force_generic_plan",
}

// archive is a pool of its own, so that people who page through years of
// messages do not take the connections of those who wait for new ones. Its
// statements are prepared once for each connection.
type archive struct {
	db     *sqlx.DB
	names  names
	places places

	mu       sync.Mutex // guards prepared
	prepared map[string]*sql.Stmt
}

func openArchive(s *Store) (*archive, error) {
	settings := maps.Clone(connectionSettings)
	maps.Copy(settings, archiveSettings)
	dsn, err := withSettings(s.options.URL, settings)
	if err != nil {
		return nil, err
	}
	db, err := open(dsn, s.lineage, patienceOf(dsn))
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s.bound(db)
	return &archive{db: db, prepared: make(map[string]*sql.Stmt)}, nil
}

func (a *archive) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, s := range a.prepared {
		errs = append(errs, s.Close())
	}
	clear(a.prepared)
	return errors.Join(append(errs, a.db.Close())...)
}

// statement prepares a statement, if it is not yet: from then on each connection
// prepares it when it first needs it.
func (a *archive) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	a.mu.Lock()
	s := a.prepared[text]
	a.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := a.db.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if other := a.prepared[text]; other != nil {
		_ = s.Close()
		return other, nil
	}
	a.prepared[text] = s
	return s, nil
}

// query runs a prepared statement and calls scan for each row.
func (a *archive) query(ctx context.Context, text string, scan func(*sql.Rows) error, args ...any) (err error) {
	s, err := a.statement(ctx, text)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
