package hooks

import (
	"context"
	"sync"
	"time"

	"postbox"
)

// registry knows the connected clients, by device and by user. It goes by
// connection and not by client id: Mochi's own map can lose a new connection
// in the clean-up of an old one.
type registry struct {
	mu      sync.Mutex // guards the fields below
	devices map[deviceKey]*slot
	users   map[postbox.UserID]map[*client]struct{}
	kicked  map[target]time.Time
	watched map[string]map[*client]struct{} // by presence filter
}

type deviceKey struct {
	user   postbox.UserID
	device string
}

// target is whose connections are to end: all of a user's, or only one device's, or
// those of one login.
type target struct {
	user   postbox.UserID
	device string
	login  postbox.LoginID
}

func (t target) means(c *client) bool {
	return (t.device == "" || t.device == c.device) && (t.login == 0 || c.belongsTo(t.login))
}

// slot is a device's place: one CONNECT at a time holds its gate.
type slot struct {
	gate    chan struct{}
	waiting int // holders and waiters of the gate; the slot goes with the last
	current *client
}

func (r *registry) init() {
	r.devices = make(map[deviceKey]*slot)
	r.users = make(map[postbox.UserID]map[*client]struct{})
	r.kicked = make(map[target]time.Time)
	r.watched = make(map[string]map[*client]struct{})
}

// enter waits for the device's gate and returns the client that is connected,
// if any. leave must follow.
func (r *registry) enter(ctx context.Context, k deviceKey) (*slot, *client, error) {
	r.mu.Lock()
	s := r.devices[k]
	if s == nil {
		s = &slot{gate: make(chan struct{}, 1)}
		r.devices[k] = s
	}
	s.waiting++
	r.mu.Unlock()
	select {
	case s.gate <- struct{}{}:
	case <-ctx.Done():
		r.mu.Lock()
		s.waiting--
		r.tidy(k, s)
		r.mu.Unlock()
		return nil, nil, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return s, s.current, nil
}

// crowded reports whether the user of a device has limit connections already,
// none of which is the device's.
func (r *registry) crowded(k deviceKey, limit int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.devices[k]
	return len(r.users[k.user]) >= limit && (s == nil || s.current == nil)
}

// leave opens the gate again. c, when not nil, is now the device's client.
func (r *registry) leave(k deviceKey, s *slot, c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	<-s.gate
	s.waiting--
	if c != nil {
		s.current = c
		all := r.users[k.user]
		if all == nil {
			all = make(map[*client]struct{})
			r.users[k.user] = all
		}
		all[c] = struct{}{}
	}
	r.tidy(k, s)
}

// vacate frees the device's place, once the client's connection has ended and
// all that it published is settled: the device's next CONNECT waits for both.
func (r *registry) vacate(c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := c.key()
	if s := r.devices[k]; s != nil && s.current == c {
		s.current = nil
		r.tidy(k, s)
	}
}

// kick lists the clients of a target, and lets those find out that are connecting.
func (r *registry) kick(k target) []*client {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for other, at := range r.kicked {
		if now.Sub(at) > time.Minute { // longer than a CONNECT takes
			delete(r.kicked, other)
		}
	}
	r.kicked[k] = now
	var all []*client
	for c := range r.users[k.user] {
		if k.means(c) {
			all = append(all, c)
		}
	}
	return all
}

// kickedSince reports whether a client was told to go since a moment.
func (r *registry) kickedSince(c *client, since time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	user := c.who.ID
	return r.kicked[target{user: user}].After(since) || r.kicked[target{user: user, device: c.device}].After(since) ||
		c.who.Login != 0 && r.kicked[target{user: user, login: c.who.Login}].After(since)
}

// remove takes a client whose connection has ended off its user's list.
func (r *registry) remove(c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := c.key()
	if all := r.users[k.user]; all != nil {
		delete(all, c)
		if len(all) == 0 {
			delete(r.users, k.user)
		}
	}
}

func (r *registry) tidy(k deviceKey, s *slot) {
	if s.waiting == 0 && s.current == nil {
		delete(r.devices, k)
	}
}

// all lists every client.
func (r *registry) all() []*client {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*client
	for _, clients := range r.users {
		for c := range clients {
			all = append(all, c)
		}
	}
	return all
}
