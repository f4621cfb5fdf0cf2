package auth

import "postbox"

// Standing is what has to be known of a room, and of who asks for something in
// it.
type Standing struct {
	Room postbox.Room
	// Exists is false for a name that no room has or had; Deleted is true for one
	// that a room had.
	Exists, Deleted bool
	Public          bool
	Role            postbox.Role // of who asks; empty: not a member
	Was             bool         // who asks is, or once was, a member
	Owners, Members int          // how many there are
	Limit           int          // of members
	// Same is true when the room is what a created asks for, and was made by who
	// asks.
	Same bool
}

// Subject is whom something in a room is about.
type Subject struct {
	Recipient
	Self   bool         // it is who asks
	Role   postbox.Role // empty: not a member
	Was    bool         // is, or once was, a member
	Wanted postbox.Role // of added and role
}

// InRoom decides whether somebody may do something in a room (docs/spec.md §7,
// rooms), and returns nil or why not. nothing is true when it is so already, as
// for a request that is repeated. A private room is ErrNotFound to those who are
// not in it, like one that is not there.
func InRoom(act postbox.RoomAct, s Standing, m Subject) (nothing bool, err error) {
	in := s.Role != ""
	switch {
	case act == postbox.RoomCreated:
		return s.mayCreate()
	case !s.Exists || s.Deleted:
		return false, errNoRoom(s.Room)
	case act == postbox.RoomLeft && !in && s.Was:
		return true, nil
	case !in && !s.Public:
		return false, errNoRoom(s.Room)
	case act == postbox.RoomGet:
		return false, nil
	case act == postbox.RoomJoined:
		if in {
			return true, nil
		}
		return false, s.room()
	case !in:
		return false, refused("you are not in the room %s: join it first", s.Room)
	case act == postbox.RoomSend && s.Role == postbox.RoleReader:
		return false, refused("readers do not write in the room %s", s.Room)
	case act == postbox.RoomSend:
		return false, nil
	case act == postbox.RoomLeft:
		return false, s.keepsOwner(s.Role, "")
	case act == postbox.RoomDeleted && s.Role != postbox.RoleOwner:
		return false, refused("only an owner deletes the room %s", s.Room)
	case rank(s.Role) < rank(postbox.RoleAdmin):
		return false, refused("only owners and admins of the room %s do that", s.Room)
	case act == postbox.RoomDeleted || act == postbox.RoomUpdated:
		return false, nil
	}
	return s.mayChange(act, m)
}

// mayCreate decides about a name. One that a room had is not given again: what is
// still on its way to that one must not come to another.
func (s Standing) mayCreate() (nothing bool, err error) {
	switch {
	case s.Exists && s.Same && !s.Deleted:
		return true, nil
	case s.Exists:
		return false, postbox.Errorf(postbox.CodeConflict, "the name %s is taken: choose another", s.Room)
	}
	return false, nil
}

// mayChange decides about a member, or one to be, for an owner or an admin.
func (s Standing) mayChange(act postbox.RoomAct, m Subject) (nothing bool, err error) {
	above := s.Role == postbox.RoleOwner
	switch act {
	case postbox.RoomAdded:
		switch {
		case m.Role == m.Wanted && m.Role != "":
			return true, nil
		case m.Role != "":
			return false, postbox.Errorf(postbox.CodeConflict, "%s is in the room already, as %s: change that with room.role", m.User, m.Role)
		case !above && rank(m.Wanted) >= rank(postbox.RoleAdmin):
			return false, refused("only an owner makes owners and admins of the room %s", s.Room)
		}
		if err := MayWrite("", m.Recipient); err != nil {
			return false, err
		}
		return false, s.room()
	case postbox.RoomRemoved:
		switch {
		case m.Self:
			return false, postbox.Errorf(postbox.CodeInvalid, "nobody removes themself: leave with room.leave")
		case m.Role == "" && m.Was:
			return true, nil
		case m.Role == "":
			return false, errNotIn(s.Room, m.User)
		case !above && rank(m.Role) >= rank(postbox.RoleAdmin):
			return false, refused("only an owner removes owners and admins of the room %s", s.Room)
		}
		return false, nil
	case postbox.RoomRole:
		switch {
		case m.Role == "":
			return false, errNotIn(s.Room, m.User)
		case m.Role == m.Wanted:
			return true, nil
		case !above && max(rank(m.Role), rank(m.Wanted)) >= rank(postbox.RoleAdmin):
			return false, refused("only an owner makes and unmakes owners and admins of the room %s", s.Room)
		}
		return false, s.keepsOwner(m.Role, m.Wanted)
	}
	return false, refused("nobody does that in the room %s", s.Room)
}

// keepsOwner refuses what would leave a room without an owner.
func (s Standing) keepsOwner(was, becomes postbox.Role) error {
	if was == postbox.RoleOwner && becomes != postbox.RoleOwner && s.Owners <= 1 {
		return refused("the room %s needs an owner: make somebody else one with room.role, or delete it", s.Room)
	}
	return nil
}

// room refuses one member too many.
func (s Standing) room() error {
	if s.Members >= s.Limit {
		return refused("the room %s has %d members: more are not allowed", s.Room, s.Members)
	}
	return nil
}

func rank(r postbox.Role) int {
	switch r {
	case postbox.RoleOwner:
		return 3
	case postbox.RoleAdmin:
		return 2
	case postbox.RoleMember:
		return 1
	}
	return 0
}

func refused(format string, args ...any) error {
	return postbox.Errorf(postbox.CodeForbidden, format, args...)
}

func errNoRoom(room postbox.Room) error {
	return postbox.Errorf(postbox.CodeNotFound, "there is no room %s", room)
}

func errNotIn(room postbox.Room, user postbox.User) error {
	return postbox.Errorf(postbox.CodeNotFound, "there is no %s in the room %s", user, room)
}
