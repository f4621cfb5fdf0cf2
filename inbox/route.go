package inbox

import (
	"context"
	"sync"

	"postbox"
)

// Router finds where messages go. Routes returns one route for each key, in
// order; a destination that the sender may not write to is a route with a
// Refusal. It makes conversations that do not exist yet.
type Router interface {
	Routes(ctx context.Context, keys []postbox.RouteKey) ([]postbox.Route, error)
}

// maxRoutes bounds what a lane remembers; beyond it starts anew.
const maxRoutes = 200_000

// routes remembers the routes of a lane. A refusal is not remembered: the next
// attempt looks again.
type routes struct {
	router Router

	mu      sync.Mutex // guards the fields below
	known   map[postbox.RouteKey]postbox.Route
	cleared int // how often: what was read before is not remembered after
}

func newRoutes(r Router) routes {
	return routes{router: r, known: make(map[postbox.RouteKey]postbox.Route)}
}

func (r *routes) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.known)
	r.cleared++
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
		k := postbox.RouteKey{Sender: d.Publish.Message.Sender, To: d.To}
		route, ok := fresh[k]
		if !ok {
			route, ok = r.known[k]
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
		}
	}
	for k, route := range fresh {
		if route.Refusal == nil && r.cleared == cleared {
			if len(r.known) >= maxRoutes {
				clear(r.known)
			}
			r.known[k] = route
		}
	}
	return missing, r.cleared
}
