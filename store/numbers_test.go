package store_test

import (
	"fmt"
	"slices"
	"testing"

	"postbox"
)

// A number that was given is not given again, whatever was deleted: by
// retention, with a person, or by hand.
func TestDeletedNumbersAreNotGivenAgain(t *testing.T) {
	t.Parallel()
	for what, remove := range map[string]string{
		"the last":   `DELETE FROM postbox.%s WHERE %s = 3`,
		"the oldest": `DELETE FROM postbox.%s WHERE %s < 3`,
		"everything": `DELETE FROM postbox.%s WHERE %s > 0`,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "alice", "bob")
			l := w.lane(0)
			for range 3 {
				w.append(l, w.publish("alice", "bob", "x"))
			}
			w.removed(remove, "inbox", "inbox_seq")
			w.removed(remove, "messages", "seq")
			if head, err := w.store.Head(t.Context(), w.ids["bob"]); err != nil || head != 3 {
				t.Errorf("the head is %d, %v", head, err)
			}
			p := w.publish("alice", "bob", "next")
			w.append(l, p)
			if p.Message.Seq != 4 || p.InboxSeq != 4 || p.InboxSeqs[0] != postbox.InboxSeq(4) {
				t.Errorf("the next is %d in the conversation, %d and %d in the inboxes", p.Message.Seq, p.InboxSeq, p.InboxSeqs)
			}
		})
	}
}

// Nor when another server gave it, of which this one has not heard.
func TestDeletedNumbersOfOthersAreNotGivenAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	ours, theirs := w.lane(0), w.laneOf(w.open(w.url), 1)
	w.append(ours, w.publish("alice", "bob", "1"))
	w.append(ours, w.publish("alice", "bob", "2"))
	w.append(theirs, w.publish("alice", "bob", "3"), w.publish("alice", "bob", "4"))
	w.removed(`DELETE FROM postbox.%s WHERE %s = 3`, "inbox", "inbox_seq")
	w.removed(`DELETE FROM postbox.%s WHERE %s = 3`, "messages", "seq")
	p := w.publish("alice", "bob", "next")
	w.append(ours, p)
	if p.Message.Seq != 5 || p.InboxSeq != 5 || p.InboxSeqs[0] != postbox.InboxSeq(5) {
		t.Errorf("the next is %d in the conversation, %d and %d in the inboxes", p.Message.Seq, p.InboxSeq, p.InboxSeqs)
	}
}

// Nor when it is deleted in the moment in which a room's message takes it, which does
// not lock the inboxes.
func TestNumbersThatAreJustDeletedAreNotGivenAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	ours, theirs := w.lane(0), w.laneOf(w.open(w.url), 1)
	room := w.room("team", "all", 0, stay{"alice", 0, 0}, stay{"bob", 0, 0}, stay{"carol", 0, 0})
	say := func() *postbox.Publish { return w.roomDraft(room, "team", "alice", "to all", "bob", "carol") }
	w.append(ours, say())
	w.append(ours, say()) // with nothing to look for
	w.append(theirs, w.publish("carol", "bob", "3"))

	// Whoever deletes has deleted the rows, and waits before the numbers are noted.
	lock, err := w.store.DB().BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback() }()
	if _, err := lock.Exec(`SELECT 1 FROM postbox.logs WHERE id = $1 FOR UPDATE`, w.ids["bob"]); err != nil {
		t.Fatal(err)
	}
	deleted, appended := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := w.store.DB().ExecContext(t.Context(), `DELETE FROM postbox.inbox WHERE inbox_seq = 3`)
		deleted <- err
	}()
	w.waitFor("whoever deletes", blocked, "DELETE FROM postbox.inbox", 1)
	p := say()
	go func() { appended <- w.persist(ours, batch(p)) }()
	w.waitFor("the message", blocked, appending, 1)
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.InboxSeqs, []postbox.InboxSeq{4, 4}) || p.InboxSeq != 3 {
		t.Errorf("the next is %d in the sender's inbox, %v in the others", p.InboxSeq, p.InboxSeqs)
	}
}

// What is known is not looked for: a message to a room costs nothing for each member
// but its entry.
func TestKnownNumbersAreNotLookedFor(t *testing.T) {
	t.Parallel()
	const members, messages = 50, 20
	var names []postbox.User
	var stays []stay
	for i := range members {
		names = append(names, postbox.User(fmt.Sprint("user", i)))
		stays = append(stays, stay{names[i], 0, 0})
	}
	w := newWorld(t, names...)
	room := w.room("team", "all", 0, stays...)
	l := w.lane(0)
	// In two parts, so that a connection that asked this is not taken for the lane's.
	const ended = `NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%postbox.append' || '(%')`
	const scans = `SELECT idx_scan FROM pg_stat_user_indexes WHERE schemaname = 'postbox' AND indexrelname = 'logs_pkey'`
	w.append(l, w.roomDraft(room, "team", names[0], "looks", names[1:]...))
	before := w.number(scans)
	for range messages {
		w.append(l, w.roomDraft(room, "team", names[0], "knows", names[1:]...))
	}
	if err := l.Close(); err != nil { // PostgreSQL counts what an ended connection did
		t.Fatal(err)
	}
	w.waitFor("the end of the connection", ended)
	if n := w.number(scans) - before; n > messages*members/4 {
		t.Errorf("for %d messages to %d the logs were looked into %d times", messages, members, n)
	}
}

// What the server knows is forgotten once for an erasure, not for each of its steps:
// nothing is appended any more to what those delete from.
func TestErasureIsOneDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.append(w.lane(0), w.publish("alice", "bob", "1"), w.publish("bob", "alice", "2"))
	const deletions = `SELECT last_value FROM postbox.deletions`
	before := w.number(deletions)
	if _, err := w.store.CloseAccount(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	if err := w.store.Erase(t.Context(), w.ids["bob"], nil); err != nil {
		t.Fatal(err)
	}
	if left := w.number(`SELECT count(*) FROM postbox.inbox_entries WHERE user_id = $1`, w.ids["bob"]); left != 0 {
		t.Errorf("%d entries are left", left)
	}
	if n := w.number(deletions) - before; n != 1 {
		t.Errorf("an erasure counts as %d deletions, want 1", n)
	}
}

// removed deletes rows of a table by their numbers.
func (w *world) removed(statement, table, number string) {
	w.t.Helper()
	w.exec(fmt.Sprintf(statement, table, number))
}
