package inbox

import (
	"context"

	"postbox"
)

// Await returns when a user's inbox has an entry after `after`, or with the error
// of ctx when that ends. It delivers nothing and moves no cursor.
func (h *Hub) Await(ctx context.Context, user postbox.UserID, after postbox.InboxSeq) error {
	s := &Subscription{hub: h, device: Device{User: user}, news: make(chan struct{}, 1)}
	box := h.attach(s)
	defer s.Close()
	for {
		head, err := box.loadHead(ctx, h.reader)
		if err != nil || head > after {
			return err
		}
		select {
		case <-s.news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tell lets Await look again.
func (s *Subscription) tell() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}
