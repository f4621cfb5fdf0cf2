package store_test

import (
	"errors"
	"testing"
	"time"

	"postbox"
	"postbox/store"
)

// change is an edit or a retraction of a message by a user.
func (w *world) change(kind postbox.EntryType, by postbox.User, of postbox.MessageID, body string) *postbox.Change {
	c := &postbox.Change{
		Type: kind, Actor: w.ids[by], Target: of, Event: postbox.Event{ID: newID(), From: by},
		Digest: postbox.DigestOf(kind.String()+"/"+of.String(), "", "", 0, []byte(body)),
	}
	if kind == postbox.EntryEdit {
		c.Body = []byte(body)
	}
	return c
}

// commit stores a change, which must not be refused.
func (w *world) commit(l *store.Lane, c *postbox.Change) {
	w.t.Helper()
	if err := l.Change(w.t.Context(), c); err != nil || c.Refusal != nil {
		w.t.Fatalf("%s: %v, %v", c.Type, err, c.Refusal)
	}
}

// An edit and a retraction are entries of both inboxes, and every entry shows
// the present state.
func TestEditAndRetract(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	p := w.publish("alice", "bob", "helo")
	w.append(l, p)
	edit := w.change(postbox.EntryEdit, "alice", p.Message.ID, "hello")
	w.commit(l, edit)
	for _, user := range []postbox.User{"alice", "bob"} {
		got := w.entries(user)
		if len(got) != 2 || got[0].Type != postbox.EntryMessage || got[1].Type != postbox.EntryEdit {
			t.Fatalf("%s has %d entries", user, len(got))
		}
		if string(got[0].Message.Body) != "hello" || got[0].Message.EditedAt.IsZero() {
			t.Errorf("%s: the message does not show its present state: %q", user, got[0].Message.Body)
		}
		e := got[1]
		if e.Event == nil || e.Event.ID != edit.Event.ID || e.Event.Of != p.Message.ID || e.Event.From != "alice" ||
			e.Event.To != "bob" || e.Event.Seq != 1 || e.Own != (user == "alice") {
			t.Errorf("%s: the edit is %+v", user, e.Event)
		}
		if n := edit.InboxSeqOf(w.ids[user]); n != e.InboxSeq {
			t.Errorf("%s: told number %d, stored %d", user, n, e.InboxSeq)
		}
	}
	retract := w.change(postbox.EntryRetract, "alice", p.Message.ID, "")
	w.commit(l, retract)
	for _, e := range w.entries("bob") {
		if len(e.Message.Body) != 0 || e.Tombstone(time.Now()) != "retracted" {
			t.Errorf("entry %d still has %q", e.InboxSeq, e.Message.Body)
		}
	}
	again := w.change(postbox.EntryRetract, "alice", p.Message.ID, "")
	w.commit(l, again)
	if !again.Duplicate || again.Event.ID != retract.Event.ID || len(w.entries("bob")) != 3 {
		t.Errorf("a second retraction: duplicate %v, %d entries", again.Duplicate, len(w.entries("bob")))
	}
	late := w.change(postbox.EntryEdit, "alice", p.Message.ID, "again")
	if err := l.Change(t.Context(), late); err != nil || !errors.Is(late.Refusal, postbox.ErrNotFound) {
		t.Errorf("an edit of what was retracted: %v, %v", err, late.Refusal)
	}
}

// Who may change what: the author, and nobody can tell whether a message of
// others exists.
func TestChangeRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "mallory")
	l := w.lane(0)
	p := w.publish("alice", "bob", "hello")
	w.append(l, p)
	for name, c := range map[string]struct {
		by   postbox.User
		of   postbox.MessageID
		want *postbox.Error
	}{
		"the other side":  {"bob", p.Message.ID, postbox.ErrForbidden},
		"a stranger":      {"mallory", p.Message.ID, postbox.ErrNotFound},
		"of what is not":  {"alice", newID(), postbox.ErrNotFound},
		"of an empty one": {"alice", postbox.MessageID{}, postbox.ErrNotFound},
	} {
		for _, kind := range []postbox.EntryType{postbox.EntryEdit, postbox.EntryRetract} {
			got := w.change(kind, c.by, c.of, "x")
			if err := l.Change(t.Context(), got); err != nil || !errors.Is(got.Refusal, c.want) {
				t.Errorf("%s by %s: %v, %v; want %v", kind, name, err, got.Refusal, c.want.Code)
			}
		}
	}
	w.exec(`INSERT INTO postbox.blocks (user_id, blocked_id) VALUES ($1, $2)`, w.ids["bob"], w.ids["alice"])
	edit := w.change(postbox.EntryEdit, "alice", p.Message.ID, "x")
	if err := l.Change(t.Context(), edit); err != nil || !errors.Is(edit.Refusal, postbox.ErrForbidden) {
		t.Errorf("an edit by somebody who is blocked: %v, %v", err, edit.Refusal)
	}
	if n := len(w.entries("bob")); n != 1 {
		t.Errorf("bob has %d entries, want 1", n)
	}
}

