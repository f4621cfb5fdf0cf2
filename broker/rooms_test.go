package broker_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postbox"
)

// roomWorld is a server of its own without a request rate, for rooms.
func roomWorld(t *testing.T, change ...func(*world)) (*world, *callers) {
	t.Helper()
	t.Parallel()
	w := newWorld(t, append([]func(*world){func(w *world) { w.config.Limits.RequestRate = 0 }}, change...)...)
	return w, w.overHTTP(t)
}

// line is an entry in a few words.
func (e envelope) line() string {
	parts := []string{e.Type, e.From}
	for _, s := range []string{e.Event, e.User, e.Role, e.Title, e.body()} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Type != "room" {
		parts = append(parts, fmt.Sprint("#", e.Seq))
	}
	return strings.Join(parts, " ")
}

// inbox reads all of a user's inbox.
func (c *callers) inbox(user string) (lines []string) {
	c.t.Helper()
	for i, entry := range c.must(user, "sync", `{"limit":500}`)["entries"].([]any) {
		e := toEnvelope(c.t, entry)
		if e.InboxSeq != int64(i+1) {
			c.t.Errorf("entry %d of %s has the number %d", i+1, user, e.InboxSeq)
		}
		lines = append(lines, e.line())
	}
	return lines
}

// A room from its first day to its last, over HTTP and MQTT: everybody in it gets
// everything, in one order with the changes of the room, and nobody else.
func TestRoomFromFirstToLast(t *testing.T) {
	w, h := roomWorld(t)
	alice, bob, carol, eve := w.user("alice"), w.user("bob"), w.user("carol"), w.user("eve")
	made := h.must(alice, "room.create", `{"room":"dev","title":"Development"}`)
	if made["role"] != "owner" || made["public"] != false || made["history"] != "all" || made["member_count"] != 1.0 {
		t.Errorf("made: %v", made)
	}
	a := w.connect(t, login{version: 5, user: alice, id: "laptop", clean: true})
	a.listen(alice)
	b := w.connect(t, login{version: 4, user: bob, id: "phone", clean: true})
	b.listen(bob)
	h.must(alice, "room.add", `{"room":"dev","user":"`+bob+`"}`)
	h.must(alice, "room.add", `{"room":"dev","user":"`+carol+`","role":"reader"}`)
	a.say("room/dev", "hello all")
	h.must(bob, "send", `{"room":"dev","body":"hi"}`)
	h.must(alice, "room.role", `{"room":"dev","user":"`+carol+`","role":"admin"}`)
	h.must(carol, "room.update", `{"room":"dev","title":"Dev"}`)
	h.must(carol, "room.remove", `{"room":"dev","user":"`+bob+`"}`)
	b.publish(publication{id: 9, qos: 1, topic: "room/dev", body: "still here?"})
	h.must(alice, "send", `{"room":"dev","body":"bob is gone"}`)
	h.must(carol, "room.leave", `{"room":"dev"}`)
	h.must(alice, "room.delete", `{"room":"dev"}`)

	all := []string{
		"room " + alice + " created " + alice + " owner Development",
		"room " + alice + " added " + bob + " member",
		"room " + alice + " added " + carol + " reader",
		"message " + alice + " hello all #1",
		"message " + bob + " hi #2",
		"room " + alice + " role " + carol + " admin",
		"room " + carol + " updated Dev",
		"room " + carol + " removed " + bob,
		"message " + alice + " bob is gone #3",
		"room " + carol + " left " + carol,
		"room " + alice + " deleted",
	}
	for user, want := range map[string][]string{alice: all, bob: all[1:8], carol: all[2:10], eve: nil} {
		if diff := cmp.Diff(want, h.inbox(user)); diff != "" {
			t.Errorf("inbox of %s: -want +got:\n%s", user, diff)
		}
	}
	// The same comes to devices, live; the last that bob's hears is the refusal.
	var live []string
	for len(live) < 7 {
		_, e := b.receive()
		live = append(live, e.line())
	}
	if diff := cmp.Diff(all[1:8], live); diff != "" {
		t.Errorf("bob's phone: -want +got:\n%s", diff)
	}
	if _, e := b.receive(); e.Type != "error" || e.Code != "not_found" || e.Topic != "room/dev" {
		t.Errorf("after being removed bob is told %+v", e)
	}
	if status, _ := h.ask(alice, "history", `{"room":"dev"}`); status != http.StatusNotFound {
		t.Errorf("history of a deleted room: %d", status)
	}
	if status, _ := h.ask(eve, "room.create", `{"room":"dev"}`); status != http.StatusConflict {
		t.Errorf("the name of a deleted room is given again: %d", status)
	}
}

