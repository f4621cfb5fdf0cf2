package store_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"postbox"
)

// A read marker only grows, whoever moves it at once, while messages come: each
// who moves it is told a position that is at least theirs and never goes back,
// and one of them moved it to where it ends.
func TestMarkReadAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	const messages = 60
	w.append(w.lane(0), w.publish("alice", "bob", "first"))
	p, reader := w.place("bob", "alice"), w.ids["bob"]
	var work sync.WaitGroup
	l := w.lane(1)
	work.Go(func() {
		for range messages - 1 {
			if err := l.Append(t.Context(), batch(w.draft(p.Conversation, "alice", "bob", "more"))); err != nil {
				t.Error(err)
			}
		}
	})
	results := make([]struct{ last, moved postbox.Seq }, 4)
	for i := range results {
		r := rand.New(rand.NewPCG(uint64(i), 3))
		work.Go(func() {
			for range 40 {
				want := postbox.Seq(1 + r.IntN(messages))
				got, moved, err := w.store.MarkRead(t.Context(), reader, p, want)
				if err != nil || got < results[i].last || moved && got > want {
					t.Errorf("marked %d after %d: %d, %v, %v", want, results[i].last, got, moved, err)
				}
				results[i].last = got
				if moved {
					results[i].moved = max(results[i].moved, got)
				}
			}
		})
	}
	work.Wait()
	highest := postbox.Seq(0)
	for _, r := range results {
		highest = max(highest, r.moved)
	}
	if kept := w.number(`SELECT read_seq FROM postbox.positions WHERE user_id = $1`, reader); postbox.Seq(kept) != highest {
		t.Errorf("kept %d, moved to %d", kept, highest)
	}
	if got, moved, err := w.store.MarkRead(t.Context(), reader, p, 1<<60); err != nil || got != messages || moved != (highest < messages) {
		t.Errorf("marked all of %d: %d, %v, %v", messages, got, moved, err)
	}
}

// What somebody is told that they have read is kept, though it was a message of
// their own that moved it and retention removes that one.
func TestMarkReadKeepsWhatItTells(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.append(w.lane(0), w.publish("alice", "bob", "1"))
	p := w.place("bob", "alice")
	w.append(w.lane(0), w.draft(p.Conversation, "alice", "bob", "2"), w.draft(p.Conversation, "bob", "alice", "3"))
	for _, removed := range []postbox.Seq{0, 3} {
		w.exec(`DELETE FROM postbox.messages WHERE conversation_id = $1 AND seq = $2`, p.Conversation, removed)
		if got, moved, err := w.store.MarkRead(t.Context(), w.ids["bob"], p, 1); got != 3 || moved || err != nil {
			t.Errorf("without %d: %d, %v, %v; want 3", removed, got, moved, err)
		}
	}
	if told := w.number(`SELECT count(*) FROM postbox.positions WHERE told_seq < read_seq`); told != 0 {
		t.Error("what everybody knows is to be told")
	}
}

// Unread messages are counted to 1,000; before that own messages, retracted and
// expired ones do not count.
func TestUnreadIsCountedToAThousand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	room := int(w.room("dev", "all", 900, stay{"alice", 0, 0}, stay{"bob", 0, 0}))
	expect := func(unread int, read postbox.Seq) {
		t.Helper()
		got, err := w.store.Conversations(t.Context(), w.ids["bob"], postbox.ListBound{}, 5)
		if err != nil || len(got) != 1 || got[0].Unread != unread || got[0].ReadSeq != read {
			t.Errorf("%+v, %v; want %d unread after %d", got, err, unread, read)
		}
	}
	expect(900, 0)
	w.exec(`UPDATE postbox.messages SET retracted_at = now() WHERE seq <= 10`)
	w.exec(`UPDATE postbox.messages SET expires_at = now() WHERE seq > 10 AND seq <= 20`)
	expect(880, 0)
	w.say(room, "alice", 300)
	expect(1000, 0)
	w.say(room, "bob", 1)
	expect(0, 1201)
	// What was shown stays, however much comes after.
	w.say(room, "alice", 2500)
	expect(1000, 1201)
}
