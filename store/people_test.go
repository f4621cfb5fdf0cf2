package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postbox"
	"postbox/store"
)

func TestProfiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "gone")
	w.exec(`UPDATE postbox.users SET erased_at = now() WHERE name = 'gone'`)
	ctx, alice := t.Context(), w.ids["alice"]
	want := postbox.Profile{Name: "alice", Receipts: true, Accept: "everyone"}
	if got, err := w.store.Profile(ctx, alice); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	events := w.watch(w.open(w.url))
	name, off, known := "Alice 爱", false, "known"
	want = postbox.Profile{Name: "alice", DisplayName: name, Receipts: false, Accept: known}
	if got, err := w.store.UpdateProfile(ctx, alice, postbox.ProfileChange{DisplayName: &name, Receipts: &off, Accept: &known}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if e := w.next(events, atOnce); e.Kind != store.ControlProfile || e.User != alice {
		t.Errorf("%+v", e)
	}
	if got, err := w.store.UpdateProfile(ctx, alice, postbox.ProfileChange{}); err != nil || got != want {
		t.Errorf("nothing to change: %+v, %v", got, err)
	}
	bad, zero := "friends", "a\x00b"
	for _, c := range []postbox.ProfileChange{{Accept: &bad}, {DisplayName: &zero}} {
		if _, err := w.store.UpdateProfile(ctx, alice, c); !errors.Is(err, postbox.ErrInvalid) {
			t.Error(err)
		}
	}
	for _, nobody := range []postbox.UserID{w.ids["gone"], 1 << 40} {
		_, read := w.store.Profile(ctx, nobody)
		_, changed := w.store.UpdateProfile(ctx, nobody, postbox.ProfileChange{Receipts: &off})
		if !errors.Is(read, postbox.ErrUnauthenticated) || !errors.Is(changed, postbox.ErrUnauthenticated) {
			t.Errorf("%d: %v, %v", nobody, read, changed)
		}
	}
	shown, err := w.store.Profiles(ctx, []postbox.User{"bob", "nobody", "gone", "alice", "bob"})
	if diff := cmp.Diff([]postbox.Profile{{Name: "alice", DisplayName: name}, {Name: "bob"}}, shown); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	ctx, alice := t.Context(), w.ids["alice"]
	events := w.watch(w.open(w.url))
	block := func(other postbox.User, on bool) error { return w.store.SetBlock(ctx, alice, other, on) }
	if err := errors.Join(block("carol", true), block("bob", true), block("bob", true), block("carol", false), block("carol", false)); err != nil {
		t.Fatal(err)
	}
	// What changes nothing tells nobody.
	for _, want := range []store.ControlEvent{
		{Kind: store.ControlBlocked, User: alice, Subject: "carol"},
		{Kind: store.ControlBlocked, User: alice, Subject: "bob"},
		{Kind: store.ControlUnblocked, User: alice, Subject: "carol"},
	} {
		if got := w.next(events, atOnce); got.Kind != want.Kind || got.User != want.User || got.Subject != want.Subject {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if got, err := w.store.Blocks(ctx, alice); err != nil || !cmp.Equal(got, []postbox.User{"bob"}) {
		t.Errorf("%v, %v", got, err)
	}
	facts, err := w.store.Recipients(ctx, []postbox.RouteKey{{Sender: w.ids["bob"], To: "alice"}})
	if err != nil || !facts[0].Blocked {
		t.Errorf("%+v, %v", facts, err)
	}
	if err := block("nobody", true); !errors.Is(err, postbox.ErrNotFound) {
		t.Error(err)
	}
	if err := block("alice", true); !errors.Is(err, postbox.ErrInvalid) {
		t.Error(err)
	}
}

func TestDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	ctx, alice := t.Context(), w.ids["alice"]
	for _, r := range []store.SessionRequest{
		{User: alice, ClientID: "phone"}, {User: alice, ClientID: "old"}, {User: alice, ClientID: "laptop"}, {User: w.ids["bob"], ClientID: "phone"},
	} {
		r.Epoch, r.Protocol, r.Life, r.Limit = "e", 5, time.Hour, 50
		if _, err := w.store.OpenSession(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	w.exec(`UPDATE postbox.devices SET cursor = 7, disconnected_at = now() - interval '1 minute' WHERE client_id = 'laptop'`)
	w.exec(`UPDATE postbox.devices SET disconnected_at = now() - interval '2 hours' WHERE client_id = 'old'`)
	got, err := w.store.Devices(ctx, alice)
	want := []postbox.DeviceState{{Name: "phone", Connected: true}, {Name: "laptop", Cursor: 7}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(postbox.DeviceState{}, "ConnectedAt", "SeenAt")); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	if ago := got[0].SeenAt.Sub(got[1].SeenAt); ago < time.Minute || ago > time.Hour {
		t.Errorf("%+v", got)
	}
	events := w.watch(w.open(w.url))
	if err := w.store.RevokeDevice(ctx, alice, "phone"); err != nil {
		t.Fatal(err)
	}
	if e := w.next(events, atOnce); e.Kind != store.ControlRevoked || e.User != alice || e.Subject != "phone" {
		t.Errorf("%+v", e)
	}
	for _, device := range []string{"phone", "old", "nothing", "", "a\x00b", "\xff"} {
		if err := w.store.RevokeDevice(ctx, alice, device); !errors.Is(err, postbox.ErrNotFound) {
			t.Errorf("%q: %v", device, err)
		}
	}
	if n := w.number(`SELECT count(*) FROM postbox.devices WHERE client_id = 'phone'`); n != 1 {
		t.Errorf("%d devices are left of two users' phones", n)
	}
}

// Who may see whom: by a room, by having been written to, and not when blocked.
func TestWhoMaySeeWhom(t *testing.T) {
	t.Parallel()
	names := []postbox.User{"alice", "wrote", "silent", "roommate", "former", "blocker", "blocked", "gone"}
	w := newWorld(t, names...)
	l := w.lane(0)
	for _, from := range []postbox.User{"wrote", "blocker", "blocked", "gone"} {
		w.append(l, w.publish(from, "alice", "hello"))
	}
	w.append(l, w.publish("alice", "silent", "hello?"))
	w.room("dev", "all", 3, stay{"alice", 0, 0}, stay{"roommate", 0, 0}, stay{"former", 0, 2})
	w.exec(`INSERT INTO postbox.blocks (user_id, blocked_id) VALUES ($1, $2), ($2, $3)`, w.ids["blocker"], w.ids["alice"], w.ids["blocked"])
	w.exec(`UPDATE postbox.users SET erased_at = now() WHERE name = 'gone'`)
	if err := w.store.SaveSeen(t.Context(), []postbox.UserID{w.ids["wrote"], w.ids["silent"]}); err != nil {
		t.Fatal(err)
	}
	at := w.text(`SELECT seen_at FROM postbox.users WHERE name = 'wrote'`)
	if err := w.store.SaveSeen(t.Context(), []postbox.UserID{w.ids["wrote"]}); err != nil {
		t.Fatal(err)
	}
	if again := w.text(`SELECT seen_at FROM postbox.users WHERE name = 'wrote'`); again != at {
		t.Errorf("noted twice in a minute: %s, %s", at, again)
	}
	w.exec(`UPDATE postbox.users SET seen_at = seen_at - interval '61 seconds'`)
	if err := w.store.SaveSeen(t.Context(), []postbox.UserID{w.ids["wrote"]}); err != nil {
		t.Fatal(err)
	}
	if again := w.text(`SELECT seen_at FROM postbox.users WHERE name = 'wrote'`); again == at {
		t.Error("not noted after a minute")
	}

	want := []postbox.User{"alice", "blocked", "roommate", "wrote"}
	namesOf := func(all []store.Seen, err error) []postbox.User {
		if err != nil {
			t.Fatal(err)
		}
		var seen []postbox.User
		for _, s := range all {
			seen = append(seen, s.Name)
			if s.ID != w.ids[s.Name] || s.SeenAt.IsZero() != (s.Name != "wrote") {
				t.Errorf("%+v", s)
			}
		}
		return seen
	}
	if diff := cmp.Diff(want, namesOf(w.store.Visible(t.Context(), w.ids["alice"], append(names, "nobody", "wrote")))); diff != "" {
		t.Errorf("of some, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(want, namesOf(w.store.AllVisible(t.Context(), w.ids["alice"], 10))); diff != "" {
		t.Errorf("of all, -want +got:\n%s", diff)
	}
	// The other way round: of whom is she told that they come and go?
	for _, name := range names[:7] {
		viewers, err := w.store.Viewers(t.Context(), w.ids[name])
		if may := slices.Contains(viewers, w.ids["alice"]); err != nil || may != slices.Contains(want, name) {
			t.Errorf("alice is told of %s: %v, %v", name, may, err)
		}
	}
}

// What of the other side a user may know in the list of conversations.
func TestReceipts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	w.append(l, w.publish("alice", "bob", "1"), w.publish("alice", "bob", "2"))
	ctx := t.Context()
	if err := w.store.SaveCursors(ctx, []postbox.CursorSave{{User: w.ids["bob"], Cursor: 2, Epoch: "e"}}); err != nil {
		t.Fatal(err)
	}
	if got, moved, err := w.store.MarkRead(ctx, w.ids["bob"], w.place("bob", "alice"), 1); err != nil || !moved || got != 1 {
		t.Fatal(got, moved, err)
	}
	expect := func(when string, delivered, read postbox.Seq) {
		t.Helper()
		got, err := w.store.Conversations(ctx, w.ids["alice"], postbox.ListBound{}, 5)
		if err != nil || len(got) != 1 || got[0].PeerDelivered != delivered || got[0].PeerRead != read {
			t.Errorf("%s: %+v, %v", when, got, err)
		}
	}
	expect("bob has never written", 0, 0)
	w.append(l, w.publish("bob", "alice", "3"))
	expect("bob has written", 2, 3)
	if err := w.store.SetBlock(ctx, w.ids["bob"], "alice", true); err != nil {
		t.Fatal(err)
	}
	expect("bob has blocked alice", 0, 0)
	off := false
	if _, err := w.store.UpdateProfile(ctx, w.ids["bob"], postbox.ProfileChange{Receipts: &off}); err != nil {
		t.Fatal(err)
	}
	if err := w.store.SetBlock(ctx, w.ids["bob"], "alice", false); err != nil {
		t.Fatal(err)
	}
	expect("bob's receipts are off", 2, 0)
}

// A marker that was moved is found again until its entry is stored; what the
// user has sent needs none.
func TestUnannounced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	w.append(l, w.publish("alice", "bob", "1"), w.publish("alice", "bob", "2"))
	w.room("dev", "all", 2, stay{"alice", 0, 0}, stay{"bob", 0, 0})
	ctx, bob, p := t.Context(), w.ids["bob"], w.place("bob", "alice")
	mark := func(p postbox.Place, seq postbox.Seq) {
		t.Helper()
		if _, moved, err := w.store.MarkRead(ctx, bob, p, seq); err != nil || !moved {
			t.Fatal(moved, err)
		}
	}
	mark(p, 1)
	dev, err := w.store.Place(ctx, bob, "", "dev")
	if err != nil {
		t.Fatal(err)
	}
	mark(dev, 2)
	left := func(want ...store.Unannounced) {
		t.Helper()
		got, err := w.store.Unannounced(ctx, 10)
		byRoom := cmpopts.SortSlices(func(a, b store.Unannounced) bool { return a.Place.Room < b.Place.Room })
		if diff := cmp.Diff(want, got, byRoom, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(postbox.Place{}, "Spans")); err != nil || diff != "" {
			t.Errorf("%v, -want +got:\n%s", err, diff)
		}
	}
	direct := store.Unannounced{User: bob, Name: "bob", Place: p, Seq: 1}
	room := store.Unannounced{User: bob, Name: "bob", Place: dev, Seq: 2}
	left(direct, room)
	for _, u := range []store.Unannounced{direct, room} {
		c := &postbox.Change{
			Type: postbox.EntryRead, Actor: bob, Conversation: u.Place.Conversation,
			Event: postbox.Event{ID: newID(), From: "bob", To: u.Place.With, Room: u.Place.Room, Seq: u.Seq},
		}
		if err := l.Change(ctx, c); err != nil || c.Refusal != nil {
			t.Fatal(err, c.Refusal)
		}
	}
	left()
	// Bob's own message moves his position; alice knows by the message.
	w.append(l, w.publish("bob", "alice", "3"))
	got, err := w.store.Conversations(ctx, bob, postbox.ListBound{}, 5)
	if err != nil || len(got) != 2 || got[0].ReadSeq != 3 && got[1].ReadSeq != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	left()
	if n := w.number(`SELECT read_seq FROM postbox.positions WHERE user_id = $1 AND conversation_id = $2`, bob, p.Conversation); n != 3 {
		t.Errorf("what the list showed is kept as %d", n)
	}
	if _, moved, err := w.store.MarkRead(ctx, bob, p, 2); err != nil || moved {
		t.Errorf("a marker behind one's own message moved: %v", err)
	}
}
