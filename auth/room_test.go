package auth

import (
	"errors"
	"testing"

	"postbox"
)

// The table of docs/spec.md §7, rooms: what each may do who asks.
func TestInRoomByRole(t *testing.T) {
	t.Parallel()
	yes, no, gone := error(nil), error(postbox.ErrForbidden), error(postbox.ErrNotFound)
	anybody := Recipient{User: "eve", Exists: true, Accept: AcceptEveryone}
	in := func(role, wanted postbox.Role) Subject {
		return Subject{Recipient: anybody, Role: role, Was: role != "", Wanted: wanted}
	}
	for _, test := range []struct {
		name    string
		act     postbox.RoomAct
		subject Subject
		// of an owner, an admin, a member, a reader, and those who are not in a public
		// and in a private one
		want [6]error
	}{
		{"look", postbox.RoomGet, Subject{}, [6]error{yes, yes, yes, yes, yes, gone}},
		{"write", postbox.RoomSend, Subject{}, [6]error{yes, yes, yes, no, no, gone}},
		{"join", postbox.RoomJoined, Subject{}, [6]error{yes, yes, yes, yes, yes, gone}},
		{"leave", postbox.RoomLeft, Subject{}, [6]error{yes, yes, yes, yes, no, gone}},
		{"update", postbox.RoomUpdated, Subject{}, [6]error{yes, yes, no, no, no, gone}},
		{"delete", postbox.RoomDeleted, Subject{}, [6]error{yes, no, no, no, no, gone}},
		{"add a member", postbox.RoomAdded, in("", "member"), [6]error{yes, yes, no, no, no, gone}},
		{"add a reader", postbox.RoomAdded, in("", "reader"), [6]error{yes, yes, no, no, no, gone}},
		{"add an admin", postbox.RoomAdded, in("", "admin"), [6]error{yes, no, no, no, no, gone}},
		{"add an owner", postbox.RoomAdded, in("", "owner"), [6]error{yes, no, no, no, no, gone}},
		{"remove a member", postbox.RoomRemoved, in("member", ""), [6]error{yes, yes, no, no, no, gone}},
		{"remove an admin", postbox.RoomRemoved, in("admin", ""), [6]error{yes, no, no, no, no, gone}},
		{"remove an owner", postbox.RoomRemoved, in("owner", ""), [6]error{yes, no, no, no, no, gone}},
		{"remove a stranger", postbox.RoomRemoved, in("", ""), [6]error{gone, gone, no, no, no, gone}},
		{"make a member a reader", postbox.RoomRole, in("member", "reader"), [6]error{yes, yes, no, no, no, gone}},
		{"make a member an admin", postbox.RoomRole, in("member", "admin"), [6]error{yes, no, no, no, no, gone}},
		{"make an admin a member", postbox.RoomRole, in("admin", "member"), [6]error{yes, no, no, no, no, gone}},
		{"make an owner a member", postbox.RoomRole, in("owner", "member"), [6]error{yes, no, no, no, no, gone}},
		{"give a stranger a role", postbox.RoomRole, in("", "member"), [6]error{gone, gone, no, no, no, gone}},
	} {
		for i, role := range []postbox.Role{postbox.RoleOwner, postbox.RoleAdmin, postbox.RoleMember, postbox.RoleReader, "", ""} {
			s := Standing{Room: "dev", Exists: true, Public: i == 4, Role: role, Was: role != "", Owners: 2, Members: 5, Limit: 10}
			if _, err := InRoom(test.act, s, test.subject); !errors.Is(err, test.want[i]) || (err == nil) != (test.want[i] == nil) {
				t.Errorf("%s, as %q (public %t): %v, want %v", test.name, role, s.Public, err, test.want[i])
			}
		}
	}
}

