package client

import (
	"context"
	"slices"
	"sync"
)

// maxNews is how many items are kept for a program that does not take them.
const maxNews = 256

// news holds what is worth something only while it is new: when there is too
// much of it, the oldest is dropped, and what has the same name as a newer one.
type news[T any] struct {
	name func(T) string // empty: it has none
	more chan struct{}  // told when there may be something to take

	mu    sync.Mutex
	items []T
}

func newNews[T any](name func(T) string) *news[T] {
	return &news[T]{name: name, more: make(chan struct{}, 1)}
}

func (n *news[T]) put(item T) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name := n.name(item); name != "" {
		n.items = slices.DeleteFunc(n.items, func(old T) bool { return n.name(old) == name })
	}
	if len(n.items) == maxNews {
		n.items = slices.Delete(n.items, 0, 1)
	}
	n.items = append(n.items, item)
	tell(n.more)
}

// take waits for the oldest item, until ctx or the client ends.
func (n *news[T]) take(ctx, client context.Context) (T, error) {
	var none T
	for {
		if client.Err() != nil {
			return none, context.Cause(client)
		}
		n.mu.Lock()
		if len(n.items) > 0 {
			item := n.items[0]
			n.items = slices.Delete(n.items, 0, 1)
			if len(n.items) > 0 {
				tell(n.more) // for another one who waits
			}
			n.mu.Unlock()
			return item, nil
		}
		n.mu.Unlock()
		select {
		case <-n.more:
		case <-ctx.Done():
			return none, ctx.Err()
		case <-client.Done():
		}
	}
}
