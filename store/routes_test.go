package store_test

import (
	"database/sql"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postbox"
	"postbox/store"
)

func TestMakeConversations(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	a, b, c := w.ids["alice"], w.ids["bob"], w.ids["carol"]
	pairs := []store.Pair{{a, b}, {b, a}, {c, c}, {a, b}, {c, a}}
	made, err := w.store.MakeConversations(t.Context(), pairs)
	if err != nil || len(made) != len(pairs) {
		t.Fatalf("%v, %v", made, err)
	}
	if made[0] != made[1] || made[0] != made[3] || made[0] == made[2] || made[2] == made[4] || made[0] == made[4] {
		t.Errorf("%v", made)
	}
	again, err := w.store.MakeConversations(t.Context(), pairs)
	if diff := cmp.Diff(made, again); err != nil || diff != "" {
		t.Errorf("again: %v, -want +got:\n%s", err, diff)
	}
	if n := w.number(`SELECT count(*) FROM postbox.conversations c JOIN postbox.heads l ON l.id = c.id WHERE l.head = 0`); n != 3 {
		t.Errorf("%d conversations with a log", n)
	}
	// Numbers of users and of conversations never meet: they share a table.
	if n := w.number(`SELECT count(*) FROM postbox.conversations c JOIN postbox.users u ON u.id = c.id`); n != 0 {
		t.Errorf("%d conversations have the number of a user", n)
	}
	if none, err := w.store.MakeConversations(t.Context(), nil); err != nil || len(none) != 0 {
		t.Errorf("none: %v, %v", none, err)
	}
	if _, err := w.store.MakeConversations(t.Context(), []store.Pair{{a, 1 << 40}}); err == nil {
		t.Error("a conversation with nobody")
	}
}

// Two servers that make the same conversations at once, in opposite order.
func TestMakeConversationsAtOnce(t *testing.T) {
	t.Parallel()
	names := []postbox.User{"a", "b", "c", "d", "e", "f"}
	w := newWorld(t, names...)
	var pairs, reversed []store.Pair
	for i, x := range names {
		for _, y := range names[i:] {
			pairs = append(pairs, store.Pair{w.ids[x], w.ids[y]})
			reversed = append([]store.Pair{{w.ids[y], w.ids[x]}}, reversed...)
		}
	}
	var work sync.WaitGroup
	results := make([][]postbox.ConversationID, 4)
	for i := range results {
		asked := [][]store.Pair{pairs, reversed}[i%2]
		work.Go(func() {
			made, err := w.store.MakeConversations(t.Context(), asked)
			if err != nil || len(made) != len(asked) {
				t.Errorf("%d of %d made, %v", len(made), len(asked), err)
			}
			results[i] = made
		})
	}
	work.Wait()
	for i := range pairs {
		if results[0][i] != results[1][len(pairs)-1-i] || results[0][i] != results[2][i] {
			t.Errorf("pair %v has several numbers", pairs[i])
		}
	}
	if n := w.number(`SELECT count(*) FROM postbox.conversations`); n != len(pairs) {
		t.Errorf("%d conversations of %d pairs", n, len(pairs))
	}
}

func TestRecipients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol", "dave", "erin", "gone")
	l := w.lane(0)
	ab := w.publish("alice", "bob", "x")
	known, toSelf := w.publish("carol", "alice", "x"), w.publish("alice", "alice", "x")
	stranger := w.publish("alice", "dave", "x")
	w.append(l, ab, known, toSelf, stranger)
	w.exec(`UPDATE postbox.users SET accept = 'known' WHERE name IN ('carol', 'dave')`)
	w.exec(`UPDATE postbox.users SET erased_at = now(), accept = 'nobody' WHERE name = 'gone'`)
	w.exec(`INSERT INTO postbox.blocks (user_id, blocked_id) VALUES ($1, $2)`, w.ids["erin"], w.ids["alice"])
	w.exec(`INSERT INTO postbox.blocks (user_id, blocked_id) VALUES ($1, $2)`, w.ids["alice"], w.ids["bob"])
	id := func(n int64) sql.NullInt64 { return sql.NullInt64{Int64: n, Valid: true} }
	user := func(u postbox.User) sql.NullInt64 { return id(int64(w.ids[u])) }
	in := func(p *postbox.Publish) sql.NullInt64 { return id(int64(p.Message.Conversation)) }
	want := []store.Recipient{
		{Conversation: in(ab), User: user("bob"), Accept: "everyone", Wrote: true},
		{Conversation: in(known), User: user("carol"), Accept: "known", Known: true},
		{Conversation: in(stranger), User: user("dave"), Accept: "known", Wrote: true}, // alice has written to dave, dave not to alice
		{User: user("erin"), Accept: "everyone", Blocked: true},
		{User: user("gone"), Accept: "nobody", Erased: true},
		{Conversation: in(toSelf), User: user("alice"), Accept: "everyone", Known: true, Wrote: true},
		{Conversation: in(ab), User: user("bob"), Accept: "everyone", Wrote: true},
	}
	var keys []postbox.RouteKey
	for _, to := range []postbox.User{"bob", "carol", "dave", "erin", "gone", "alice", "bob"} {
		keys = append(keys, postbox.RouteKey{Sender: w.ids["alice"], To: to})
	}
	got, err := w.store.Recipients(t.Context(), keys)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	nobody, err := w.store.Recipients(t.Context(), []postbox.RouteKey{{Sender: w.ids["bob"], To: "nobody"}})
	if diff := cmp.Diff([]store.Recipient{{}}, nobody); err != nil || diff != "" {
		t.Errorf("nobody: %v, -want +got:\n%s", err, diff)
	}
	blocked, err := w.store.Recipients(t.Context(), []postbox.RouteKey{{Sender: w.ids["bob"], To: "alice"}})
	if err != nil || len(blocked) != 1 || !blocked[0].Blocked {
		t.Errorf("who is blocked: %+v, %v", blocked, err)
	}
}

// Who does not exist has no conversation, not even the sender's own.
func TestRecipientWhoDoesNotExist(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice")
	w.append(w.lane(0), w.publish("alice", "alice", "note"))
	got, err := w.store.Recipients(t.Context(), []postbox.RouteKey{{Sender: w.ids["alice"], To: "nobody"}})
	if diff := cmp.Diff([]store.Recipient{{}}, got); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
}
