package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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
			for i := 0; i < n; {
				var group []*postbox.Publish
				for range min(1+i%4, n-i) {
					group = append(group, next(i))
					i++
				}
				if err := w.persist(l, batch(group...)); err != nil {
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

	w.wantDense()
	for what, want := range map[string]int{
		`SELECT count(*) FROM postbox.messages`:      4 * n,
		`SELECT count(*) FROM postbox.inbox_entries`: 2*2*n + 2*4*n + 2*n,
	} {
		if got := w.number(what); got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
}

// Beside rooms that are written to without a pause everybody gets a turn: edits and
// changes of another room with the same members at once, imports soon, and whoever is
// erased leaves.
func TestTurnsBesideABusyRoom(t *testing.T) {
	t.Parallel()
	const n = 20
	w := newWorld(t, "alice", "bob", "carol", "dave", "erin")
	busy := w.room("busy", "all", 0, stay{"alice", 0, 0}, stay{"bob", 0, 0}, stay{"carol", 0, 0}, stay{"dave", 0, 0})
	team := w.room("team", "all", 0, stay{"alice", 0, 0}, stay{"bob", 0, 0}, stay{"carol", 0, 0}, stay{"dave", 0, 0}, stay{"erin", 0, 0})
	lane := w.lane(0)
	said := w.publish("bob", "alice", "said")
	w.append(lane, said)
	if _, err := w.store.CloseAccount(t.Context(), "erin"); err != nil {
		t.Fatal(err)
	}

	var writers, others sync.WaitGroup
	done := make(chan struct{})
	for i, from := range []postbox.User{"carol", "dave"} {
		l, to := w.lane(1+i), []postbox.User{"dave", "carol"}[i]
		writers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				p := w.roomDraft(busy, "busy", from, "x", "alice", "bob", to)
				if err := w.persist(l, batch(p)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	others.Go(func() {
		for i := range n {
			c := &postbox.Change{
				Type: postbox.EntryEdit, Actor: w.ids["bob"], Target: said.Message.ID, Body: []byte(fmt.Sprint(i)), Event: postbox.Event{ID: newID(), From: "bob"},
			}
			if err := lane.Change(t.Context(), c); err != nil || c.Refusal != nil {
				t.Errorf("edit %d: %v, %v", i, err, c.Refusal)
			}
		}
		if err := w.store.Erase(t.Context(), w.ids["erin"], nil); err != nil {
			t.Error(err)
		}
		for i := range n {
			c := &postbox.Change{
				Type: postbox.EntryRoom, Actor: w.ids["alice"], Conversation: team, Room: &postbox.RoomChange{User: "bob", UserID: w.ids["bob"], Version: int64(1 + i)},
				Event: postbox.Event{ID: newID(), From: "alice", Room: "team", Change: &postbox.RoomEvent{What: postbox.RoomRole, User: "bob", Role: "admin"}},
			}
			if err := lane.Change(t.Context(), c); err != nil {
				t.Errorf("change %d of a room: %v", i, err)
			}
		}
	})
	others.Go(func() {
		im := w.importer()
		for i := range n {
			var old []store.ImportMessage
			for j := range 50 {
				old = append(old, w.old("alice", "bob", 50*i+j, true))
			}
			_, err := im.Append(t.Context(), old)
			for range 3 {
				if errors.Is(err, postbox.ErrUnavailable) {
					_, err = im.Append(t.Context(), old)
				}
			}
			if err != nil {
				t.Errorf("import %d: %v", i, err)
			}
		}
	})
	others.Wait()
	close(done)
	writers.Wait()
	if n := w.number(`SELECT count(*) FROM postbox.inbox_entries WHERE user_id = $1`, w.ids["erin"]); n != 0 {
		t.Errorf("%d entries of one who was erased", n)
	}
	w.wantDense()
}

// wantDense checks the numbers of all logs, and the order in time.
func (w *world) wantDense() {
	w.t.Helper()
	for _, wrong := range []string{
		`SELECT count(*) FROM (SELECT inbox_seq, row_number() OVER (PARTITION BY user_id ORDER BY inbox_seq) AS n FROM postbox.inbox_entries) i WHERE inbox_seq <> n`,
		`SELECT count(*) FROM (SELECT seq, row_number() OVER (PARTITION BY conversation_id ORDER BY seq) AS n FROM postbox.messages) m WHERE seq <> n`,
		`SELECT count(*) FROM postbox.messages a JOIN postbox.messages b ON b.conversation_id = a.conversation_id AND b.seq = a.seq + 1 WHERE b.sent_at < a.sent_at`,
	} {
		if n := w.number(wrong); n != 0 {
			w.t.Errorf("%s: %d", wrong, n)
		}
	}
}

// A batch of unknown outcome is found although one of its recipients was erased
// meanwhile.
func TestUnknownOutcomeBesideAnErasure(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	wire, url := newWire(t, w.url)
	l := w.laneOf(w.open(url), 0)
	room := w.room("team", "all", 0, stay{"alice", 0, 0}, stay{"bob", 0, 0}, stay{"carol", 0, 0})
	p := w.roomDraft(room, "team", "alice", "to all", "bob", "carol")
	wire.on(func(query string) cut {
		if strings.Contains(query, appending) {
			return after
		}
		return pass
	})
	b := batch(p)
	if err := l.Append(t.Context(), b); !errors.Is(err, postbox.ErrUnavailable) {
		t.Fatalf("the connection was cut: %v", err)
	}
	wire.on(func(string) cut { return pass })
	if _, err := w.store.CloseAccount(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	if err := w.store.Erase(t.Context(), w.ids["bob"], nil); err != nil {
		t.Fatal(err)
	}
	if err := w.persist(l, b); err != nil {
		t.Fatal(err)
	}
	if p.Message.Seq != 1 || !slices.Equal(p.InboxSeqs, []postbox.InboxSeq{0, 1}) {
		t.Errorf("it is %d, for the others %v", p.Message.Seq, p.InboxSeqs)
	}
}

// Nothing comes to one who was erased, also when the number of their last entry is
// remembered.
func TestRoomOfOneWhoWasErased(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob", "carol")
	room := w.room("team", "all", 0, stay{"alice", 0, 0}, stay{"bob", 0, 0}, stay{"carol", 0, 0})
	l := w.lane(0)
	for range 2 {
		w.append(l, w.roomDraft(room, "team", "alice", "before", "bob", "carol"))
	}
	if _, err := w.store.CloseAccount(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	meanwhile := w.roomDraft(room, "team", "alice", "meanwhile", "bob", "carol")
	if err := l.Append(t.Context(), batch(meanwhile)); !errors.Is(err, postbox.ErrStaleRoute) {
		t.Errorf("a message to one who was erased: %v", err)
	}
	if err := w.store.Erase(t.Context(), w.ids["bob"], nil); err != nil {
		t.Fatal(err)
	}
	if n := w.number(`SELECT count(*) FROM postbox.inbox_entries WHERE user_id = $1`, w.ids["bob"]); n != 0 {
		t.Errorf("%d entries are left", n)
	}
	late := w.roomDraft(room, "team", "alice", "after", "bob", "carol")
	if err := l.Append(t.Context(), batch(late)); !errors.Is(err, postbox.ErrStaleRoute) {
		t.Errorf("a message to one who is no member any more: %v", err)
	}
	if n := w.number(`SELECT count(*) FROM postbox.inbox_entries WHERE user_id = $1 AND kind = 0`, w.ids["carol"]); n != 2 {
		t.Errorf("the others have %d messages, want 2", n)
	}
}
