// Package store is every SQL statement of Postbox, on sqlx and lib/pq.
//
// Statements are constants beside the method that uses them. A method is one
// round trip where it can be. Its errors say what was attempted; an error of
// the database being away has postbox.ErrUnavailable in its chain, so that a
// caller can tell "later" from "never".
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// Options of Open.
type Options struct {
	URL      string // postgres://… or key=value form
	PoolSize int    // connections besides those of the lanes, as many for the archive, and a few for searches; 10 if zero
	// Replaced is called, maybe often, when behind the URL there is another
	// database than before: see Epoch. It must not block. May be nil.
	Replaced func()
}

// Store is a pool of connections. Its methods may be called from any
// goroutine.
type Store struct {
	db      *sqlx.DB
	often   statements // of db
	pages   rowReader  // of db
	archive *archive
	finder  *statements // for searches
	// frequencies are those of terms in the search index.
	frequencies frequencies
	recent      recent // what the indexer need not read
	heads       *heads
	options     Options
	lineage     *lineage
}

// connectionSettings are given to every connection at its start. A statement
// that takes longer than the timeouts is a fault and must not hold locks.
var connectionSettings = map[string]string{
	"application_name":                    "postbox",
	"binary_parameters":                   "yes",
	"connect_timeout":                     "5",
	"client_encoding":                     "UTF8",
	"synchronous_commit":                  "on",
	"default_transaction_isolation":       "read committed", // postbox.append rests on it
	"statement_timeout":                   "10000",
	"lock_timeout":                        "10000",
	"idle_in_transaction_session_timeout": "60000",
	"timezone":                            "UTC",
	// PostgreSQL must notice that a server's machine has gone: until then its
	// lock on the database would keep the next one out.
	"tcp_keepalives_idle":     "20",
	"tcp_keepalives_interval": "5",
	"tcp_keepalives_count":    "3",
	"search_path":             "pg_catalog",
	"jit":                     "off",
}

// Open makes the pool. It does not wait for the database: see Ping.
func Open(o Options) (*Store, error) {
	if o.PoolSize == 0 {
		o.PoolSize = 10
	}
	dsn, err := withSettings(o.URL, connectionSettings)
	if err != nil {
		return nil, err
	}
	l := &lineage{replaced: o.Replaced, checking: make(chan struct{}, 1)}
	db, err := open(dsn, l, patienceOf(dsn))
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s := &Store{db: db, often: statements{db: db}, options: o, lineage: l, heads: newHeads()}
	s.recent.limit = recentLimit(debug.SetMemoryLimit(-1))
	s.bound(db)
	if s.archive, err = openArchive(s); err != nil {
		_ = db.Close()
		return nil, err
	}
	s.pages = rowReader{db, s.archive.control, o.PoolSize}
	if s.finder, err = openFinder(s); err != nil {
		_ = errors.Join(s.archive.close(), db.Close())
		return nil, err
	}
	return s, nil
}

// openWith makes a pool of its own, with further settings.
func (s *Store) openWith(further map[string]string) (*sqlx.DB, error) {
	settings := maps.Clone(connectionSettings)
	maps.Copy(settings, further)
	dsn, err := withSettings(s.options.URL, settings)
	if err != nil {
		return nil, err
	}
	db, err := open(dsn, s.lineage, patienceOf(dsn))
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s.bound(db)
	return db, nil
}

// bound gives a pool the size that was asked for.
func (s *Store) bound(db *sqlx.DB) {
	db.SetMaxOpenConns(s.options.PoolSize)
	db.SetMaxIdleConns(s.options.PoolSize)
	db.SetConnMaxIdleTime(5 * time.Minute)
}

// Close ends all connections of the pools.
func (s *Store) Close() error {
	return errors.Join(s.finder.close(), s.archive.close(), s.often.close())
}

// DB is the pool itself.
func (s *Store) DB() *sqlx.DB { return s.db }

// Migrating gives f connections that wait as long as a statement takes: a
// migration may rewrite a large table.
func (s *Store) Migrating(ctx context.Context, f func(context.Context, *sql.DB) error) error {
	settings := maps.Clone(connectionSettings)
	settings["statement_timeout"] = "0"
	dsn, err := withSettings(s.options.URL, settings)
	if err != nil {
		return err
	}
	db, err := open(dsn, s.lineage, 0)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	defer db.Close()
	return f(ctx, db.DB)
}

// Ping asks the database whether it is there, may be written to, and is still
// the one that Epoch has looked at.
func (s *Store) Ping(ctx context.Context) error {
	var standby bool
	if err := s.db.GetContext(ctx, &standby, `SELECT pg_is_in_recovery()`); err != nil {
		return away("ping database", err)
	}
	if standby {
		return away("ping database", errStandby)
	}
	return s.lineage.look(ctx, s.db)
}

// withSettings adds settings to a connection string, in either of its forms.
// What the string sets itself is kept.
func withSettings(dsn string, settings map[string]string) (string, error) {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		u, err := url.Parse(dsn)
		if err != nil {
			// The parser's error holds the URL, and with it the password.
			return "", fmt.Errorf("database.url is not a valid URL: write postgres://user:password@host/database")
		}
		q := u.Query()
		for k, v := range settings {
			if !q.Has(k) {
				q.Set(k, v)
			}
		}
		u.RawQuery = q.Encode()
		return u.String(), nil
	}
	var b strings.Builder
	b.WriteString(dsn)
	for k, v := range settings {
		if !strings.Contains(dsn, k+"=") {
			fmt.Fprintf(&b, " %s='%s'", k, v)
		}
	}
	return b.String(), nil
}
