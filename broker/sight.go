package broker

import (
	"context"

	"postbox"
	"postbox/store"
)

// maxWatched is how many users one watches with presence/+.
const maxWatched = 10_000

// sight tells who may see whom, for both edges; who is online the hook knows.
type sight struct {
	store  *store.Store
	online func(postbox.User) bool
}

// Presence implements api.Presence.
func (s sight) Presence(ctx context.Context, user postbox.UserID, names []postbox.User) ([]postbox.PresenceState, error) {
	all, err := s.Visible(ctx, user, names)
	for i := range all {
		all[i].Online = s.online(all[i].User)
	}
	return all, err
}

// Visible implements hooks.Sight.
func (s sight) Visible(ctx context.Context, viewer postbox.UserID, names []postbox.User) ([]postbox.PresenceState, error) {
	var seen []store.Seen
	var err error
	if names == nil {
		seen, err = s.store.AllVisible(ctx, viewer, maxWatched)
	} else {
		seen, err = s.store.Visible(ctx, viewer, names)
	}
	all := make([]postbox.PresenceState, len(seen))
	for i, one := range seen {
		all[i] = postbox.PresenceState{User: one.Name, LastSeen: one.SeenAt}
	}
	return all, err
}

// Viewers implements hooks.Sight.
func (s sight) Viewers(ctx context.Context, user postbox.UserID) ([]postbox.UserID, error) {
	return s.store.Viewers(ctx, user)
}

// NoteSeen implements hooks.Sight.
func (s sight) NoteSeen(ctx context.Context, users []postbox.UserID) error {
	return s.store.SaveSeen(ctx, users)
}

// reveal tells the devices of somebody who was blocked that they see the one who
// has done it no longer; or how they see them again, when that has ended.
func (e *Engine) reveal(ctx context.Context, user postbox.UserID, other postbox.User, blocked bool) {
	viewer, err := e.store.UserByName(ctx, other)
	if err != nil {
		e.notRevealed(ctx, err)
		return
	}
	name, err := e.store.UserName(ctx, user)
	if err != nil {
		e.notRevealed(ctx, err)
		return
	}
	if blocked {
		e.hook.Show(viewer.ID, postbox.PresenceState{User: name})
		return
	}
	seen, err := sight{e.store, e.online}.Presence(ctx, viewer.ID, []postbox.User{name})
	if err != nil {
		e.notRevealed(ctx, err)
	}
	for _, state := range seen {
		e.hook.Show(viewer.ID, state)
	}
}

// revealRoom tells those who are in a room, and who is in it now or no longer,
// how they see each other from now on.
func (e *Engine) revealRoom(ctx context.Context, event store.ControlEvent) {
	if !e.hook.Watched() || event.Kind == store.ControlRoom && event.User == 0 {
		return
	}
	people, err := e.store.RoomPeople(ctx, postbox.Room(event.Subject))
	if err != nil {
		e.notRevealed(ctx, err)
		return
	}
	if event.User != 0 {
		e.revealMember(ctx, event.User, people)
		return
	}
	for _, p := range people { // the room is gone
		e.revealTo(ctx, p.ID, people)
	}
}

// revealMember tells a room's members how they see one, and that one how they are
// seen.
func (e *Engine) revealMember(ctx context.Context, user postbox.UserID, people []store.Seen) {
	name, err := e.store.UserName(ctx, user)
	if err != nil {
		e.notRevealed(ctx, err)
		return
	}
	viewers, err := e.store.Viewers(ctx, user)
	if err != nil {
		e.notRevealed(ctx, err)
		return
	}
	self, err := sight{e.store, e.online}.Presence(ctx, user, []postbox.User{name})
	if err != nil || len(self) != 1 {
		e.notRevealed(ctx, err)
		return
	}
	concerned := make(map[postbox.UserID]postbox.PresenceState, len(people))
	for _, p := range people {
		concerned[p.ID] = postbox.PresenceState{User: name}
	}
	for _, v := range viewers {
		if _, ok := concerned[v]; ok {
			concerned[v] = self[0]
		}
	}
	delete(concerned, user)
	e.hook.ShowEach(name, func(viewer postbox.UserID) (postbox.PresenceState, bool) {
		state, ok := concerned[viewer]
		return state, ok
	})
	e.revealTo(ctx, user, people)
}

// revealTo tells a user how others are, as far as the user may know now.
func (e *Engine) revealTo(ctx context.Context, viewer postbox.UserID, people []store.Seen) {
	if !e.hook.Watches(viewer) {
		return
	}
	var names []postbox.User
	for _, p := range people {
		if p.ID != viewer {
			names = append(names, p.Name)
		}
	}
	visible, err := sight{e.store, e.online}.Presence(ctx, viewer, names)
	if err != nil {
		e.notRevealed(ctx, err)
		return
	}
	known := make(map[postbox.User]bool, len(visible))
	for _, s := range visible {
		known[s.User] = true
	}
	for _, name := range names {
		if !known[name] {
			visible = append(visible, postbox.PresenceState{User: name})
		}
	}
	e.hook.ShowAll(viewer, visible)
}

func (e *Engine) notRevealed(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		e.o.Logger.Warn("telling somebody whom they see no longer, or again, failed", "error", err)
	}
}
