package inbox

import (
	"context"
	"sync"

	"postbox"
)

// Router finds where messages go, and decides what changes of rooms are.
type Router interface {
	// Routes returns one route for each key, in order; a destination that the
	// sender may not write to is a route with a Refusal. It makes direct
	// conversations that do not exist yet.
	Routes(ctx context.Context, keys []postbox.RouteKey) ([]postbox.Route, error)
	// Decide fills in the second block of c.Room, and the Conversation and the
	// Event of c; or its Refusal.
	Decide(ctx context.Context, c *postbox.Change) error
}

const (
	// maxRoutes bounds what a lane remembers; beyond it starts anew.
	maxRoutes = 200_000
	// maxMembers bounds the members of rooms that are remembered in the same way.
	maxMembers = 2_000_000
)

// routes remembers the routes of a lane. A refusal is not remembered: the next
// attempt looks again. That who is in a room has changed is noticed when a message
// is stored, under the lock of the room's log: see store.
type routes struct {
	router Router

	mu      sync.Mutex // guards the fields below
	known   map[postbox.RouteKey]postbox.Route
	rooms   map[postbox.Room]room
	members int // of rooms
	cleared int // how often: what was read before is not remembered after
}

// room is what is remembered of a room.
type room struct {
	conversation postbox.ConversationID
	members      *postbox.Members
	writers      map[postbox.UserID]bool // who has been found to be allowed to write
}

func newRoutes(r Router) routes {
	return routes{router: r, known: make(map[postbox.RouteKey]postbox.Route), rooms: make(map[postbox.Room]room)}
}

func (r *routes) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.known)
	r.cleared++
}

// forget drops what is remembered of a room.
func (r *routes) forget(name postbox.Room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(name)
	r.cleared++
}

// empty drops everything.
func (r *routes) empty() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.known)
	clear(r.rooms)
	r.members = 0
	r.cleared++
}

// lookUp finds one route. What is found elsewhere may be remembered with cleared.
func (r *routes) lookUp(k postbox.RouteKey) (route postbox.Route, known bool, cleared int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	route, known = r.find(k)
	return route, known, r.cleared
}

// remember learns a route, unless it is a refusal or something was cleared since.
func (r *routes) remember(k postbox.RouteKey, route postbox.Route, cleared int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if route.Refusal == nil && r.cleared == cleared {
		r.learn(k, route)
	}
}

func (r *routes) drop(name postbox.Room) {
	if old, ok := r.rooms[name]; ok {
		r.members -= len(old.members.Users)
		delete(r.rooms, name)
	}
}

// size is about how many inboxes a message to a room goes to.
func (r *routes) size(name postbox.Room) (n int, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	room, known := r.rooms[name]
	if !known {
		return 0, false
	}
	return len(room.members.Users), true
}

// resolve gives each draft of a group its route, or its refusal.
func (r *routes) resolve(ctx context.Context, group []*Draft) error {
	missing, cleared := r.fill(group, nil, 0)
	if len(missing) == 0 {
		return nil
	}
	found, err := r.router.Routes(ctx, missing)
	if err != nil {
		return err
	}
	fresh := make(map[postbox.RouteKey]postbox.Route, len(found))
	for i, k := range missing {
		fresh[k] = found[i]
	}
	r.fill(group, fresh, cleared)
	return nil
}

// fill applies what is known, and fresh routes, to a group, and returns the
// keys that are not known. Fresh routes are remembered if nothing was cleared
// since they were asked for.
func (r *routes) fill(group []*Draft, fresh map[postbox.RouteKey]postbox.Route, cleared int) ([]postbox.RouteKey, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var missing []postbox.RouteKey
	asked := make(map[postbox.RouteKey]bool)
	for _, d := range group {
		if !d.appends() || d.Publish.Message.Conversation != 0 {
			continue
		}
		k := postbox.RouteKey{Sender: d.Publish.Message.Sender, To: d.To, Room: d.Publish.Message.Room}
		route, ok := fresh[k]
		if !ok {
			route, ok = r.find(k)
		}
		switch {
		case !ok && !asked[k]:
			asked[k] = true
			missing = append(missing, k)
		case ok && route.Refusal != nil:
			d.Refusal = route.Refusal
		case ok:
			d.Publish.Message.Conversation = route.Conversation
			d.Publish.Recipients = route.Recipients
			if m := route.Room; m != nil {
				d.Publish.Recipients, d.Publish.Members = m.Besides(k.Sender), m.Version
			}
		}
	}
	for k, route := range fresh {
		if route.Refusal == nil && r.cleared == cleared {
			r.learn(k, route)
		}
	}
	return missing, r.cleared
}

func (r *routes) find(k postbox.RouteKey) (postbox.Route, bool) {
	if k.Room == "" {
		route, ok := r.known[k]
		return route, ok
	}
	room, ok := r.rooms[k.Room]
	return postbox.Route{Conversation: room.conversation, Room: room.members}, ok && room.writers[k.Sender]
}

func (r *routes) learn(k postbox.RouteKey, route postbox.Route) {
	if k.Room == "" {
		if len(r.known) >= maxRoutes {
			clear(r.known)
		}
		r.known[k] = route
		return
	}
	old, ok := r.rooms[k.Room]
	switch {
	case ok && old.members.Version == route.Room.Version && old.conversation == route.Conversation:
		old.writers[k.Sender] = true
		return
	case ok && old.members.Version > route.Room.Version:
		return
	case ok:
		r.drop(k.Room)
	}
	if r.members+len(route.Room.Users) > maxMembers {
		clear(r.rooms)
		r.members = 0
	}
	r.members += len(route.Room.Users)
	r.rooms[k.Room] = room{route.Conversation, route.Room, map[postbox.UserID]bool{k.Sender: true}}
}
