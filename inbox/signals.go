package inbox

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postbox"
)

// Listener is a device that is online and takes what is not kept. Its method is
// called from any goroutine and must not block.
type Listener interface {
	// Signal takes the JSON object of a signal, which is shared, and the signal;
	// nil for what the server itself has to say.
	Signal(payload []byte, s *postbox.Signal)
}

// Looker finds where signals go: like Router, but it makes nothing.
type Looker interface {
	Look(ctx context.Context, k postbox.RouteKey) (postbox.Route, error)
}

// signalMemory is for how long it is remembered where signals go, although
// nobody says that it has changed: that may get lost.
const signalMemory = 5 * time.Second

// Signals carries what is not kept to the devices that are online on this server.
// Its methods may be called from any goroutine.
type Signals struct {
	look      Looker
	now       func() time.Time
	delivered prometheus.Counter

	mu        sync.RWMutex // guards the fields below
	listeners map[postbox.UserID]map[Listener]struct{}
	routes    routes
	since     time.Time // when routes was last emptied
}

// NewSignals makes it.
func NewSignals(l Looker) *Signals {
	return &Signals{
		look: l, now: time.Now, listeners: make(map[postbox.UserID]map[Listener]struct{}), routes: newRoutes(nil),
		delivered: counter("postbox_signals_delivered_total", "Signals that were handed to devices and streams, each as often as there were such."),
	}
}

// Metrics are what is told about deliveries.
func (s *Signals) Metrics() []prometheus.Collector { return []prometheus.Collector{s.delivered} }

// Listen adds a device of a user, until Leave.
func (s *Signals) Listen(user postbox.UserID, l Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.listeners[user]
	if all == nil {
		all = make(map[Listener]struct{})
		s.listeners[user] = all
	}
	all[l] = struct{}{}
}

// Leave removes a device. It is safe to call for one that is not there.
func (s *Signals) Leave(user postbox.UserID, l Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners[user], l)
	if len(s.listeners[user]) == 0 {
		delete(s.listeners, user)
	}
}

// Listens reports whether a device of the user is there.
func (s *Signals) Listens(user postbox.UserID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.listeners[user]) > 0
}

// Forget drops what is remembered of who may signal to whom; of a room alone, if
// one is named.
func (s *Signals) Forget(room postbox.Room) {
	if room != "" {
		s.routes.forget(room)
		return
	}
	s.routes.clear()
}

// Send carries a signal to who would get a message in its place. The error is why
// there would be none.
func (s *Signals) Send(ctx context.Context, sig *postbox.Signal) error {
	route, err := s.route(ctx, postbox.RouteKey{Sender: sig.Sender, To: sig.To, Room: sig.Room})
	switch {
	case err != nil:
		return err
	case route.Refusal != nil:
		return route.Refusal
	}
	users := route.Recipients
	if route.Room != nil {
		users = route.Room.Users
	}
	payload := postbox.AppendSignal(nil, sig)
	for _, u := range users {
		if u != sig.Sender || sig.Room == "" {
			s.tell(u, payload, sig)
		}
	}
	return nil
}

// Tell carries what the server has to say to a user's devices.
func (s *Signals) Tell(user postbox.UserID, payload []byte) { s.tell(user, payload, nil) }

func (s *Signals) tell(user postbox.UserID, payload []byte, sig *postbox.Signal) {
	s.mu.RLock()
	var all []Listener
	for l := range s.listeners[user] {
		all = append(all, l)
	}
	s.mu.RUnlock()
	for _, l := range all {
		l.Signal(payload, sig)
	}
	if sig != nil {
		s.delivered.Add(float64(len(all)))
	}
}

func (s *Signals) route(ctx context.Context, k postbox.RouteKey) (postbox.Route, error) {
	now := s.now()
	s.mu.Lock()
	old := now.Sub(s.since) > signalMemory
	if old {
		s.since = now
	}
	s.mu.Unlock()
	if old {
		s.routes.empty()
	}
	route, known, cleared := s.routes.lookUp(k)
	if known {
		return route, nil
	}
	route, err := s.look.Look(ctx, k)
	if err == nil {
		s.routes.remember(k, route, cleared)
	}
	return route, err
}
