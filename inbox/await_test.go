package inbox

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Await returns at once when there is something, else with the next entry, and
// moves nobody's progress.
func TestAwait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.post(d.commit(3))
		if err := d.hub.Await(t.Context(), alice, 2); err != nil {
			t.Errorf("after 2 of 3: %v", err)
		}
		came := make(chan error, 1)
		go func() { came <- d.hub.Await(t.Context(), alice, 3) }()
		synctest.Wait()
		select {
		case err := <-came:
			t.Fatalf("after the last: %v", err)
		default:
		}
		d.post(d.commit(1))
		if err := <-came; err != nil {
			t.Errorf("with the next: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := d.hub.Await(ctx, alice, 4); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("when the time is over: %v", err)
		}
		rest(time.Minute)
		if len(d.db.marks) != 0 || len(d.hub.boxes) != 0 {
			t.Errorf("progress %v and %d mailboxes are left", d.db.marks, len(d.hub.boxes))
		}
	})
}
