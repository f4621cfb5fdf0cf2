package hooks

import (
	"context"
	"slices"
	"sync"
	"time"

	"postbox"
)

// Sight knows who may see whom (docs/spec.md §7, presence).
type Sight interface {
	// Visible lists the users that the viewer may see: of the names, or all of
	// them when names is nil. Online is not filled in.
	Visible(ctx context.Context, viewer postbox.UserID, names []postbox.User) ([]postbox.PresenceState, error)
	// Viewers are all who may see a user.
	Viewers(ctx context.Context, user postbox.UserID) ([]postbox.UserID, error)
	// NoteSeen notes that users are seen now.
	NoteSeen(ctx context.Context, users []postbox.UserID) error
}

const (
	// presenceGrace is how long a user without a device still counts as online: a
	// phone that changes its network is not seen to go and come.
	presenceGrace = 5 * time.Second
	// noteSeenEvery is how often it is noted that those who are online are seen.
	noteSeenEvery = time.Minute
	// presenceTimeout bounds one look at who may see whom.
	presenceTimeout = 10 * time.Second
	// presencePause is how long what could not be told waits for its next try.
	presencePause = time.Second
)

// presence knows who has a device connected, with a grace. What changes is told
// by KeepPresence.
type presence struct {
	grace time.Duration
	soon  chan struct{} // there are changes to tell

	mu      sync.Mutex // guards the fields below
	users   map[postbox.User]*present
	changed map[postbox.User]presenceChange
}

// present is a user who is online. gone runs out the grace when no device is
// left.
type present struct {
	user    postbox.UserID
	devices int
	gone    *time.Timer
}

// presenceChange is to be told of a user: only the latest counts.
type presenceChange struct {
	user   postbox.UserID
	online bool
}

func (p *presence) init(grace time.Duration) {
	p.grace = grace
	p.soon = make(chan struct{}, 1)
	p.users = make(map[postbox.User]*present)
	p.changed = make(map[postbox.User]presenceChange)
}

// Arrived counts one more device of a user; Left must follow. Both may be called
// from any goroutine, and do not wait.
func (h *Hook) Arrived(user postbox.UserID, name postbox.User) {
	p := &h.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.users[name]
	if u == nil {
		u = &present{user: user}
		p.users[name] = u
		p.change(name, presenceChange{user, true})
	}
	if u.gone != nil {
		u.gone.Stop()
		u.gone = nil
	}
	u.devices++
}

// Left counts one device less. After the grace a user without any is offline.
func (h *Hook) Left(name postbox.User) {
	p := &h.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.users[name]
	if u == nil {
		return
	}
	if u.devices--; u.devices > 0 {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(p.grace, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.users[name] == u && u.gone == timer {
			delete(p.users, name)
			p.change(name, presenceChange{u.user, false})
		}
	})
	u.gone = timer
}

func (p *presence) change(name postbox.User, c presenceChange) {
	p.changed[name] = c
	select {
	case p.soon <- struct{}{}:
	default:
	}
}

// Online reports whether a user has a device connected, or had one a moment ago.
func (h *Hook) Online(name postbox.User) bool {
	h.presence.mu.Lock()
	defer h.presence.mu.Unlock()
	return h.presence.users[name] != nil
}

// keep notes what could not be told, unless there is something newer.
func (p *presence) keep(name postbox.User, c presenceChange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, newer := p.changed[name]; !newer {
		p.changed[name] = c
	}
}

// take returns what is to be told, and nothing the next time.
func (p *presence) take() map[postbox.User]presenceChange {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.changed
	p.changed = make(map[postbox.User]presenceChange)
	return changed
}

// online lists who is.
func (p *presence) online() []postbox.UserID {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]postbox.UserID, 0, len(p.users))
	for _, u := range p.users {
		all = append(all, u.user)
	}
	return all
}

// KeepPresence tells devices who comes and goes, until ctx ends. What cannot be
// told because the database is away is told when it is back.
func (h *Hook) KeepPresence(ctx context.Context) {
	seen := time.NewTicker(noteSeenEvery)
	defer seen.Stop()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-seen.C:
			h.noteSeen(ctx, h.presence.online())
			continue
		case <-h.presence.soon:
		case <-again:
		}
		again = nil
		changed := h.presence.take()
		var gone []postbox.UserID
		for _, c := range changed {
			if !c.online {
				gone = append(gone, c.user)
			}
		}
		h.noteSeen(ctx, gone)
		for name, c := range changed {
			state := postbox.PresenceState{User: name, Online: c.online}
			if !c.online {
				state.LastSeen = time.Now()
			}
			if !h.tellPresence(ctx, c.user, state) {
				h.presence.keep(name, c)
				again = time.After(presencePause)
			}
		}
	}
}

func (h *Hook) noteSeen(ctx context.Context, users []postbox.UserID) {
	if len(users) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, presenceTimeout)
	defer cancel()
	if err := h.o.Sight.NoteSeen(ctx, users); err != nil && ctx.Err() == nil {
		h.o.Logger.Warn("noting who was seen failed", "error", err)
	}
}

// tellPresence tells a user's state to the devices that watch it and may know. It
// reports false when the database did not say who may.
func (h *Hook) tellPresence(ctx context.Context, user postbox.UserID, state postbox.PresenceState) bool {
	watchers := h.registry.watchers(state.User)
	if len(watchers) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, presenceTimeout)
	defer cancel()
	var viewers []postbox.UserID
	err := h.patiently(ctx, func() (err error) {
		viewers, err = h.o.Sight.Viewers(ctx, user)
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			h.o.Logger.Warn("telling who came and went failed", "error", err)
		}
		return false
	}
	for _, viewer := range viewers {
		for _, c := range watchers[viewer] {
			c.sendPresence(state, false)
		}
	}
	return true
}

// Watched reports whether a device watches anybody.
func (h *Hook) Watched() bool { return h.registry.watching() }

// Watches reports whether a device of the user watches anybody.
func (h *Hook) Watches(user postbox.UserID) bool {
	return slices.ContainsFunc(h.registry.of(user), (*client).watchesAny)
}

// ShowEach tells those who watch a user how the user is for them from now on, as
// far as state says.
func (h *Hook) ShowEach(user postbox.User, state func(viewer postbox.UserID) (postbox.PresenceState, bool)) {
	for viewer, clients := range h.registry.watchers(user) {
		if s, ok := state(viewer); ok {
			for _, c := range clients {
				c.sendPresence(s, false)
			}
		}
	}
}

// ShowAll tells a viewer's devices how the users are that they watch. It does not
// wait until they have taken that.
func (h *Hook) ShowAll(viewer postbox.UserID, states []postbox.PresenceState) {
	for _, c := range h.registry.of(viewer) {
		if c.watchesAny() {
			c.reads.put(h, nil, func() { c.sendStates(states) }, c.give)
		}
	}
}

// Show tells a viewer's devices, those that watch the user, how the user is for
// them from now on.
func (h *Hook) Show(viewer postbox.UserID, state postbox.PresenceState) {
	for _, c := range h.registry.watchers(state.User)[viewer] {
		c.sendPresence(state, false)
	}
}