// What was done is not done again, and the reply is the same.
func TestRoomRequestsRepeated(t *testing.T) {
	w, h := roomWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	for _, step := range []struct{ user, operation, request string }{
		{alice, "room.create", `{"room":"dev","public":true,"title":"D","history":"joined"}`},
		{alice, "room.add", `{"room":"dev","user":"` + bob + `","role":"reader"}`},
		{alice, "room.role", `{"room":"dev","user":"` + bob + `","role":"member"}`},
		{alice, "room.update", `{"room":"dev","title":"E"}`},
		{alice, "room.remove", `{"room":"dev","user":"` + bob + `"}`},
		{bob, "room.join", `{"room":"dev"}`},
		{bob, "room.leave", `{"room":"dev"}`},
	} {
		first := h.must(step.user, step.operation, step.request)
		entries := len(h.inbox(alice))
		if diff := cmp.Diff(first, h.must(step.user, step.operation, step.request)); diff != "" {
			t.Errorf("%s, again: -first +second:\n%s", step.operation, diff)
		}
		if n := len(h.inbox(alice)); n != entries {
			t.Errorf("%s, again: %d entries more", step.operation, n-entries)
		}
	}
}

// A private room cannot be told from one that is not there, whatever is asked.
func TestPrivateRoomIsNotThere(t *testing.T) {
	w, h := roomWorld(t)
	alice, bob, eve := w.user("alice"), w.user("bob"), w.user("eve")
	h.must(alice, "room.create", `{"room":"secret"}`)
	h.must(alice, "room.add", `{"room":"secret","user":"`+bob+`"}`)
	c := w.connect(t, login{version: 5, user: eve, id: "x", clean: true})
	for _, operation := range []string{
		"room.get", "room.join", "room.leave", "room.delete", "history", "room.update",
		`room.add "user":"` + eve + `"`, `room.add "user":"nobody-here"`, `room.remove "user":"` + bob + `"`, `room.role "role":"owner","user":"` + eve + `"`,
		`send "body":"x"`, `signal "body":"x"`, `read "seq":1`,
	} {
		name, more, _ := strings.Cut(operation, " ")
		if more != "" {
			more = "," + more
		}
		var answers []string
		for _, room := range []string{"secret", "nosuch"} {
			status, reply := h.ask(eve, name, `{"room":"`+room+`"`+more+`,"request_id":"r"}`)
			answers = append(answers, fmt.Sprint(status, strings.ReplaceAll(fmt.Sprint(reply), room, "ROOM")))
		}
		if answers[0] != answers[1] || !strings.HasPrefix(answers[0], "404") {
			t.Errorf("%s tells them apart: %q", name, answers)
		}
	}
	for i, topic := range []string{"room/secret", "room/nosuch"} {
		c.publish(publication{id: uint16(i + 1), qos: 1, topic: topic, body: "x"})
		if _, ack := c.Until(4); ack.ReasonCode != 0x90 || properties(ack)["code"] != "not_found" {
			t.Errorf("%s: acknowledged with %#x %v", topic, ack.ReasonCode, properties(ack))
		}
	}
	if got := h.must(eve, "room.list", `{"public":true}`)["rooms"].([]any); len(got) != 0 {
		t.Errorf("eve sees %v", got)
	}
}

