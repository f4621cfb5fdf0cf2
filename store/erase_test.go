package store_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"postbox"
)

// dump is all rows of all tables as text; binary values are hexadecimal.
func (w *world) dump() string {
	w.t.Helper()
	var tables []string
	const list = `SELECT format('SELECT t::text FROM %I.%I AS t', table_schema, table_name) FROM information_schema.tables
		WHERE table_schema = 'postbox' AND table_type = 'BASE TABLE'`
	if err := w.store.DB().SelectContext(w.t.Context(), &tables, list); err != nil {
		w.t.Fatal(err)
	}
	var all strings.Builder
	for _, query := range tables {
		var rows []string
		if err := w.store.DB().SelectContext(w.t.Context(), &rows, query); err != nil {
			w.t.Fatal(query, err)
		}
		fmt.Fprintf(&all, "%s\n%s\n", query, strings.Join(rows, "\n"))
	}
	return all.String()
}

// traces are the lines of a dump that have something of what is looked for, as
// text or as bytes.
func traces(dump string, of ...string) (found []string) {
	for line := range strings.Lines(dump) {
		for _, s := range of {
			if strings.Contains(line, s) || strings.Contains(line, hex.EncodeToString([]byte(s))) {
				found = append(found, fmt.Sprintf("%s in %s", s, line))
			}
		}
	}
	return found
}

