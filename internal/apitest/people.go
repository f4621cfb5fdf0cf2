package apitest

import (
	"context"
	"slices"

	"postbox"
)

// Profile implements api.People.
func (w *World) Profile(ctx context.Context, user postbox.UserID) (postbox.Profile, error) {
	if err := w.begin(ctx); err != nil {
		return postbox.Profile{}, err
	}
	defer w.Unlock()
	return w.person(user).Profile, nil
}

// Profiles implements api.People.
func (w *World) Profiles(ctx context.Context, names []postbox.User) ([]postbox.Profile, error) {
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	defer w.Unlock()
	var found []postbox.Profile
	for _, name := range names {
		if p := w.Users[name]; p != nil {
			found = append(found, p.Profile)
		}
	}
	slices.Reverse(found) // any order
	return found, nil
}

// UpdateProfile implements api.People.
func (w *World) UpdateProfile(ctx context.Context, user postbox.UserID, c postbox.ProfileChange) (postbox.Profile, error) {
	if err := w.begin(ctx); err != nil {
		return postbox.Profile{}, err
	}
	defer w.Unlock()
	p := w.person(user)
	if c.DisplayName != nil {
		p.DisplayName = *c.DisplayName
	}
	if c.Receipts != nil {
		p.Receipts = *c.Receipts
	}
	if c.Accept != nil {
		p.Accept = *c.Accept
	}
	return p.Profile, nil
}

// SetBlock implements api.People.
func (w *World) SetBlock(ctx context.Context, user postbox.UserID, other postbox.User, blocked bool) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	defer w.Unlock()
	if w.Users[other] == nil {
		return postbox.Errorf(postbox.CodeNotFound, "there is no user %s", other)
	}
	p := w.person(user)
	p.Blocks = slices.DeleteFunc(p.Blocks, func(u postbox.User) bool { return u == other })
	if blocked {
		p.Blocks = append(p.Blocks, other)
		slices.Sort(p.Blocks)
	}
	return nil
}

// Blocks implements api.People.
func (w *World) Blocks(ctx context.Context, user postbox.UserID) ([]postbox.User, error) {
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	defer w.Unlock()
	return slices.Clone(w.person(user).Blocks), nil
}

// Devices implements api.Devices.
func (w *World) Devices(ctx context.Context, user postbox.UserID) ([]postbox.DeviceState, error) {
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	defer w.Unlock()
	return slices.Clone(w.person(user).Devices), nil
}

// RevokeDevice implements api.Devices.
func (w *World) RevokeDevice(ctx context.Context, user postbox.UserID, device string) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	defer w.Unlock()
	p := w.person(user)
	i := slices.IndexFunc(p.Devices, func(d postbox.DeviceState) bool { return d.Name == device })
	if i < 0 {
		return postbox.Errorf(postbox.CodeNotFound, "there is no device of that name")
	}
	p.Devices = slices.Delete(p.Devices, i, i+1)
	return nil
}

// presence is the World as api.Presence.
type presence struct{ w *World }

// Presence implements api.Presence: seen are those who have written to the user.
func (s presence) Presence(ctx context.Context, user postbox.UserID, names []postbox.User) ([]postbox.PresenceState, error) {
	w := s.w
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	defer w.Unlock()
	me := w.person(user).Name
	var seen []postbox.PresenceState
	for _, name := range names {
		c := w.between(me, name, "", false)
		if c == nil || !slices.ContainsFunc(c.Messages, func(m *postbox.Message) bool { return m.From == name }) {
			continue
		}
		state := postbox.PresenceState{User: name, Online: w.Users[name].Online}
		if !state.Online {
			state.LastSeen = w.clock
		}
		seen = append(seen, state)
	}
	return seen, nil
}