// Who may be added is who takes messages from who adds them; a room has so many
// members and no more.
func TestWhoCanBeAdded(t *testing.T) {
	w, h := roomWorld(t, func(w *world) { w.config.Limits.MembersPerRoom = 3 })
	alice, bob, carol, dora := w.user("alice"), w.user("bob"), w.user("carol"), w.user("dora")
	h.must(alice, "room.create", `{"room":"dev","public":true}`)
	add := func(user string) int {
		t.Helper()
		status, _ := h.ask(alice, "room.add", `{"room":"dev","user":"`+user+`"}`)
		return status
	}
	h.must(bob, "block", `{"user":"`+alice+`"}`)
	h.must(carol, "me.update", `{"accept":"known"}`)
	if got := []int{add("nobody-here"), add(bob), add(carol)}; !slices.Equal(got, []int{404, 403, 403}) {
		t.Errorf("unknown, blocking and choosy: %v", got)
	}
	h.must(bob, "unblock", `{"user":"`+alice+`"}`)
	h.must(carol, "send", `{"to":"`+alice+`","body":"we know each other"}`)
	if got := []int{add(bob), add(carol), add(dora)}; !slices.Equal(got, []int{200, 200, 403}) {
		t.Errorf("then, and one too many: %v", got)
	}
	if status, reply := h.ask(dora, "room.join", `{"room":"dev"}`); status != http.StatusForbidden {
		t.Errorf("the fourth joins: %d %v", status, reply)
	}
	// Who shares a room is known.
	h.must(bob, "me.update", `{"accept":"known"}`)
	h.must(carol, "send", `{"to":"`+bob+`","body":"from the room"}`)
	h.must(alice, "room.remove", `{"room":"dev","user":"`+carol+`"}`)
	await(t, "the end of an acquaintance", func() bool {
		status, _ := h.ask(carol, "send", `{"to":"`+bob+`","body":"and now?"}`)
		return status == http.StatusForbidden
	})
}

// Positions in rooms: unread, read by own devices alone, shown by room.get.
func TestReadInRooms(t *testing.T) {
	w, h := roomWorld(t)
	alice, bob, carol := w.user("alice"), w.user("bob"), w.user("carol")
	h.must(alice, "room.create", `{"room":"dev"}`)
	h.must(alice, "room.add", `{"room":"dev","user":"`+bob+`"}`)
	h.must(alice, "room.add", `{"room":"dev","user":"`+carol+`"}`)
	for i := range 3 {
		h.must(alice, "send", fmt.Sprintf(`{"room":"dev","body":"%d"}`, i+1))
	}
	c := w.connect(t, login{version: 4, user: bob, id: "phone", clean: true})
	c.listen(bob)
	if got := h.must(bob, "read", `{"room":"dev","seq":2}`)["read_seq"]; got != 2.0 {
		t.Errorf("read_seq %v", got)
	}
	if _, e := c.receive(); e.Type != "read" || e.Room != "dev" || e.Seq != 2 {
		t.Errorf("bob's phone gets %+v", e)
	}
	talk := h.must(bob, "conversations", `{}`)["conversations"].([]any)[0].(map[string]any)
	if talk["room"] != "dev" || talk["unread"] != 1.0 || talk["read_seq"] != 2.0 {
		t.Errorf("bob's list: %v", talk)
	}
	h.must(carol, "me.update", `{"receipts":false}`)
	h.must(carol, "read", `{"room":"dev","seq":3}`)
	positions := map[string]any{}
	for _, m := range h.must(alice, "room.get", `{"room":"dev"}`)["members"].([]any) {
		m := m.(map[string]any)
		positions[m["user"].(string)] = m["read_seq"]
	}
	if want := map[string]any{alice: 3.0, bob: 2.0, carol: nil}; !cmp.Equal(want, positions) {
		t.Errorf("positions %v, want %v", positions, want)
	}
	for _, user := range []string{alice, carol} {
		for _, l := range h.inbox(user) {
			if strings.HasPrefix(l, "read "+bob) {
				t.Errorf("%s is told: %s", user, l)
			}
		}
	}
}

