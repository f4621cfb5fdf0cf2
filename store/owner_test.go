package store_test

import (
	"errors"
	"strings"
	"testing"

	"postbox/store"
)

// One server at a time: a second one is told why it does not start.
func TestOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.open(w.url), w.open(w.url)
	owner, err := first.Own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Own(t.Context()); !errors.Is(err, store.ErrOwned) {
		t.Errorf("the second: %v", err)
	}
	if err := owner.Close(); err != nil {
		t.Fatal(err)
	}
	w.waitFor("the lock to go", `count(*) = 0 FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	owner, err = second.Own(t.Context())
	if err != nil {
		t.Fatalf("the second, after the first: %v", err)
	}
	if err := owner.Close(); err != nil {
		t.Error(err)
	}
}

func TestDurability(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var fsync string
	if err := w.store.DB().Get(&fsync, `SHOW fsync`); err != nil {
		t.Fatal(err)
	}
	d, err := w.store.Durability(t.Context())
	if d.Fsync != fsync || d.SynchronousCommit != "on" || d.FullPageWrites == "" {
		t.Errorf("%+v", d)
	}
	if (err == nil) != (fsync == "on") || err != nil && !strings.Contains(err.Error(), "set fsync=on") {
		t.Errorf("fsync %s: %v", fsync, err)
	}
}

// Commits are waited for whatever the server's own default is.
func TestConnectionsWaitForCommits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`)
	s := w.open(w.url)
	d, _ := s.Durability(t.Context()) // fsync is off here
	if d.SynchronousCommit != "on" {
		t.Errorf("%+v", d)
	}
}
