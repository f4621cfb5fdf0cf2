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
// watcher listens.
func (w *world) watch(s *store.Store) <-chan store.ControlEvent {
	w.t.Helper()
	control := w.control(s)
	events := make(chan store.ControlEvent, 100)
	w.run(control, events)
	w.waitFor("the watcher", listening, 1)
	return events
}

func (w *world) control(s *store.Store) *store.ControlWatch {
	w.t.Helper()
	c, err := s.WatchControl(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// run runs a watch until the end of the test.
func (w *world) run(c *store.ControlWatch, events chan<- store.ControlEvent) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Run(ctx, func(e store.ControlEvent) { events <- e }) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

const listening = `count(*) = $1 FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN %' AND state = 'idle'`

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

// What happens between the beginning of a watch and its first look is noticed,
// also when it was begun before and becomes visible only then.
func TestControlBeforeTheFirstLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	w.disable("carol", true) // before the watch: not its business
	tx, err := w.store.DB().BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec(`INSERT INTO postbox.control (kind, user_id) VALUES ('disabled', $1)`, w.ids["alice"]); err != nil {
		t.Fatal(err)
	}
	w.disable("carol", false)
	control := w.control(w.open(w.url))
	w.disable("bob", true)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	events := make(chan store.ControlEvent, 100)
	w.run(control, events)
	var got []postbox.UserID
	for range 2 {
		got = append(got, w.next(events, 10*time.Second).User)
	}
	if diff := cmp.Diff([]postbox.UserID{w.ids["alice"], w.ids["bob"]}, got); diff != "" || len(events) > 0 {
		t.Errorf("%d more, -want +got:\n%s", len(events), diff)
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

// The watch ends with its context also while there is no database.
func TestControlWithoutADatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wire, url := newWire(t, w.url)
	s := w.open(url)
	control := w.control(s)
	wire.close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- control.Run(ctx, func(store.ControlEvent) {}) }()
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