// A key makes sure that once is once, and names one thing.
func TestChangeKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	p := w.publish("alice", "bob", "helo")
	w.append(l, p)
	first := w.change(postbox.EntryEdit, "alice", p.Message.ID, "hello")
	first.Event.Key = "k"
	w.commit(l, first)
	again := w.change(postbox.EntryEdit, "alice", p.Message.ID, "hello")
	again.Event.Key = "k"
	w.commit(l, again)
	if !again.Duplicate || again.Event.ID != first.Event.ID || again.InboxSeqOf(w.ids["alice"]) != first.InboxSeqOf(w.ids["alice"]) {
		t.Errorf("the same again: %+v, want %+v", again.Event, first.Event)
	}
	other := w.change(postbox.EntryEdit, "alice", p.Message.ID, "hullo")
	other.Event.Key = "k"
	if err := l.Change(t.Context(), other); err != nil || !errors.Is(other.Refusal, postbox.ErrConflict) {
		t.Errorf("something else under the key: %v, %v", err, other.Refusal)
	}
	if n := len(w.entries("bob")); n != 2 {
		t.Errorf("bob has %d entries, want 2", n)
	}
}

// A change that may have been committed is told by its id, and gets the same
// numbers.
func TestChangeOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	p := w.publish("alice", "bob", "helo")
	w.append(l, p)
	first := w.change(postbox.EntryEdit, "alice", p.Message.ID, "hello")
	w.commit(l, first)
	again := *first
	again.Recipients, again.InboxSeqs = nil, nil
	w.commit(l, &again)
	if again.Duplicate || again.InboxSeqOf(w.ids["bob"]) != first.InboxSeqOf(w.ids["bob"]) || len(again.Recipients) != 2 {
		t.Errorf("told %v of %v, want %v", again.InboxSeqs, again.Recipients, first.InboxSeqs)
	}
	if n := len(w.entries("bob")); n != 2 {
		t.Errorf("bob has %d entries, want 2", n)
	}
}

// A read marker is told once, to the other side unless it is quiet.
func TestReadMarker(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	p := w.publish("alice", "bob", "hello")
	w.append(l, p, w.draft(p.Message.Conversation, "alice", "bob", "there"))
	mark := func(seq postbox.Seq, quiet bool) *postbox.Change {
		w.exec(`INSERT INTO postbox.positions AS p (conversation_id, user_id, read_seq) VALUES ($1, $2, $3)
		        ON CONFLICT (conversation_id, user_id) DO UPDATE SET read_seq = greatest(p.read_seq, $3)`,
			int64(p.Message.Conversation), w.ids["bob"], int64(seq))
		c := &postbox.Change{
			Type: postbox.EntryRead, Actor: w.ids["bob"], Conversation: p.Message.Conversation, Quiet: quiet,
			Event: postbox.Event{ID: newID(), From: "bob", Seq: seq},
		}
		w.commit(l, c)
		return c
	}
	if c := mark(1, true); len(c.Recipients) != 1 || c.Event.To != "alice" {
		t.Errorf("a quiet marker went to %v", c.Recipients)
	}
	if c := mark(1, false); len(c.Recipients) != 0 {
		t.Errorf("a marker that was told before went to %v", c.Recipients)
	}
	if c := mark(2, false); len(c.Recipients) != 2 {
		t.Errorf("a marker went to %v, want both", c.Recipients)
	}
	got := w.entries("alice")
	last := got[len(got)-1]
	if last.Type != postbox.EntryRead || last.Event.Seq != 2 || last.Event.From != "bob" || last.Event.To != "alice" || last.Message != nil {
		t.Errorf("alice was told %+v", last.Event)
	}
}

// The number in the other side's inbox is that of the entry there.
func TestPeerInboxSeq(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	l := w.lane(0)
	w.append(l, w.publish("carol", "bob", "a"), w.publish("alice", "bob", "b"), w.publish("bob", "alice", "c"), w.publish("bob", "bob", "d"))
	const wrong = `
		SELECT count(*) FROM postbox.messages m JOIN postbox.conversations c ON c.id = m.conversation_id
		 WHERE m.peer_inbox_seq IS DISTINCT FROM (
		       SELECT i.inbox_seq FROM postbox.inbox_entries i
		        WHERE i.user_id = CASE m.sender_id WHEN c.user_low THEN c.user_high ELSE c.user_low END AND i.user_id <> m.sender_id
		          AND i.conversation_id = m.conversation_id AND i.seq = m.seq)`
	if n := w.number(wrong); n != 0 {
		t.Errorf("%d of 4 are wrong", n)
	}
}
