package hooks

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"postbox"
	"postbox/inbox"
	"postbox/store"
)

// willTable is a database that has what it is given, and a lane that stores a
// will when it is told to.
type willTable struct {
	due     []store.Will
	dropped []postbox.MessageID
	taken   []*inbox.Draft // by the lane
	submit  func()
}

func (t *willTable) DueWills(context.Context, store.Will, int) ([]store.Will, error) {
	return slices.Clone(t.due), nil
}

func (t *willTable) ReleaseWill(ctx context.Context, _ postbox.MessageID, _ time.Duration) error {
	return ctx.Err()
}

func (t *willTable) DropWill(ctx context.Context, id postbox.MessageID) error {
	if ctx.Err() == nil {
		t.dropped = append(t.dropped, id)
	}
	return ctx.Err()
}

func (t *willTable) Submit(d *inbox.Draft) error {
	t.taken = append(t.taken, d)
	if t.submit != nil {
		t.submit()
	}
	return nil
}

func hookOfWills(t *willTable) *Hook {
	return &Hook{metrics: newMetrics(), o: Options{Wills: t, Logger: slog.New(slog.DiscardHandler), LaneOf: func(postbox.UserID) Lane { return t }}}
}

// A will that is stored after it was read is not sent a second time by who has
// read it; afterwards nothing of it is remembered.
func TestWillThatIsStoredWhileItIsRead(t *testing.T) {
	one, two := store.Will{ID: newMessageID()}, store.Will{ID: newMessageID()}
	table := &willTable{due: []store.Will{one, two}}
	h := hookOfWills(table)
	h.sendWill(two)
	slow := h.wills.read() // of a CONNECT that has found both
	table.submit = func() {
		table.taken[0].Origin.Settled(table.taken[0]) // two
	}
	if err := h.keepWills(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.sendWill(two)
	if len(table.taken) != 2 || table.taken[1].Publish.Message.ID != one.ID {
		t.Errorf("%d drafts in the lane, want one of each will", len(table.taken))
	}
	table.taken[1].Origin.Settled(table.taken[1])
	slow()
	if len(h.wills.under)+len(h.wills.ended)+len(h.wills.reading) != 0 {
		t.Errorf("remembered: %+v", h.wills.under)
	}
}

// What the database was not told while the server ran it is told at its end.
func TestWillsAreForgottenAtTheEnd(t *testing.T) {
	table := new(willTable)
	h := hookOfWills(table)
	ids := []postbox.MessageID{newMessageID(), newMessageID()}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the server ends
	for _, id := range ids {
		h.wills.later(willNote{id: id, drop: true})
	}
	h.KeepWills(ctx)
	if len(table.dropped) != len(ids) || !slices.Contains(table.dropped, ids[0]) || !slices.Contains(table.dropped, ids[1]) {
		t.Errorf("%d of %d wills were dropped", len(table.dropped), len(ids))
	}
}

// Who waits for the rate waits no longer than asked, and is told.
func TestAwaitRate(t *testing.T) {
	l := limiters{rate: 0.001, burst: 2}
	for range 2 {
		if err := l.await(t.Context(), 1, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	var refusal *postbox.Error
	if err := l.await(t.Context(), 1, time.Minute); !errors.As(err, &refusal) || refusal.Code != postbox.CodeRateLimited {
		t.Errorf("the third: %v, want rate_limited", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("refused after %v, want at once", took)
	}
	if err := l.await(t.Context(), 2, time.Minute); err != nil {
		t.Errorf("another user: %v", err)
	}
}
