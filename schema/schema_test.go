package schema_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	_ "github.com/lib/pq" // the driver "postgres"

	"postbox/internal/pgtest"
	"postbox/schema"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// blank returns a database that has never seen Postbox, and how to open more
// connections to it.
func blank(t *testing.T) (*sql.DB, func() *sql.DB) {
	t.Helper()
	url := pgtest.New(t)
	open := func() *sql.DB {
		db, err := sql.Open("postgres", url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		return db
	}
	db := open()
	if _, err := db.Exec(`DROP SCHEMA postbox CASCADE`); err != nil {
		t.Fatal(err)
	}
	return db, open
}

func TestMigrateTwice(t *testing.T) {
	t.Parallel()
	db, _ := blank(t)
	for range 2 {
		if err := schema.Migrate(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		have, known, err := schema.Versions(t.Context(), db)
		if err != nil || have != known || known == 0 {
			t.Fatalf("version %d of %d, %v", have, known, err)
		}
	}
	var times, versions int
	const count = `SELECT count(*), count(DISTINCT version_id) FROM postbox.schema_version`
	if err := db.QueryRow(count).Scan(&times, &versions); err != nil || times != versions {
		t.Errorf("%d migrations were run for %d versions, %v", times, versions, err)
	}
}

// Servers that start at once on a new database do not fail each other.
func TestMigrateAtOnce(t *testing.T) {
	t.Parallel()
	first, open := blank(t)
	processes := []*sql.DB{first, open(), open()}
	for range 2 {
		if _, err := first.Exec(`DROP SCHEMA IF EXISTS postbox CASCADE`); err != nil {
			t.Fatal(err)
		}
		start, done := make(chan struct{}), make(chan error)
		for _, db := range processes {
			go func() {
				<-start
				done <- schema.Migrate(t.Context(), db)
			}()
		}
		close(start)
		for range processes {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		have, known, err := schema.Versions(t.Context(), first)
		if err != nil || have != known {
			t.Errorf("version %d of %d, %v", have, known, err)
		}
	}
}

// A program that is older than its database leaves it alone and says so.
func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	db, _ := blank(t)
	if err := schema.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	before := dump(t, db)
	if _, err := db.Exec(`INSERT INTO postbox.schema_version (version_id, is_applied) VALUES (9001, true)`); err != nil {
		t.Fatal(err)
	}
	err := schema.Migrate(t.Context(), db)
	var newer *schema.NewerError
	if !errors.As(err, &newer) {
		t.Fatalf("got %v", err)
	}
	_, known, err := schema.Versions(t.Context(), db)
	if newer.Database != 9001 || newer.Known != known || err != nil {
		t.Errorf("%+v, known %d, %v", newer, known, err)
	}
	if after := dump(t, db); after != before {
		t.Error("the schema was changed")
	}
}

func TestMigrateFailsWithoutItsDatabase(t *testing.T) {
	t.Parallel()
	db, _ := blank(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := schema.Migrate(ctx, db); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := schema.Migrate(t.Context(), db); err != nil {
		t.Errorf("and then: %v", err)
	}
}
