package client

import (
	"context"
	"sync"
)

// queue holds the deliveries that Receive has not taken yet.
type queue struct {
	limit int
	more  chan struct{} // told when there may be something to take
	room  chan struct{} // told when there may be room

	mu    sync.Mutex
	items []Delivery
}

func newQueue(limit int) *queue {
	return &queue{limit: limit, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put adds d, once there is room or not at all if ctx ends.
func (q *queue) put(ctx context.Context, d Delivery) {
	for {
		q.mu.Lock()
		if len(q.items) < q.limit {
			q.items = append(q.items, d)
			tell(q.more)
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		select {
		case <-q.room:
		case <-ctx.Done():
			return
		}
	}
}

// take returns the oldest delivery, if there is one.
func (q *queue) take() (Delivery, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return Delivery{}, false
	}
	d := q.items[0]
	q.items[0] = Delivery{} // its body is the program's now
	q.items = q.items[1:]
	if len(q.items) > 0 {
		tell(q.more) // for another one who waits
	}
	if len(q.items) < q.limit {
		tell(q.room)
	}
	return d, true
}

// tell leaves a note in a channel with room for one.
func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
