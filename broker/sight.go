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

func (e *Engine) notRevealed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		e.o.Logger.Warn("telling somebody whom they see no longer, or again, failed", "error", err)
	}
}
