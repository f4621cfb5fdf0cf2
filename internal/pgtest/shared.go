package pgtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/lib/pq"

	"postbox/internal/embedpg"
	"postbox/schema"
)

// databaseURL names the server to use instead of one of our own.
const databaseURL = "POSTBOX_TEST_DATABASE_URL"

// shared is the server of this test binary.
var shared sharedServer

// sharedServer starts at its first use and is then the same for all tests.
type sharedServer struct {
	mu       sync.Mutex // guards all below
	started  bool
	err      error           // what start returned
	server   *embedpg.Server // nil if it is not ours
	dir      string          // to be removed with server
	url      *url.URL        // of the database that others are made from
	admin    *sql.DB
	template string
}

// start starts the server and makes the template, once.
func (s *sharedServer) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started {
		s.started = true
		s.err = s.open(ctx)
	}
	return s.err
}

func (s *sharedServer) open(ctx context.Context) (err error) {
	address := os.Getenv(databaseURL)
	if address == "" {
		sweep(os.TempDir())
		if s.dir, err = makeDir(); err != nil {
			return err
		}
		s.server, err = embedpg.Start(ctx, embedpg.Options{
			Dir:    s.dir,
			NoSync: true,
			// Many tests at once, each with pools of its own.
			Settings: map[string]string{"max_connections": "300", "shared_buffers": "128MB"},
		})
		if err != nil {
			return err
		}
		address = s.server.URL()
	}
	if s.url, err = url.Parse(address); err != nil || !strings.HasPrefix(s.url.Scheme, "postgres") {
		return fmt.Errorf("%s must be a URL, postgres://user@host/database", databaseURL) // it may hold a password
	}
	if s.admin, err = sql.Open("postgres", address); err != nil {
		return fmt.Errorf("open %s: %w", s.url.Redacted(), err)
	}
	s.admin.SetMaxOpenConns(4)
	name := newName("template")
	if _, err := s.admin.ExecContext(ctx, `CREATE DATABASE `+pq.QuoteIdentifier(name)); err != nil {
		return fmt.Errorf("create template database: %w", err)
	}
	s.template = name
	return migrate(ctx, s.urlOf(name))
}

// urlOf returns the URL of another database on the same server.
func (s *sharedServer) urlOf(name string) string {
	u := *s.url
	u.Path = "/" + name
	return u.String()
}

// stop undoes start. Tests are over: nobody calls start any more.
func (s *sharedServer) stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.template != "" && s.server == nil {
		errs = append(errs, dropDatabase(ctx, s.admin, s.template))
	}
	if s.admin != nil {
		errs = append(errs, s.admin.Close())
	}
	if s.server != nil {
		errs = append(errs, s.server.Stop(ctx))
	}
	if s.dir != "" {
		errs = append(errs, removeDir(s.dir))
	}
	return errors.Join(errs...)
}

func migrate(ctx context.Context, url string) error {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	return errors.Join(schema.Migrate(ctx, db), db.Close())
}

func dropDatabase(ctx context.Context, admin *sql.DB, name string) error {
	if _, err := admin.ExecContext(ctx, `DROP DATABASE IF EXISTS `+pq.QuoteIdentifier(name)+` WITH (FORCE)`); err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

// newName returns a database name that no other test binary uses.
func newName(kind string) string {
	return "pgtest_" + kind + "_" + strings.ToLower(rand.Text()[:16])
}
