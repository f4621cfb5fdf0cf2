package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"postbox"
)

// Presence is whether a user has a device connected.
type Presence struct {
	User     postbox.User `json:"user"`
	Online   bool         `json:"online"`
	LastSeen time.Time    `json:"last_seen"` // zero: online, never, or not to be known
}

// Presence asks who has a device connected, of at most 100 users, in the order
// asked for. Those whom the user may not see are left out: who neither shares a
// room with the user nor has written to the user.
func (c *Client) Presence(ctx context.Context, users ...postbox.User) ([]Presence, error) {
	return inParts(users, func(part []postbox.User) ([]Presence, bool, error) {
		var reply struct {
			Presence []Presence `json:"presence"`
			HasMore  bool       `json:"has_more"`
		}
		err := c.Call(ctx, "presence", wireUsers{part}, &reply)
		return reply.Presence, reply.HasMore, err
	}, func(p Presence) postbox.User { return p.User })
}

// WatchPresence subscribes to what ReceivePresence returns: the present state of
// users, and each change of it; of all whom the user may see if none is named. Of
// one whom the user may not see nothing comes. It lasts as long as the client.
// ErrForbidden says that the device has too many subscriptions (100, unless set
// otherwise); those of the users that it does not name are watched all the same.
func (c *Client) WatchPresence(ctx context.Context, users ...postbox.User) error {
	e, err := newWatch("watch presence", users)
	if err != nil {
		return err
	}
	return c.ask(ctx, e, nil)
}

// UnwatchPresence ends what WatchPresence with the same users has begun; the
// server remembers it for as long as the device's session, also for a program
// that has ended since.
func (c *Client) UnwatchPresence(ctx context.Context, users ...postbox.User) error {
	e, err := newWatch("unwatch presence", users)
	if err != nil {
		return err
	}
	e.ending = true
	return c.ask(ctx, e, nil)
}

func newWatch(operation string, users []postbox.User) (*errand, error) {
	e := newErrand()
	e.operation, e.filters = operation, make(map[string]byte)
	for _, user := range users {
		if _, err := postbox.ParseUser(string(user)); err != nil {
			return nil, err
		}
		e.filters["presence/"+string(user)] = 0
	}
	if len(users) == 0 {
		e.filters["presence/+"] = 0
	}
	return e, nil
}

// watch does the errand of WatchPresence or UnwatchPresence on one connection.
// When that is lost, it is done again on the next.
func (c *Client) watch(l *link, e *errand) {
	if e.ending {
		c.watched.remove(e.filters) // a reconnect must not bring them back
		if l.unwatch(e.filters) == nil {
			c.outbox.answer(e.id, result{})
		}
		return
	}
	granted, err := l.watch(e.filters)
	if err != nil {
		return
	}
	var r result
	for filter := range e.filters {
		if granted[filter] > 2 { // 0x80: failure [MQTT-3.9.3-2]
			r.err = postbox.Errorf(postbox.CodeForbidden, "the server refuses the subscription to %s", filter)
			continue
		}
		c.watched.add(filter)
	}
	c.outbox.answer(e.id, r)
}

// ReceivePresence waits for the next news of somebody's presence. Of each user
// the newest is kept, of 256 users at most. It returns ctx's error, ErrClosed, or
// why the server refuses the login. After each reconnect all that are watched are
// told again.
//
// Several goroutines may call it at once; each news goes to one of them.
func (c *Client) ReceivePresence(ctx context.Context) (Presence, error) {
	return c.presence.take(ctx, c.ctx)
}

func parsePresence(payload []byte) (Presence, error) {
	var p Presence
	if err := json.Unmarshal(payload, &p); err != nil {
		return p, fmt.Errorf("read presence of %d bytes: %w", len(payload), err)
	}
	if p.User == "" {
		return p, errors.New("read presence: it names no user")
	}
	return p, nil
}

// watched are the presence filters that the server has granted.
type watched struct {
	mu      sync.Mutex
	filters map[string]byte
}

func (w *watched) add(filter string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.filters == nil {
		w.filters = make(map[string]byte)
	}
	w.filters[filter] = 0
}

func (w *watched) remove(filters map[string]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for filter := range filters {
		delete(w.filters, filter)
	}
}

func (w *watched) into(filters map[string]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.Copy(filters, w.filters)
}

func (w *watched) has(filter string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.filters[filter]
	return ok
}
