package client_test

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"

	"postbox"
	"postbox/client"
)

// A room from its first day to its last.
func TestARoomsLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := dial(t, w.as("alice")), dial(t, w.as("bob"))
	name := postbox.Room("r" + strings.ToLower(rand.Text()))

	made := must(alice.CreateRoom(bounded(t), name, client.RoomSettings{Title: ptr("Tea"), History: ptr(postbox.HistoryJoined)}))(t)
	if made.Name != name || made.Title != "Tea" || made.Public || made.History != postbox.HistoryJoined || made.Role != postbox.RoleOwner || made.Members != 1 || made.CreatedAt.IsZero() {
		t.Errorf("made %+v", made)
	}
	if _, err := bob.CreateRoom(bounded(t), name, client.RoomSettings{}); !errors.Is(err, postbox.ErrConflict) {
		t.Errorf("a name that is taken: %v, want ErrConflict", err)
	}
	if _, err := bob.Room(bounded(t), name); !errors.Is(err, postbox.ErrNotFound) {
		t.Errorf("a private room of others: %v, want ErrNotFound", err)
	}
	must(alice.AddMember(bounded(t), name, "bob", postbox.RoleReader))(t)
	if _, err := bob.SendToRoom(bounded(t), name, []byte("hello")); !errors.Is(err, postbox.ErrForbidden) {
		t.Errorf("from a reader: %v, want ErrForbidden", err)
	}
	if r := must(alice.SetRole(bounded(t), name, "bob", postbox.RoleMember))(t); r.Members != 2 {
		t.Errorf("of two members: %+v", r)
	}
	said := must(bob.SendToRoom(bounded(t), name, []byte("hello")))(t)
	keyed := must(bob.SendToRoom(bounded(t), name, []byte("again"), client.WithKey("k-"+string(name))))(t)
	if said.Seq != 1 || keyed.Seq != 2 {
		t.Errorf("stored as %+v and %+v", said, keyed)
	}
	must(bob.Read(bounded(t), client.InRoom(name), 1))(t)
	members := collect(t, alice.Members(bounded(t), name))
	if len(members) != 2 || members[0].User != "alice" || members[0].Role != postbox.RoleOwner || members[1].User != "bob" || members[1].ReadSeq == nil || *members[1].ReadSeq != 2 {
		t.Errorf("the members are %+v", members)
	}
	if page := must(alice.History(bounded(t), client.InRoom(name), client.HistoryOptions{}))(t); !slices.Equal(bodiesOf(page.Messages), []string{"hello", "again"}) {
		t.Errorf("the history is %q", bodiesOf(page.Messages))
	}

	must(alice.UpdateRoom(bounded(t), name, client.RoomSettings{Public: ptr(true), Title: ptr("Coffee")}))(t)
	isIt := func(r client.Room) bool { return r.Name == name && r.Title == "Coffee" && r.Public }
	if !slices.ContainsFunc(collect(t, bob.Rooms(bounded(t), false)), isIt) {
		t.Error("it is not among bob's rooms")
	}
	if err := bob.LeaveRoom(bounded(t), name); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(collect(t, bob.Rooms(bounded(t), true)), isIt) {
		t.Error("it is not among those that bob may join")
	}
	must(bob.JoinRoom(bounded(t), name))(t)
	must(alice.RemoveMember(bounded(t), name, "bob"))(t)
	if err := alice.LeaveRoom(bounded(t), name); !errors.Is(err, postbox.ErrForbidden) {
		t.Errorf("the last owner leaves: %v, want ErrForbidden", err)
	}
	if err := alice.DeleteRoom(bounded(t), name); err != nil {
		t.Fatal(err)
	}
	if err := alice.DeleteRoom(bounded(t), name); !errors.Is(err, postbox.ErrNotFound) {
		t.Errorf("deleted again: %v, want ErrNotFound", err)
	}

	// What alice has heard of it, in order.
	type event struct {
		what    postbox.RoomAct
		from    postbox.User
		subject postbox.User
		role    postbox.Role
		title   string
		public  bool
		history postbox.History
	}
	want := []event{
		{"created", "alice", "alice", "owner", "Tea", false, "joined"},
		{"added", "alice", "bob", "reader", "", false, ""},
		{"role", "alice", "bob", "member", "", false, ""},
		{"", "bob", "", "", "", false, ""}, {"", "bob", "", "", "", false, ""},
		{"updated", "alice", "", "", "Coffee", true, "joined"},
		{"left", "bob", "bob", "", "", false, ""},
		{"joined", "bob", "bob", "member", "", false, ""},
		{"removed", "alice", "bob", "", "", false, ""},
		{"deleted", "alice", "", "", "", false, ""},
	}
	for i, want := range want {
		d := receive(t, alice)
		if got := (event{d.Event, d.From, d.Subject, d.Role, d.Title, d.Public, d.History}); got != want || d.Room != name || d.SentAt.IsZero() {
			t.Errorf("entry %d is %+v, want %+v", i, got, want)
		}
		d.Ack()
	}
}
