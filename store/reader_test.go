package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"postbox"
)

// A page that waits ends with its context, in the database too, and whoever comes
// next has a page. One that meets a connection which has gone takes another.
func TestPageEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h := newShelf(t, 60, `'hello'::bytea`)
	place, err := h.s.Place(t.Context(), h.user, "alice", "")
	if err != nil {
		t.Fatal(err)
	}
	page := func(ctx context.Context) error {
		got, err := h.s.Page(ctx, place, postbox.PageRequest{Limit: 50})
		if err == nil && len(got.Messages) != 50 {
			t.Errorf("%d messages", len(got.Messages))
		}
		return err
	}
	if err := page(t.Context()); err != nil {
		t.Fatal(err)
	}
	lock, err := h.s.db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.ExecContext(t.Context(), `LOCK TABLE postbox.messages`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- page(ctx) }()
	waiting := func() (n int) {
		const look = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
		if err := h.s.db.GetContext(t.Context(), &n, look); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for began := time.Now(); waiting() == 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > 8*time.Second {
			t.Fatal("the page does not come to the lock")
		}
	}
	cancel()
	began := time.Now()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a page that nobody waits for: %v", err)
	}
	if took := time.Since(began); took > 8*time.Second { // statement_timeout is ten
		t.Errorf("a page that nobody waits for went on for %v", took)
	}
	for began = time.Now(); waiting() > 0; {
		if time.Since(began) > 8*time.Second {
			t.Fatal("the database still waits")
		}
		time.Sleep(time.Millisecond)
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := page(t.Context()); err != nil {
			t.Errorf("after it: %v", err)
		}
	}
	h.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%record_send%'`)
	if err := page(t.Context()); err != nil {
		t.Errorf("after connections were lost: %v", err)
	}
}
