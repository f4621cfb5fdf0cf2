package hooks

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
)

// watchesAll is the filter for all whom a user may see.
const watchesAll = "presence/+"

// readyPause is how long a device that takes nothing now is left in peace.
const readyPause = 20 * time.Millisecond

// watch is one presence filter of a connection.
type watch struct {
	identifier int
}

// noteWatch keeps a presence filter, and has the present state sent after the
// SUBACK, unless the client does not want it again [MQTT-3.3.1-10] [MQTT-3.3.1-11].
func (c *client) noteWatch(sub packets.Subscription) {
	c.mu.Lock()
	_, again := c.watches[sub.Filter]
	if c.watches == nil {
		c.watches = make(map[string]watch)
	}
	c.watches[sub.Filter] = watch{identifier: sub.Identifier}
	c.mu.Unlock()
	c.hook.registry.watch(sub.Filter, c)
	if sub.RetainHandling == 0 || sub.RetainHandling == 1 && !again {
		c.unseen = append(c.unseen, sub.Filter)
	}
}

func (c *client) dropWatch(filter string) {
	c.mu.Lock()
	delete(c.watches, filter)
	c.mu.Unlock()
	c.hook.registry.unwatch(filter, c)
}

// dropWatches ends all of them, at the end of the connection.
func (c *client) dropWatches() {
	c.mu.Lock()
	filters := slices.Collect(maps.Keys(c.watches))
	c.mu.Unlock()
	for _, f := range filters {
		c.dropWatch(f)
	}
}

// showPresent sends the present state of all that the client has just begun to
// watch.
func (c *client) showPresent() {
	filters := c.unseen
	c.unseen = nil
	if len(filters) == 0 {
		return
	}
	var names []postbox.User // nil: all
	for _, f := range filters {
		if f == watchesAll {
			names = nil
			break
		}
		names = append(names, postbox.User(strings.TrimPrefix(f, "presence/")))
	}
	if c.reads.waiting() >= maxReads {
		c.disconnect(packets.ErrServerBusy) // what was granted would not be true
		return
	}
	c.reads.put(c.hook, nil, func() { c.sendPresent(names) }, c.give)
}

func (c *client) sendPresent(names []postbox.User) {
	h := c.hook
	ctx, cancel := h.within(presenceTimeout)
	defer cancel()
	var visible []postbox.PresenceState
	err := h.patiently(ctx, func() (err error) {
		visible, err = h.o.Sight.Visible(ctx, c.who.ID, names)
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			h.o.Logger.Warn("showing who is there failed", "error", err, "user", c.who.Name)
		}
		return
	}
	for _, p := range visible {
		c.awaitReady(ctx)
		p.Online = h.Online(p.User)
		c.sendPresence(p, true)
	}
}

// awaitReady waits for a device that reads more slowly than it is shown.
func (c *client) awaitReady(ctx context.Context) {
	for !c.conn.Ready() && !c.conn.Closed() && ctx.Err() == nil {
		c.wait(readyPause)
	}
}

// sendStates sends the states of those that the client watches.
func (c *client) sendStates(states []postbox.PresenceState) {
	ctx, cancel := c.hook.within(presenceTimeout)
	defer cancel()
	for _, p := range states {
		c.awaitReady(ctx)
		c.sendPresence(p, false)
	}
}

func (c *client) watchesAny() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.watches) > 0
}

// sendPresence writes a user's state to one device, if it watches it, at QoS 0: a
// device that takes nothing now does without.
func (c *client) sendPresence(p postbox.PresenceState, retained bool) {
	topic := "presence/" + string(p.User)
	c.mu.Lock()
	w, exact := c.watches[topic]
	all, any := c.watches[watchesAll]
	c.mu.Unlock()
	if !exact && !any || !c.conn.Ready() {
		return
	}
	f := publishFrame{topic: topic, v5: c.v5, retain: retained, payload: postbox.AppendPresence(nil, p)}
	if c.v5 {
		f.properties = append(f.properties, propPayloadFormat, 1, propContentType)
		f.properties = appendText(f.properties, "application/json")
		for _, id := range []int{w.identifier, all.identifier} {
			if id > 0 {
				f.properties = appendLength(append(f.properties, propSubscriptionID), id)
			}
		}
	}
	if c.maxSize > 0 && f.size() > c.maxSize {
		return
	}
	c.conn.Append(f.append(nil))
	c.conn.Kick()
}

// watchers are the connected clients that watch a user, by their own user.
func (r *registry) watchers(of postbox.User) map[postbox.UserID][]*client {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := make(map[postbox.UserID][]*client)
	for c := range r.watched["presence/"+string(of)] {
		found[c.who.ID] = append(found[c.who.ID], c)
	}
	for c := range r.watched[watchesAll] {
		if _, twice := r.watched["presence/"+string(of)][c]; !twice {
			found[c.who.ID] = append(found[c.who.ID], c)
		}
	}
	return found
}

// watching reports whether there is any watcher.
func (r *registry) watching() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.watched) > 0
}

// of lists a user's clients.
func (r *registry) of(user postbox.UserID) []*client {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.users[user]))
}

// watch lists a client under a presence filter, until unwatch or its end.
func (r *registry) watch(filter string, c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.watched[filter]
	if all == nil {
		all = make(map[*client]struct{})
		r.watched[filter] = all
	}
	all[c] = struct{}{}
}

func (r *registry) unwatch(filter string, c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.watched[filter], c)
	if len(r.watched[filter]) == 0 {
		delete(r.watched, filter)
	}
}
