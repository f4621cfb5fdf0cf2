package store_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postbox"
)

// Of messages that came by one commit, those that follow each other in an inbox and in
// their conversation are one row of it. Wherever a page begins and ends, it has what is
// between.
func TestEntriesOfRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	l := w.lane(0)
	bob, carol := w.publish("alice", "bob", "").Message.Conversation, w.publish("alice", "carol", "").Message.Conversation
	var want []string
	text := func() string { want = append(want, fmt.Sprint(len(want)+1)); return want[len(want)-1] }
	toBob := func() *postbox.Publish { return w.draft(bob, "alice", "bob", text()) }
	toCarol := func() *postbox.Publish { return w.draft(carol, "alice", "carol", text()) }
	first, second, answer := toBob(), toBob(), w.draft(bob, "bob", "alice", text())
	w.append(l, first, second, answer, toBob(), toCarol(), toCarol(), toBob())
	w.commit(l, w.change(postbox.EntryEdit, "bob", answer.Message.ID, "edited"))
	want[2] = "edited"
	want = append(want, "edited") // as an entry of its own
	w.append(l, toBob(), toBob(), toBob())
	w.append(l, toCarol())

	if n := w.number(`SELECT count(*) FROM postbox.inbox WHERE user_id = $1`, w.ids["alice"]); n != 6 {
		t.Errorf("%d rows for %d entries, want 6", n, len(want))
	}
	alice, head := w.ids["alice"], postbox.InboxSeq(len(want))
	if got, err := w.store.Head(t.Context(), alice); err != nil || got != head {
		t.Errorf("the head is %d, %v, want %d", got, err, head)
	}
	for after := postbox.InboxSeq(0); after < head; after++ {
		for upTo := after + 1; upTo <= head+1; upTo++ {
			got, err := w.store.Entries(t.Context(), alice, after, upTo, 100)
			if diff := cmp.Diff(want[after:min(upTo, head)], bodies(got)); err != nil || diff != "" {
				t.Errorf("after %d up to %d: %v, -want +got:\n%s", after, upTo, err, diff)
			}
			for i, e := range got {
				if e.InboxSeq != after+1+postbox.InboxSeq(i) {
					t.Errorf("after %d up to %d the entry %d has the number %d", after, upTo, i, e.InboxSeq)
				}
			}
		}
	}
	w.wantDense()
}

// row sends so many messages from Alice to Bob, 1, 2, 3 …, which are one row of his inbox.
func (w *world) row(n int) {
	w.t.Helper()
	all := make([]*postbox.Publish, n)
	for i := range all {
		all[i] = w.publish("alice", "bob", fmt.Sprint(i+1))
	}
	w.append(w.lane(0), all...)
}

// Of a row of which only some messages are left, those are found.
func TestEntriesOfRowsWithHoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.row(40)
	w.exec(`DELETE FROM postbox.messages WHERE seq NOT IN (7, 8, 31)`)
	for _, test := range []struct {
		after postbox.InboxSeq
		want  []string
	}{{0, []string{"7", "8"}}, {6, []string{"7", "8"}}, {7, []string{"8"}}, {8, []string{"31"}}, {30, []string{"31"}}, {31, nil}} {
		got, err := w.store.Entries(t.Context(), w.ids["bob"], test.after, 40, 4)
		if diff := cmp.Diff(test.want, bodies(got)); err != nil || diff != "" {
			t.Errorf("after %d: %v, -want +got:\n%s", test.after, err, diff)
		}
	}
}

// An epoch ends between two entries of a row: a position is translated to where it did.
func TestPositionWithinARow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.row(7)
	w.exec(`UPDATE postbox.messages SET sent_at = sent_at - interval '2 hours' WHERE seq <= 4`)
	w.exec(`INSERT INTO postbox.epochs (epoch, system_identifier, timeline, database_oid, table_oid, began_at)
		SELECT 'row' || n, '', 0, 0, 0, clock_timestamp() - (2 - n) * interval '1 hour' - interval '3 minutes' FROM generate_series(0, 1) AS n`)
	at, known, err := w.store.PositionSince(t.Context(), w.ids["bob"], postbox.Position{Epoch: "row0", Seq: 6})
	if err != nil || !known || at != 4 {
		t.Errorf("%d, %v, %v; want 4", at, known, err)
	}
}
