package store_test

import (
	"fmt"
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

// removed deletes rows of a table by their numbers.
func (w *world) removed(statement, table, number string) {
	w.t.Helper()
	w.exec(fmt.Sprintf(statement, table, number))
}
