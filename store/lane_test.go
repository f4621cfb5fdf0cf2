package store_test

import (
	"errors"
	"testing"

	"postbox"
	"postbox/store"
)

// A lane that another server has taken can store nothing any more.
func TestFence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	older := w.lane(0)
	w.append(older, w.publish("alice", "bob", "one"))
	lost := func(l *store.Lane, want bool) {
		t.Helper()
		if got, err := l.Lost(t.Context(), w.store); err != nil || got != want {
			t.Errorf("lost: %v, %v", got, err)
		}
	}
	lost(older, false)
	newer, beside := w.lane(0), w.lane(1)
	lost(older, true)
	lost(newer, false)
	lost(beside, false)
	for range 2 {
		err := older.Append(t.Context(), batch(w.publish("alice", "bob", "lost")))
		if !errors.Is(err, errFenced) {
			t.Errorf("the older: %v", err)
		}
	}
	w.append(newer, w.publish("alice", "bob", "two"))
	w.append(beside, w.publish("alice", "bob", "three"))
	w.audit(3)
}

// A server that takes a lane waits for the transaction of the one before: what
// that one acknowledges is there, and nothing comes later.
func TestFenceWaitsForTheLastTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	older := w.lane(0)
	p := w.publish("alice", "bob", "one")
	tx, err := w.store.DB().BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec(`SELECT 1 FROM postbox.logs FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	appended := make(chan error)
	go func() { appended <- older.Append(t.Context(), batch(p)) }()
	w.waitFor("the batch", blocked, appending, 1)
	type taken struct {
		lane *store.Lane
		err  error
	}
	took := make(chan taken)
	go func() {
		l, err := w.store.OpenLane(t.Context(), 0, errFenced)
		took <- taken{l, err}
	}()
	w.waitFor("the newer server", blocked, "INSERT INTO postbox.lanes", 1)
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-appended; err != nil {
		t.Errorf("the last batch: %v", err)
	}
	newer := <-took
	if newer.err != nil {
		t.Fatal(newer.err)
	}
	defer newer.lane.Close()
	if err := older.Append(t.Context(), batch(w.publish("alice", "bob", "late"))); !errors.Is(err, errFenced) {
		t.Errorf("the older: %v", err)
	}
	w.append(newer.lane, w.publish("alice", "bob", "two"))
	w.agree(p)
	w.audit(2)
}

// A batch of unknown outcome is not stored by the older server after the newer
// has taken its lane.
func TestFenceBeatsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	wire, url := newWire(t, w.url)
	wire.reset = true
	older := w.laneOf(w.open(url), 0)
	b := batch(w.publish("alice", "bob", "one"))
	wire.once(appending, before)
	if err := older.Append(t.Context(), b); !errors.Is(err, postbox.ErrUnavailable) {
		t.Fatalf("cut: %v", err)
	}
	w.append(w.lane(0), w.publish("alice", "bob", "two"))
	if err := older.Append(t.Context(), b); !errors.Is(err, errFenced) {
		t.Errorf("the older: %v", err)
	}
	w.audit(1)
}