// An edit reaches those who may read the message: in a room whose history begins
// with joining, not those who came later.
func TestEditInRooms(t *testing.T) {
	w, h := roomWorld(t)
	alice, bob, carol := w.user("alice"), w.user("bob"), w.user("carol")
	h.must(alice, "room.create", `{"room":"dev","history":"joined"}`)
	h.must(alice, "room.add", `{"room":"dev","user":"`+bob+`","role":"admin"}`)
	id := h.must(alice, "send", `{"room":"dev","body":"hush"}`)["id"].(string)
	h.must(bob, "room.add", `{"room":"dev","user":"`+carol+`"}`)
	h.must(alice, "edit", `{"id":"`+id+`","body":"hush!"}`)
	if status, _ := h.ask(bob, "edit", `{"id":"`+id+`","body":"mine"}`); status != http.StatusForbidden {
		t.Errorf("an admin edits another's message: %d", status)
	}
	if status, _ := h.ask(carol, "retract", `{"id":"`+id+`"}`); status != http.StatusNotFound {
		t.Errorf("carol finds a message from before her time: %d", status)
	}
	h.must(bob, "retract", `{"id":"`+id+`"}`)
	want := []string{"room " + bob + " added " + carol + " member"}
	if diff := cmp.Diff(want, h.inbox(carol)); diff != "" {
		t.Errorf("inbox of carol: -want +got:\n%s", diff)
	}
	if got := h.must(carol, "history", `{"room":"dev"}`)["messages"].([]any); len(got) != 0 {
		t.Errorf("carol reads %v", got)
	}
	if got := h.inbox(bob); !slices.Contains(got, "edit "+alice+" #1") || !slices.Contains(got, "retract "+bob+" #1") {
		t.Errorf("bob's inbox: %q", got)
	}
}

// Who is erased is in no room any more: the others go on.
func TestErasedMember(t *testing.T) {
	w, h := roomWorld(t)
	alice, bob, carol := w.user("alice"), w.user("bob"), w.user("carol")
	h.must(alice, "room.create", `{"room":"dev"}`)
	h.must(alice, "room.add", `{"room":"dev","user":"`+bob+`"}`)
	h.must(alice, "room.add", `{"room":"dev","user":"`+carol+`"}`)
	id := h.must(alice, "send", `{"room":"dev","body":"all are there"}`)["id"].(string)
	if _, err := w.store.CloseAccount(t.Context(), postbox.User(bob)); err != nil {
		t.Fatal(err)
	}
	// Nobody works on what the account has left, yet.
	h.must(alice, "send", `{"room":"dev","body":"bob is gone"}`)
	h.must(alice, "edit", `{"id":"`+id+`","body":"edited"}`)
	h.must(alice, "room.update", `{"room":"dev","title":"Without Bob"}`)
	if got := h.must(carol, "room.get", `{"room":"dev"}`); got["member_count"] != 2.0 || len(got["members"].([]any)) != 2 {
		t.Errorf("the room: %v", got)
	}
	want := []string{
		"room " + alice + " added " + carol + " member", "message " + alice + " edited #1", "message " + alice + " bob is gone #2",
		"edit " + alice + " edited #1", "room " + alice + " updated Without Bob",
	}
	if diff := cmp.Diff(want, h.inbox(carol)); diff != "" {
		t.Errorf("inbox of carol: -want +got:\n%s", diff)
	}
}

