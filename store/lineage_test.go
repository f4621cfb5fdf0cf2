package store_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"postbox"
	"postbox/store"
)

// lineage opens a store that has looked at the epoch and knows a message, and
// counts how often it finds another database. Its pool keeps no connection, so
// that each statement makes a new one.
func (w *world) lineage() (*store.Store, *store.Lane, *atomic.Int32) {
	w.t.Helper()
	replaced := new(atomic.Int32)
	s, err := store.Open(store.Options{URL: w.url, Replaced: func() { replaced.Add(1) }})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.Close() })
	s.DB().SetMaxIdleConns(0)
	w.epoch(s)
	l := w.laneOf(s, 0)
	w.append(l, w.publish("alice", "bob", "kept"))
	if err := s.Ping(w.t.Context()); err != nil || replaced.Load() != 0 {
		w.t.Fatalf("%v, replaced %d times", err, replaced.Load())
	}
	return s, l, replaced
}

// A new connection to a database of another lineage is not used for anything:
// what this process knows is not true there.
func TestConnectionsKeepToTheLineage(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]string{
		"another cluster":  `UPDATE postbox.epochs SET system_identifier = '1'`,
		"a failover":       `UPDATE postbox.epochs SET timeline = timeline + 1`,
		"a restored dump":  `UPDATE postbox.epochs SET table_oid = 1`,
		"a new epoch":      `INSERT INTO postbox.epochs SELECT 'newest', system_identifier, timeline, database_oid, table_oid FROM postbox.epochs`,
		"an older state":   `DELETE FROM postbox.messages`,
		"a half-made copy": `ALTER TABLE postbox.messages RENAME TO later`,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "alice", "bob")
			s, l, replaced := w.lineage()
			w.exec(change)
			if err := s.Ping(t.Context()); !errors.Is(err, postbox.ErrUnavailable) {
				t.Errorf("ping: %v", err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.OpenLane(t.Context(), 0, errFenced); !errors.Is(err, postbox.ErrUnavailable) {
				t.Errorf("open a lane: %v", err)
			}
			told := replaced.Load() > 0
			if want := what != "a half-made copy"; told != want {
				t.Errorf("told %v that the database was replaced", told)
			}
		})
	}
}

// The older state of an epoch is the beginning of a new one, which a store that
// knows nothing of the past finds.
func TestOlderStateBeginsAnEpoch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	first := w.epoch(w.store)
	w.append(w.lane(1), w.publish("alice", "bob", "before"))
	s, _, replaced := w.lineage()
	if now := w.epoch(s); now != first {
		t.Fatalf("%s, then %s", first, now)
	}
	w.exec(`DELETE FROM postbox.messages WHERE body = 'kept'`)
	for range 3 {
		_ = s.Ping(t.Context())
	}
	if n := w.number(`SELECT count(*) FROM postbox.epochs`); n != 2 || replaced.Load() != 3 {
		t.Errorf("%d epochs, told %d times", n, replaced.Load())
	}
	if now := w.epoch(w.open(w.url)); now == first {
		t.Errorf("still %s", now)
	}
}

// Only a PostgreSQL that was started since an epoch began can have been put
// back to an older state of it.
func TestNewEpochAfterRollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.epoch(w.store)
	rollBack := func(of postbox.Epoch, want bool) {
		t.Helper()
		if began, err := w.store.NewEpochAfterRollback(t.Context(), of); err != nil || began != want {
			t.Errorf("began %v, %v", began, err)
		}
	}
	rollBack(first, false)
	w.exec(`UPDATE postbox.epochs SET began_at = began_at - interval '1 year'`)
	rollBack("strange", false)
	rollBack(first, true)
	rollBack(first, false)
	rollBack(w.epoch(w.open(w.url)), false)
}
