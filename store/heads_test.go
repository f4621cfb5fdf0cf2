package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"postbox"
	"postbox/store"
)

// roomDraft is a message to a room of which nothing has changed since it was made.
func (w *world) roomDraft(c postbox.ConversationID, room postbox.Room, from postbox.User, body string, others ...postbox.User) *postbox.Publish {
	p := w.draft(c, from, from, body)
	p.Message.To, p.Message.Room = "", room
	for _, name := range others {
		p.Recipients = append(p.Recipients, w.ids[name])
	}
	return p
}

// Several write to the same inboxes and conversations at once: lanes of one server,
// which remember the last numbers, another server, which is told nothing, and changes
// of both. Every log is without a hole, whoever was behind.
func TestWritersAreBehindEachOther(t *testing.T) {
	t.Parallel()
	const n = 60
	w := newWorld(t, "alice", "bob", "carol", "dave")
	room := w.room("team", "all", 0, stay{"alice", 0, 0}, stay{"bob", 0, 0}, stay{"carol", 0, 0}, stay{"dave", 0, 0})
	other := w.open(w.url)
	direct := w.publish("alice", "bob", "first").Message.Conversation
	w.exec(`INSERT INTO postbox.positions (user_id, conversation_id, read_seq) VALUES ($1, $2, $3)`, w.ids["bob"], direct, 4*n)

	var writers sync.WaitGroup
	write := func(l *store.Lane, next func(i int) *postbox.Publish) {
		writers.Go(func() {
			for i := range n {
				if err := w.persist(l, batch(next(i))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	write(w.lane(0), func(i int) *postbox.Publish { return w.draft(direct, "alice", "bob", fmt.Sprint(i)) })
	write(w.lane(1), func(i int) *postbox.Publish {
		return w.roomDraft(room, "team", "carol", fmt.Sprint(i), "alice", "bob", "dave")
	})
	write(w.laneOf(other, 2), func(i int) *postbox.Publish { return w.draft(direct, "bob", "alice", fmt.Sprint(i)) })
	write(w.laneOf(other, 3), func(i int) *postbox.Publish {
		return w.roomDraft(room, "team", "bob", fmt.Sprint(i), "dave", "carol", "alice")
	})
	reads := w.lane(4)
	writers.Go(func() {
		for i := range n {
			c := &postbox.Change{
				Type: postbox.EntryRead, Actor: w.ids["bob"], Conversation: direct, Event: postbox.Event{ID: newID(), From: "bob", To: "alice", Seq: postbox.Seq(i + 1)},
			}
			if i%2 == 0 {
				c.Peer = w.ids["alice"]
			}
			err := reads.Change(t.Context(), c)
			for errors.Is(err, postbox.ErrUnavailable) {
				err = reads.Change(t.Context(), c)
			}
			if err != nil || len(c.Recipients) != 2 {
				t.Errorf("a read marker came to %v: %v, %v", c.Recipients, err, c.Refusal)
			}
		}
	})
	writers.Wait()

	for what, want := range map[string]int{
		`SELECT count(*) FROM postbox.messages`: 4 * n,
		`SELECT count(*) FROM postbox.inbox`:    2*2*n + 2*4*n + 2*n,
		`SELECT count(*) FROM (SELECT inbox_seq, row_number() OVER (PARTITION BY user_id ORDER BY inbox_seq) AS n FROM postbox.inbox) i WHERE inbox_seq <> n`: 0,
		`SELECT count(*) FROM (SELECT seq, row_number() OVER (PARTITION BY conversation_id ORDER BY seq) AS n FROM postbox.messages) m WHERE seq <> n`:        0,
	} {
		if got := w.number(what); got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
}

// One who was erased gets the messages of a room until it knows that, and nothing of
// them is left.
func TestRoomOfOneWhoWasErased(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	room := w.room("team", "all", 0, stay{"alice", 0, 0}, stay{"bob", 0, 0}, stay{"carol", 0, 0})
	l := w.lane(0)
	w.append(l, w.roomDraft(room, "team", "alice", "before", "bob", "carol"))
	if _, err := w.store.CloseAccount(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	w.append(l, w.roomDraft(room, "team", "alice", "meanwhile", "bob", "carol"))
	if err := w.store.Erase(t.Context(), w.ids["bob"], nil); err != nil {
		t.Fatal(err)
	}
	if n := w.number(`SELECT count(*) FROM postbox.inbox WHERE user_id = $1`, w.ids["bob"]); n != 0 {
		t.Errorf("%d entries are left", n)
	}
	late := w.roomDraft(room, "team", "alice", "after", "bob", "carol")
	if err := l.Append(t.Context(), batch(late)); !errors.Is(err, postbox.ErrStaleRoute) {
		t.Errorf("a message to one who is no member any more: %v", err)
	}
	if n := w.number(`SELECT count(*) FROM postbox.inbox WHERE user_id = $1 AND kind = 0`, w.ids["carol"]); n != 2 {
		t.Errorf("the others have %d messages, want 2", n)
	}
}
