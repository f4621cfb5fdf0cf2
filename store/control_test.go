package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
	"postbox/store"
)

// atOnce is how soon what another process did must be noticed.
const atOnce = time.Second

// watch watches control events until the end of the test. It returns when the
// watch has begun and all that was before it is past.
func (w *world) watch(s *store.Store) <-chan store.ControlEvent {
	w.t.Helper()
	events := make(chan store.ControlEvent, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.WatchControl(ctx, func(e store.ControlEvent) { events <- e }) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.waitFor("the watcher", listening, 1)
	for {
		w.exec(`WITH said AS (INSERT INTO postbox.control (kind, user_id) VALUES ('test', 0)) SELECT pg_notify('postbox_control', '')`)
		select {
		case <-events:
			w.exec(`INSERT INTO postbox.control (kind, user_id) VALUES ('begin', 0)`)
			w.exec(`SELECT pg_notify('postbox_control', '')`)
			for w.next(events, 10*time.Second).Kind == "test" {
			}
			return events
		case <-time.After(100 * time.Millisecond): // it may have come before the watch
		}
	}
}

const listening = `count(*) = $1 FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN %'`

// next waits for one event.
func (w *world) next(events <-chan store.ControlEvent, within time.Duration) store.ControlEvent {
	w.t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(within):
		w.t.Errorf("nothing was noticed within %v", within)
		return store.ControlEvent{}
	}
}

func (w *world) disable(name postbox.User, disabled bool) {
	w.t.Helper()
	if err := w.store.SetDisabled(w.t.Context(), name, disabled); err != nil {
		w.t.Fatal(err)
	}
}

func TestControlIsNoticedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.disable("alice", true) // before the watch: not its business
	events := w.watch(w.open(w.url))
	w.disable("bob", true)
	w.disable("bob", false)
	if err := w.store.SetPassword(t.Context(), "alice", "hash"); err != nil {
		t.Fatal(err)
	}
	var got []store.ControlEvent
	last := int64(0)
	for range 3 {
		e := w.next(events, atOnce)
		if e.ID <= last {
			t.Errorf("event %d after %d", e.ID, last)
		}
		last, e.ID = e.ID, 0
		got = append(got, e)
	}
	alice, bob := w.ids["alice"], w.ids["bob"]
	want := []store.ControlEvent{{Kind: store.ControlDisabled, User: bob}, {Kind: store.ControlEnabled, User: bob}, {Kind: store.ControlPassword, User: alice}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(events) != 0 {
		t.Errorf("and once more: %+v", <-events)
	}
}

// A watcher whose connections were ended hears of what happened meanwhile, and
// again at once of what happens then.
func TestControlSurvivesItsConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	events := w.watch(w.open(w.url))
	for range 3 {
		w.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		w.disable("alice", true)
		if e := w.next(events, 6*time.Second); e.User != w.ids["alice"] {
			t.Errorf("%+v", e)
		}
		w.waitFor("the watcher", listening, 1)
		w.disable("bob", true)
		if e := w.next(events, atOnce); e.User != w.ids["bob"] {
			t.Errorf("%+v", e)
		}
	}
	if len(events) != 0 {
		t.Errorf("and once more: %+v", <-events)
	}
}

// Events become visible in the order of their commits, not in that of their
// numbers: none is passed over.
func TestControlOutOfOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	events := w.watch(w.open(w.url))
	tx, err := w.store.DB().BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	const leave = `INSERT INTO postbox.control (kind, user_id) VALUES ('disabled', $1)`
	if _, err := tx.Exec(leave, w.ids["alice"]); err != nil {
		t.Fatal(err)
	}
	w.disable("bob", true)
	if e := w.next(events, atOnce); e.User != w.ids["bob"] {
		t.Errorf("%+v", e)
	}
	if _, err := tx.Exec(`SELECT pg_notify('postbox_control', '')`); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if e := w.next(events, atOnce); e.User != w.ids["alice"] {
		t.Errorf("%+v", e)
	}
	if len(events) != 0 {
		t.Errorf("and once more: %+v", <-events)
	}
}

func TestControlIsFoundWithoutANotification(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice")
	events := w.watch(w.open(w.url))
	w.exec(`INSERT INTO postbox.control (kind, user_id) VALUES ('disabled', $1)`, w.ids["alice"])
	if e := w.next(events, 6*time.Second); e.User != w.ids["alice"] {
		t.Errorf("%+v", e)
	}
}

// The watch begins when the database comes, and ends with its context also
// while there is none.
func TestControlWithoutADatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wire, url := newWire(t, w.url)
	s := w.open(url)
	wire.close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.WatchControl(ctx, func(store.ControlEvent) {}) }()
	if err := s.Ping(t.Context()); !errors.Is(err, postbox.ErrUnavailable) {
		t.Errorf("the database is there: %v", err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the watch goes on")
	}
}
