package hooks

import (
	"context"
	"errors"
	"time"

	"postbox"
)

// patience is for how long a client does not notice that the database is away: a
// restart takes less. When it has been away for longer, clients are told at once.
const patience = 5 * time.Second

// patiently does work that asks the database, again and again while that is
// away, but not past the patience. Doing the work twice must be doing it once.
func (h *Hook) patiently(ctx context.Context, work func() error) error {
	pause := 20 * time.Millisecond
	var failing time.Time
	for {
		err := work()
		if !errors.Is(err, postbox.ErrUnavailable) {
			return err
		}
		if failing.IsZero() {
			failing = time.Now()
		}
		since := h.o.AwaySince()
		if since.IsZero() || since.After(failing) {
			since = failing
		}
		if time.Since(since) > patience {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		pause = min(2*pause, 200*time.Millisecond)
	}
}
