package inbox

import (
	"context"
	"errors"
	"fmt"

	"postbox"
)

// Writer stores what does not come over a connection: requests. Its methods may
// be called from any goroutine; each waits for its commit.
type Writer struct {
	// LaneOf chooses the lane of a user, for life: that of the user's
	// connections, so that what a user sends has one order.
	LaneOf func(postbox.UserID) *Lane
}

// Send stores a message to a user or to a room; see api.Writer. Of p the caller
// has filled in the first block, without conversation and recipients.
func (w Writer) Send(ctx context.Context, to postbox.Topic, p *postbox.Publish) (postbox.Stored, bool, error) {
	d := &Draft{Action: Append, To: to.User, Publish: *p}
	if err := w.settle(ctx, p.Message.Sender, d); err != nil {
		return postbox.Stored{}, false, err
	}
	return d.Stored, d.Duplicate, nil
}

// Change stores an edit, a retraction, a read marker or a change of a room, and
// fills in c; see api.Writer.
func (w Writer) Change(ctx context.Context, c *postbox.Change) error {
	// The lane has it for as long as it takes, also after ctx has ended.
	own := *c
	if err := w.settle(ctx, c.Actor, &Draft{Action: Amend, Change: &own}); err != nil {
		return err
	}
	*c = own
	return nil
}

// settle waits for the outcome of a draft.
func (w Writer) settle(ctx context.Context, user postbox.UserID, d *Draft) error {
	done := marker{done: make(chan struct{})}
	d.Origin, d.User = done, user
	if err := w.LaneOf(user).submit(ctx, d); err != nil {
		if errors.Is(err, ErrClosed) {
			return postbox.Errorf(postbox.CodeUnavailable, "the server is shutting down: try again")
		}
		return fmt.Errorf("%w: no room in the queue: %w", postbox.ErrUnavailable, err)
	}
	select {
	case <-done.done:
	case <-ctx.Done():
		return fmt.Errorf("%w: not stored yet: %w", postbox.ErrUnavailable, ctx.Err())
	}
	if d.Refusal != nil {
		return d.Refusal
	}
	return nil
}