// Who is erased leaves the rooms they were in, and one that has lost its last owner
// has another: all that are left are told so, in one order with the messages, live
// and later, and not by the name that is gone.
func TestErasedOwner(t *testing.T) {
	w, h := roomWorld(t)
	alice, bob, carol, dora := w.user("alice"), w.user("bob"), w.user("carol"), w.user("dora")
	for _, room := range []string{"dev", "shared"} {
		h.must(alice, "room.create", `{"room":"`+room+`"}`)
		for user, role := range map[string]string{bob: "member", carol: "admin", dora: "reader"} {
			h.must(alice, "room.add", `{"room":"`+room+`","user":"`+user+`","role":"`+role+`"}`)
		}
	}
	h.must(alice, "room.role", `{"room":"shared","user":"`+dora+`","role":"owner"}`)
	h.must(alice, "room.create", `{"room":"alone"}`)
	phone := w.connect(t, durable(4, bob, "phone"))
	phone.listen(bob)
	h.must(alice, "send", `{"room":"dev","body":"good bye"}`)
	h.must(alice, "send", `{"room":"shared","body":"good bye"}`)
	before := len(h.inbox(dora))
	h.must(alice, "erase", fmt.Sprintf(`{"user":%q,"password":%q}`, alice, password))
	h.must(carol, "send", `{"room":"dev","body":"we go on"}`)
	h.must(bob, "send", `{"room":"shared","body":"we, too"}`)

	erased := h.must(carol, "room.get", `{"room":"dev"}`)
	if erased["role"] != "owner" || erased["member_count"] != 3.0 {
		t.Errorf("the room: %v", erased)
	}
	var got []string
	gone := ""
	for _, entry := range h.must(dora, "sync", fmt.Sprintf(`{"after":%d}`, before))["entries"].([]any) {
		e := toEnvelope(t, entry)
		if gone == "" {
			gone = e.From
		}
		got = append(got, e.Room+": "+e.line())
	}
	want := []string{
		"dev: room " + gone + " left " + gone, "dev: room " + gone + " role " + carol + " owner", "shared: room " + gone + " left " + gone,
		"dev: message " + carol + " we go on #2", "shared: message " + bob + " we, too #2",
	}
	if diff := cmp.Diff(want, got); diff != "" || !strings.HasPrefix(gone, "erased.") {
		t.Errorf("inbox of dora: -want +got:\n%s", diff)
	}
	var live []string
	for len(live) < len(want)+2 {
		_, e := phone.receive()
		live = append(live, e.Room+": "+e.line())
	}
	if diff := cmp.Diff(want, live[2:]); diff != "" {
		t.Errorf("bob's phone: -want +got:\n%s", diff)
	}
}

// A will goes to a room, with the rights of when it fires.
func TestWillToARoom(t *testing.T) {
	w, h := roomWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	h.must(alice, "room.create", `{"room":"dev"}`)
	if _, ack := w.login(t, login{version: 5, user: bob, id: "phone", clean: true, will: &will{topic: "room/dev", body: "gone"}}); ack.ReasonCode == 0 {
		t.Error("a will to a room that bob is not in is taken")
	}
	h.must(alice, "room.add", `{"room":"dev","user":"`+bob+`"}`)
	a := w.connect(t, login{version: 4, user: alice, id: "laptop", clean: true})
	a.listen(alice)
	w.connect(t, login{version: 5, user: bob, id: "phone", clean: true, will: &will{topic: "room/dev", body: "gone"}}).Vanish()
	if _, e := a.receive(); e.Type != "message" || e.Room != "dev" || e.From != bob || e.body() != "gone" {
		t.Errorf("alice gets %+v", e)
	}
}

// A message whose recipients were looked up before somebody was removed is stored
// for those who are left, exactly: the members are fenced by the room's version.
func TestMembersAreFenced(t *testing.T) {
	w, h := roomWorld(t)
	alice, bob, carol := w.user("alice"), w.user("bob"), w.user("carol")
	h.must(alice, "room.create", `{"room":"dev"}`)
	h.must(alice, "room.add", `{"room":"dev","user":"`+bob+`"}`)
	h.must(alice, "room.add", `{"room":"dev","user":"`+carol+`"}`)
	h.must(alice, "send", `{"room":"dev","body":"known"}`)
	h.must(carol, "send", `{"room":"dev","body":"known, too"}`)
	// As another server would do it: behind the back of this one.
	w.exec(`UPDATE postbox.memberships SET left_seq = 2 FROM postbox.users u WHERE u.id = user_id AND u.name IN ($1, $2)`, bob, carol)
	w.exec(`UPDATE postbox.conversations SET members = members + 1 WHERE room = 'dev'`)
	h.must(alice, "send", `{"room":"dev","body":"alone"}`)
	if status, _ := h.ask(carol, "send", `{"room":"dev","body":"outside"}`); status != http.StatusNotFound {
		t.Errorf("who was removed writes: %d", status)
	}
	for _, user := range []string{bob, carol} {
		for _, l := range h.inbox(user) {
			if strings.Contains(l, "alone") || strings.Contains(l, "outside") {
				t.Errorf("%s gets %q", user, l)
			}
		}
	}
}