// After an erasure nothing of the person is in any table; what others wrote is as
// it was, with tombstones between, and the name is not given again.
func TestErase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	ctx := t.Context()
	lane := w.lane(0)
	var mine, his []*postbox.Publish
	for i := range 30 {
		p := keyed(w.publish("alice", "bob", fmt.Sprint("secret words ", i)), fmt.Sprint("key-of-hers-", i))
		p.Message.Device, p.Message.Ref, p.Message.ContentType = "her-phone", `{"hers":1}`, "text/hers"
		mine = append(mine, p)
		his = append(his, w.publish("bob", "alice", fmt.Sprint("from bob ", i)))
	}
	mine = append(mine, w.publish("alice", "alice", "secret words to herself"))
	for i := range mine {
		w.append(lane, mine[i])
		if i < len(his) {
			w.append(lane, his[i])
		}
	}
	edit := &postbox.Change{
		Type: postbox.EntryEdit, Actor: w.ids["alice"], Target: mine[0].Message.ID, Body: []byte("secret words edited"),
		Event: postbox.Event{ID: newID(), From: "alice", Key: "key-of-hers-edit"}, Digest: postbox.DigestOf("edit", "", "", 0, nil),
	}
	if err := lane.Change(ctx, edit); err != nil || edit.Refusal != nil {
		t.Fatal(err, edit.Refusal)
	}
	for _, s := range []string{
		`UPDATE postbox.users SET display_name = 'Alice of Wonderland', password_hash = 'her-hash' WHERE name = 'alice'`,
		`INSERT INTO postbox.devices (user_id, client_id, epoch, protocol, expires_after) SELECT id, 'her-phone', 'e', 4, 100 FROM postbox.users WHERE name = 'alice'`,
		`INSERT INTO postbox.wills (id, user_id, client_id, delay, recipient, expires_after, body)
		 SELECT gen_random_uuid(), id, 'her-phone', 0, 'bob', 0, 'secret words of a will' FROM postbox.users WHERE name = 'alice'`,
		`INSERT INTO postbox.wills (id, user_id, client_id, delay, recipient, expires_after, body)
		 SELECT gen_random_uuid(), id, 'phone', 0, 'alice', 0, 'to her' FROM postbox.users WHERE name = 'bob'`,
		`INSERT INTO postbox.wills (id, user_id, client_id, delay, recipient, room, expires_after, body)
		 SELECT gen_random_uuid(), id, 'phone', 0, 'a-room', true, 0, 'to a room' FROM postbox.users WHERE name = 'bob'`,
		`WITH c AS (INSERT INTO postbox.conversations (room) VALUES ('a-room') RETURNING id) INSERT INTO postbox.logs (id) SELECT id FROM c`,
		`INSERT INTO postbox.memberships (conversation_id, user_id, role, joined_seq)
		 SELECT c.id, u.id, CASE u.name WHEN 'alice' THEN 'owner' WHEN 'carol' THEN 'admin' ELSE 'member' END, 0
		   FROM postbox.conversations c, postbox.users u WHERE c.room = 'a-room' AND u.name IN ('alice', 'bob', 'carol')`,
		`INSERT INTO postbox.events (id, conversation_id, seq, kind, actor_id, happened_at, data)
		 SELECT gen_random_uuid(), c.id, 0, 4, u.id, now(), '{"event":"added","user":"alice","role":"owner"}'
		   FROM postbox.conversations c, postbox.users u WHERE c.room = 'a-room' AND u.name = 'bob'`,
		`INSERT INTO postbox.devices (user_id, client_id, epoch, protocol, expires_after) SELECT id, 'his-phone', 'e', 4, 100 FROM postbox.users WHERE name = 'bob'`,
		`INSERT INTO postbox.subscriptions (device_id, filter, qos) SELECT id, f, 0 FROM postbox.devices, unnest(ARRAY['presence/alice', 'inbox/bob']) f WHERE client_id = 'his-phone'`,
		`INSERT INTO postbox.control (kind, user_id, subject) SELECT 'blocked', id, 'alice' FROM postbox.users WHERE name = 'bob'`,
	} {
		w.exec(s)
	}
	if err := w.store.SetBlock(ctx, w.ids["carol"], "alice", true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.store.MarkRead(ctx, w.ids["alice"], w.placeOf("alice", "bob"), 7); err != nil {
		t.Fatal(err)
	}
	indexer := w.store.NewIndexer()
	index := func() {
		t.Helper()
		for more := true; more; {
			var err error
			if more, err = indexer.Round(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	index()
	needles := []string{"alice", "secret", "secret words", "key-of-hers", "her-phone", "hers", "Wonderland", "her-hash"}
	for _, p := range mine {
		needles = append(needles, string(p.Digest[:]))
	}
	needles = append(needles, string(edit.Digest[:]))
	if n := len(traces(w.dump(), needles...)); n < 60 {
		t.Fatalf("only %d traces before: this can show nothing", n)
	}

	id, err := w.store.CloseAccount(ctx, "alice")
	if err != nil || id != w.ids["alice"] {
		t.Fatal(id, err)
	}
	told := 0
	if err := w.store.Erase(ctx, id, func(n int) { told = n }); err != nil || told != len(mine) {
		t.Fatalf("%d messages were erased, not %d: %v", told, len(mine), err)
	}
	if n := w.number(`SELECT count(*) FROM postbox.search_queue`); n > 5 {
		t.Errorf("the indexer has %d rows to look at for %d messages: others have to wait", n, told)
	}
	index()
	if found := traces(w.dump(), needles...); len(found) > 0 {
		t.Errorf("what is left: %s", strings.Join(found, ""))
	}
	if n := w.number(`SELECT count(*) FROM postbox.subscriptions WHERE filter = 'inbox/bob'`); n != 1 {
		t.Errorf("bob's own filter is there %d times", n)
	}

	var owner string
	const whose = `SELECT u.name FROM postbox.memberships m JOIN postbox.users u ON u.id = m.user_id AND u.erased_at IS NULL WHERE m.role = 'owner'`
	if err := w.store.DB().GetContext(ctx, &owner, whose); err != nil || owner != "carol" {
		t.Errorf("the room is %s's: %v", owner, err)
	}

	w.store.ForgetNames()
	list, err := w.store.Conversations(ctx, w.ids["bob"], postbox.ListBound{}, 10)
	if err != nil || len(list) != 2 || !strings.HasPrefix(string(list[0].With), "erased.") {
		t.Fatalf("bob's conversations: %+v, %v", list, err)
	}
	place, err := w.store.Place(ctx, w.ids["bob"], list[0].With, "")
	if err != nil {
		t.Fatal(err)
	}
	page, err := w.store.Page(ctx, place, postbox.PageRequest{Limit: 100})
	if err != nil || len(page.Messages) != 60 {
		t.Fatal(len(page.Messages), err)
	}
	for i, m := range page.Messages {
		gone := m.From != "bob"
		if m.Seq != postbox.Seq(i+1) || gone != !m.RetractedAt.IsZero() || gone != (len(m.Body) == 0) {
			t.Errorf("message %d: %+v", i+1, m)
		}
		if p := his[i/2]; !gone && (m.ID != p.Message.ID || string(m.Body) != string(p.Message.Body) || m.To != list[0].With) {
			t.Errorf("bob's message %d: %+v", i/2, m)
		}
	}

	for _, name := range []postbox.User{"alice", list[0].With, "erased.x"} {
		if _, err := w.store.AddUser(ctx, name, "", false); !errors.Is(err, postbox.ErrConflict) {
			t.Errorf("the name %s is given again: %v", name, err)
		}
	}
	if err := w.store.AddUsers(ctx, []postbox.User{"alice", "dora"}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.UserByName(ctx, "alice"); !errors.Is(err, postbox.ErrNotFound) {
		t.Errorf("the name is given again: %v", err)
	}
	if _, err := w.store.UserByName(ctx, "dora"); err != nil {
		t.Error(err)
	}
	if _, err := w.store.CloseAccount(ctx, "alice"); !errors.Is(err, postbox.ErrNotFound) {
		t.Errorf("closed again: %v", err)
	}
	if err := w.store.Erase(ctx, id, nil); err != nil {
		t.Errorf("erased again: %v", err)
	}
}

// What was on its way when an account was closed is refused, from it and to it,
// and so are changes; what is not about it goes on.
func TestNothingIsAppendedAfterAnErasure(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	lane := w.lane(0)
	before := w.publish("alice", "bob", "before")
	his := w.publish("bob", "alice", "his")
	w.append(lane, before, his)
	drafts := []*postbox.Publish{w.publish("alice", "bob", "late"), w.publish("bob", "alice", "late too")}
	if _, err := w.store.CloseAccount(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	for _, p := range drafts {
		if err := lane.Append(t.Context(), batch(p)); !errors.Is(err, postbox.ErrNotFound) {
			t.Errorf("%s: %v", p.Message.Body, err)
		}
	}
	c := &postbox.Change{
		Type: postbox.EntryEdit, Actor: w.ids["alice"], Target: before.Message.ID, Body: []byte("late"), Event: postbox.Event{ID: newID(), From: "alice"},
	}
	if err := lane.Change(t.Context(), c); !errors.Is(err, postbox.ErrNotFound) {
		t.Errorf("an edit: %v", err)
	}
	w.append(lane, w.publish("bob", "bob", "a note"))
	for _, kind := range []postbox.EntryType{postbox.EntryEdit, postbox.EntryRetract} {
		c := &postbox.Change{Type: kind, Actor: w.ids["bob"], Target: his.Message.ID, Body: []byte("still his"), Event: postbox.Event{ID: newID(), From: "bob"}}
		if err := lane.Change(t.Context(), c); err != nil || c.Refusal != nil {
			t.Errorf("what bob wrote to her cannot be changed any more: %v, %v", err, c.Refusal)
		}
	}
}

// A word for the servers that names a device is not taken for the name of who is
// erased: without its subject it would be about all devices.
func TestErasureLeavesOtherWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.exec(`INSERT INTO postbox.control (kind, user_id, subject) SELECT 'revoked', id, 'alice' FROM postbox.users WHERE name = 'bob'`)
	if _, err := w.store.CloseAccount(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if n := w.number(`SELECT count(*) FROM postbox.control WHERE kind = 'revoked' AND subject = 'alice'`); n != 1 {
		t.Error("the device of bob that is revoked has lost its name")
	}
}

// An erasure that was interrupted is found, and goes on where it was.
func TestErasureGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	lane := w.lane(0)
	var all []*postbox.Publish
	for i := range 100 {
		all = append(all, w.publish("alice", "bob", fmt.Sprint("hers ", i)))
	}
	w.append(lane, all...)
	id, err := w.store.CloseAccount(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	left := func() []postbox.UserID {
		users, err := w.store.Erasures(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return users
	}
	if users := left(); len(users) != 0 {
		t.Errorf("somebody works on %v just now", users)
	}
	w.exec(`UPDATE postbox.erasures SET worked_at = now() - interval '1 minute'`)
	if users := left(); !slices.Equal(users, []postbox.UserID{id}) {
		t.Errorf("left over: %v", users)
	}
	w.exec(`UPDATE postbox.messages SET body = '', digest = '', retracted_at = now() WHERE seq <= 40`)
	told := 0
	if err := w.store.Erase(t.Context(), id, func(n int) { told = n }); err != nil || told != 60 {
		t.Errorf("%d messages were left, not 60: %v", told, err)
	}
	w.exec(`UPDATE postbox.erasures SET worked_at = now() - interval '1 minute'`)
	if users := left(); len(users) != 0 {
		t.Errorf("left over at the end: %v", users)
	}
}

// placeOf is where two users write to each other.
func (w *world) placeOf(me, with postbox.User) postbox.Place {
	w.t.Helper()
	p, err := w.store.Place(w.t.Context(), w.ids[me], with, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}