// What does not depend on roles.
func TestInRoom(t *testing.T) {
	t.Parallel()
	owner := Standing{Room: "dev", Exists: true, Role: postbox.RoleOwner, Was: true, Owners: 1, Members: 2, Limit: 3}
	with := func(change func(*Standing)) Standing { s := owner; change(&s); return s }
	bob := Subject{Recipient: Recipient{User: "bob", Exists: true, Accept: AcceptEveryone}, Wanted: postbox.RoleMember}
	as := func(change func(*Subject)) Subject { m := bob; change(&m); return m }
	for name, test := range map[string]struct {
		act     postbox.RoomAct
		s       Standing
		m       Subject
		nothing bool
		want    error
	}{
		"a new name":                      {postbox.RoomCreated, Standing{}, Subject{}, false, nil},
		"a taken name":                    {postbox.RoomCreated, owner, Subject{}, false, postbox.ErrConflict},
		"made before":                     {postbox.RoomCreated, with(func(s *Standing) { s.Same = true }), Subject{}, true, nil},
		"the name of a deleted one":       {postbox.RoomCreated, with(func(s *Standing) { s.Same, s.Deleted = true, true }), Subject{}, false, postbox.ErrConflict},
		"in one that is not there":        {postbox.RoomSend, Standing{}, Subject{}, false, postbox.ErrNotFound},
		"in a deleted one":                {postbox.RoomSend, with(func(s *Standing) { s.Deleted = true }), Subject{}, false, postbox.ErrNotFound},
		"the last owner leaves":           {postbox.RoomLeft, owner, Subject{}, false, postbox.ErrForbidden},
		"the last owner becomes a member": {postbox.RoomRole, owner, as(func(m *Subject) { m.Self, m.Role = true, postbox.RoleOwner }), false, postbox.ErrForbidden},
		"one of two owners leaves":        {postbox.RoomLeft, with(func(s *Standing) { s.Owners = 2 }), Subject{}, false, nil},
		"who has left leaves":             {postbox.RoomLeft, with(func(s *Standing) { s.Role = "" }), Subject{}, true, nil},
		"who is in it joins":              {postbox.RoomJoined, owner, Subject{}, true, nil},
		"one too many joins":              {postbox.RoomJoined, with(func(s *Standing) { s.Role, s.Public, s.Members = "", true, 3 }), Subject{}, false, postbox.ErrForbidden},
		"one too many is added":           {postbox.RoomAdded, with(func(s *Standing) { s.Members = 3 }), bob, false, postbox.ErrForbidden},
		"who is in it is added":           {postbox.RoomAdded, owner, as(func(m *Subject) { m.Role = postbox.RoleMember }), true, nil},
		"with another role":               {postbox.RoomAdded, owner, as(func(m *Subject) { m.Role = postbox.RoleReader }), false, postbox.ErrConflict},
		"who blocks":                      {postbox.RoomAdded, owner, as(func(m *Subject) { m.Blocked = true }), false, postbox.ErrForbidden},
		"who takes only known ones":       {postbox.RoomAdded, owner, as(func(m *Subject) { m.Accept = AcceptKnown }), false, postbox.ErrForbidden},
		"who knows":                       {postbox.RoomAdded, owner, as(func(m *Subject) { m.Accept, m.Knows = AcceptKnown, true }), false, nil},
		"who is erased":                   {postbox.RoomAdded, owner, as(func(m *Subject) { m.Erased = true }), false, postbox.ErrNotFound},
		"who was removed before":          {postbox.RoomRemoved, owner, as(func(m *Subject) { m.Was = true }), true, nil},
		"oneself is removed":              {postbox.RoomRemoved, owner, as(func(m *Subject) { m.Self, m.Role = true, postbox.RoleOwner }), false, postbox.ErrInvalid},
		"the same role again":             {postbox.RoomRole, owner, as(func(m *Subject) { m.Role = postbox.RoleMember }), true, nil},
	} {
		nothing, err := InRoom(test.act, test.s, test.m)
		if nothing != test.nothing || !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%s: %t, %v; want %t, %v", name, nothing, err, test.nothing, test.want)
		}
	}
}
