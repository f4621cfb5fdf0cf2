package apitest

import (
	"cmp"
	"context"
	"slices"

	"postbox"
)

// Room implements api.Rooms: all rooms are private, and the first in one is its
// owner.
func (w *World) Room(ctx context.Context, user postbox.UserID, room postbox.Room) (postbox.RoomState, error) {
	if err := w.begin(ctx); err != nil {
		return postbox.RoomState{}, err
	}
	defer w.Unlock()
	users := w.Rooms[room]
	i := slices.Index(users, w.person(user).Name)
	if i < 0 {
		return postbox.RoomState{}, postbox.Errorf(postbox.CodeNotFound, "there is no room %s", room)
	}
	return postbox.RoomState{Name: room, History: postbox.HistoryAll, Members: len(users), Role: roleOf(i), CreatedAt: w.clock}, nil
}

func roleOf(place int) postbox.Role {
	if place == 0 {
		return postbox.RoleOwner
	}
	return postbox.RoleMember
}

// rooms is the World as api.Rooms, of which a method has the name of a field.
type rooms struct{ *World }

// Rooms implements api.Rooms.
func (w rooms) Rooms(ctx context.Context, user postbox.UserID, public bool, after postbox.Room, limit int) ([]postbox.RoomState, error) {
	var all []postbox.RoomState
	if public {
		return nil, nil
	}
	w.Lock()
	var names []postbox.Room
	for name, users := range w.World.Rooms {
		if name > after && slices.Contains(users, w.person(user).Name) {
			names = append(names, name)
		}
	}
	w.Unlock()
	slices.Sort(names)
	for _, name := range names[:min(limit, len(names))] {
		r, err := w.Room(ctx, user, name)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// RoomMembers implements api.Rooms.
func (w *World) RoomMembers(ctx context.Context, _ postbox.UserID, room postbox.Room, after postbox.User, limit int) ([]postbox.Member, error) {
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	defer w.Unlock()
	var all []postbox.Member
	for i, name := range w.Rooms[room] {
		if name > after {
			all = append(all, postbox.Member{Name: name, Role: roleOf(i), Read: true})
		}
	}
	slices.SortFunc(all, func(a, b postbox.Member) int { return cmp.Compare(a.Name, b.Name) })
	return all[:min(limit, len(all))], nil
}

// Signal implements api.Signals.
func (w *World) Signal(ctx context.Context, s *postbox.Signal) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	defer w.Unlock()
	to := postbox.Topic{Kind: postbox.KindInbox, User: s.To}
	if s.Room != "" {
		to = postbox.Topic{Kind: postbox.KindRoom, Room: s.Room}
	}
	if err := w.mayWrite(s.From, to); err != nil {
		return err
	}
	w.Sent = append(w.Sent, s)
	return nil
}
