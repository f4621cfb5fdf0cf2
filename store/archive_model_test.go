package store_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"postbox"
	"postbox/store"
)

// librarian is a model of what is stored: it says what each user may read, and
// how far everybody has got.
type librarian struct {
	*world
	rand  *rand.Rand
	lane  *store.Lane
	users []postbox.User
	rooms map[postbox.ConversationID]*shelf
	ids   []postbox.ConversationID // of rooms, which may be direct conversations
	heads map[postbox.User]postbox.InboxSeq
	acked map[postbox.User]postbox.InboxSeq
	text  func() string // the next body
}

// shelf is one conversation.
type shelf struct {
	id       postbox.ConversationID
	sides    []postbox.User // of a direct conversation
	room     postbox.Room
	members  map[postbox.User]postbox.Span // of a room
	messages []*volume                     // by seq
	read     map[postbox.User]postbox.Seq
}

// volume is one message.
type volume struct {
	m                       *postbox.Message
	numbers                 map[postbox.User]postbox.InboxSeq
	body                    string
	retracted, expired, out bool // out: removed by retention
}

// seedOf is the seed of a test: a new one, or the one that is to be run again.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if given := os.Getenv("POSTBOX_TEST_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("POSTBOX_TEST_SEED=%d", seed)
	return seed
}

func newLibrarian(t *testing.T) *librarian {
	users := []postbox.User{"alice", "bob", "carol"}
	seed := seedOf(t)
	l := &librarian{
		world: newWorld(t, users...), rand: rand.New(rand.NewPCG(seed, 1)), users: users,
		rooms: make(map[postbox.ConversationID]*shelf), heads: make(map[postbox.User]postbox.InboxSeq), acked: make(map[postbox.User]postbox.InboxSeq),
	}
	l.lane = l.world.lane(0)
	l.text = func() string { return fmt.Sprint(l.rand.IntN(1e9)) }
	for _, pair := range [][2]postbox.User{{"alice", "bob"}, {"carol", "alice"}, {"alice", "alice"}} {
		made, err := l.store.MakeConversations(t.Context(), []store.Pair{{l.world.ids[pair[0]], l.world.ids[pair[1]]}, {l.world.ids[pair[1]], l.world.ids[pair[0]]}})
		if err != nil {
			t.Fatal(err)
		}
		l.put(&shelf{id: made[0], sides: pair[:]})
	}
	dev := &shelf{room: "dev", members: map[postbox.User]postbox.Span{"alice": {}, "bob": {After: 10}, "carol": {After: 5, UpTo: 15}}}
	dev.id = l.world.room("dev", "joined", 0, stay{"alice", 0, 0}, stay{"bob", 10, 0}, stay{"carol", 5, 15})
	l.put(dev)
	return l
}

func (l *librarian) put(s *shelf) {
	s.read = make(map[postbox.User]postbox.Seq)
	l.rooms[s.id] = s
	l.ids = append(l.ids, s.id)
}

func (l *librarian) pick() *shelf { return l.rooms[l.ids[l.rand.IntN(len(l.ids))]] }

// span is what a user may read of a conversation.
func (s *shelf) span(user postbox.User) (postbox.Span, bool) {
	if s.room != "" {
		span, in := s.members[user]
		return span, in
	}
	return postbox.Span{}, slices.Contains(s.sides, user)
}

// shows lists what a user may read.
func (s *shelf) shows(user postbox.User) []*volume {
	span, in := s.span(user)
	var all []*volume
	for _, v := range s.messages {
		if in && !v.out && v.m.Seq > span.After && (span.UpTo == 0 || v.m.Seq <= span.UpTo) {
			all = append(all, v)
		}
	}
	return all
}

// kept is how far a user has read, by marker or by sending.
func (s *shelf) kept(user postbox.User) postbox.Seq {
	kept := s.read[user]
	for _, v := range s.shows(user) {
		if v.m.From == user {
			kept = max(kept, v.m.Seq)
		}
	}
	return kept
}

func (s *shelf) unread(user postbox.User) (n int) {
	for _, v := range s.shows(user) {
		if v.m.Seq > s.kept(user) && v.m.From != user && !v.retracted && !v.expired {
			n++
		}
	}
	return n
}

// delivered is the last message that a user's devices have.
func (l *librarian) delivered(s *shelf, user postbox.User) (last postbox.Seq) {
	for _, v := range s.shows(user) {
		if v.numbers[user] <= l.acked[user] {
			last = v.m.Seq
		}
	}
	return last
}

func (s *shelf) other(user postbox.User) postbox.User {
	if s.sides[0] == user {
		return s.sides[1]
	}
	return s.sides[0]
}

// writers are who may write.
func (s *shelf) writers() []postbox.User {
	switch {
	case s.room == "":
		return s.sides
	case len(s.messages) < 10: // bob is not there yet
		return []postbox.User{"alice"}
	}
	return []postbox.User{"alice", "bob"}
}

func (l *librarian) draftIn(s *shelf) *postbox.Publish {
	writers := s.writers()
	from := writers[l.rand.IntN(len(writers))]
	p := l.world.draft(s.id, from, "", l.text())
	p.Recipients = nil
	if s.room == "" {
		p.Message.To = s.other(from)
		if p.Message.To != from {
			p.Recipients = []postbox.UserID{l.world.ids[p.Message.To]}
		}
		return p
	}
	p.Message.Room = s.room
	for _, u := range l.users {
		if span := s.members[u]; u != from && span.UpTo == 0 {
			p.Recipients = append(p.Recipients, l.world.ids[u])
		}
	}
	return p
}

// send stores some messages at one moment.
func (l *librarian) send() {
	var all []*postbox.Publish
	for range 1 + l.rand.IntN(6) {
		all = append(all, l.draftIn(l.pick()))
	}
	l.world.append(l.lane, all...)
	for _, p := range all {
		s := l.rooms[p.Message.Conversation]
		v := &volume{m: p.Message, body: string(p.Message.Body), numbers: map[postbox.User]postbox.InboxSeq{p.Message.From: p.InboxSeq}}
		l.heads[p.Message.From] = max(l.heads[p.Message.From], p.InboxSeq)
		for _, u := range l.users {
			if i := slices.Index(p.Recipients, l.world.ids[u]); i >= 0 {
				v.numbers[u] = p.InboxSeqs[i]
				l.heads[u] = max(l.heads[u], p.InboxSeqs[i])
			}
		}
		s.messages = append(s.messages, v)
	}
}

// change edits or retracts a message, or lets it expire, or removes it.
func (l *librarian) change() {
	s := l.pick()
	if len(s.messages) == 0 {
		return
	}
	v := s.messages[l.rand.IntN(len(s.messages))]
	if v.out || v.retracted || v.expired {
		return
	}
	c := &postbox.Change{
		Type: postbox.EntryEdit, Actor: l.world.ids[v.m.From], Target: v.m.ID,
		Event: postbox.Event{ID: newID(), From: v.m.From}, Body: []byte("edited " + l.text()),
	}
	switch l.rand.IntN(10) {
	case 0:
		l.exec(`DELETE FROM postbox.messages WHERE id = $1`, v.m.ID.String())
		v.out = true
		return
	case 1, 2, 3:
		l.exec(`UPDATE postbox.messages SET expires_at = now() - interval '1 second' WHERE id = $1`, v.m.ID.String())
		v.expired = true
		return
	case 4, 5, 6:
		c.Type, c.Body = postbox.EntryRetract, nil
	}
	if err := l.lane.Change(l.t.Context(), c); err != nil || c.Refusal != nil {
		l.t.Fatal(err, c.Refusal)
	}
	if v.retracted = c.Type == postbox.EntryRetract; !v.retracted {
		v.body = string(c.Body)
	}
	for _, u := range l.users {
		if n := c.InboxSeqOf(l.world.ids[u]); n > 0 {
			l.heads[u] = n
		}
	}
}

// mark moves a read marker.
func (l *librarian) mark() {
	s := l.pick()
	user := l.users[l.rand.IntN(len(l.users))]
	if _, in := s.span(user); !in {
		return
	}
	seq := postbox.Seq(l.rand.IntN(len(s.messages) + 5))
	was, want := s.kept(user), postbox.Seq(0)
	if shown := s.shows(user); len(shown) > 0 {
		want = min(seq, shown[len(shown)-1].m.Seq)
	}
	got, moved, err := l.store.MarkRead(l.t.Context(), l.world.ids[user], l.placeOf(s, user), seq)
	if err != nil || got != max(was, want) || moved != (want > was) {
		l.t.Fatalf("%s marks %d in %s%v, was at %d, can get to %d: %d, %v, %v", user, seq, s.room, s.sides, was, want, got, moved, err)
	}
	s.read[user] = max(s.read[user], got)
}

// acknowledge moves a user's devices on.
func (l *librarian) acknowledge() {
	user := l.users[l.rand.IntN(len(l.users))]
	n := postbox.InboxSeq(l.rand.IntN(int(l.heads[user]) + 1))
	if err := l.store.SaveCursors(l.t.Context(), []postbox.CursorSave{{User: l.world.ids[user], Cursor: n, Epoch: "e"}}); err != nil {
		l.t.Fatal(err)
	}
	l.acked[user] = max(l.acked[user], n)
}

func (l *librarian) placeOf(s *shelf, user postbox.User) postbox.Place {
	l.t.Helper()
	with := postbox.User("")
	if s.room == "" {
		with = s.other(user)
	}
	p, err := l.store.Place(l.t.Context(), l.world.ids[user], with, s.room)
	if err != nil || p.Conversation != s.id {
		l.t.Fatalf("%+v, %v", p, err)
	}
	return p
}

// step does one thing that may happen.
func (l *librarian) step() {
	switch l.rand.IntN(7) {
	case 0, 1, 2:
		l.send()
	case 3, 4:
		l.change()
	case 5:
		l.mark()
	case 6:
		l.acknowledge()
	}
}

// checkList compares a user's list of conversations with the model.
func (l *librarian) checkList(user postbox.User) {
	l.t.Helper()
	var want []*shelf
	var empty []string // the rooms without a message
	last := func(s *shelf) *volume { shown := s.shows(user); return shown[len(shown)-1] }
	for _, s := range l.rooms {
		if len(s.shows(user)) > 0 && (s.room == "" || s.members[user].UpTo == 0) {
			want = append(want, s)
		} else if stay, been := s.members[user]; s.room != "" && been && stay.UpTo == 0 {
			empty = append(empty, string(s.room))
		}
	}
	slices.Sort(empty)
	slices.SortFunc(want, func(a, b *shelf) int {
		m, n := last(a).m, last(b).m
		return cmp.Or(n.SentAt.Compare(m.SentAt), slices.Compare(n.ID[:], m.ID[:]))
	})
	var got []postbox.Summary
	limit := 1 + l.rand.IntN(4)
	for from := (postbox.ListBound{}); ; {
		page, err := l.store.Conversations(l.t.Context(), l.world.ids[user], from, limit)
		if err != nil {
			l.t.Fatal(err)
		}
		got = append(got, page...)
		if len(page) < limit {
			break
		}
		if end := page[limit-1]; end.Last != nil {
			from.Before = end.Last.ID
		} else {
			from.AfterRoom = end.Room
		}
	}
	var without []string
	for _, s := range got[min(len(want), len(got)):] {
		without = append(without, string(s.Room))
	}
	if !slices.Equal(without, empty) {
		l.t.Fatalf("%s has the rooms %q without a message at the end, want %q", user, without, empty)
	}
	got = got[:len(got)-len(without)]
	if len(got) != len(want) {
		l.t.Fatalf("%s has %d conversations, want %d", user, len(got), len(want))
	}
	for i, s := range want {
		g := got[i]
		var delivered, read postbox.Seq
		if s.room == "" && s.other(user) != user {
			delivered, read = l.delivered(s, s.other(user)), s.kept(s.other(user))
		}
		if g.Conversation != s.id || g.Last.ID != last(s).m.ID || g.Last.From != last(s).m.From || g.Last.To != last(s).m.To ||
			g.ReadSeq != s.kept(user) || g.Unread != s.unread(user) || g.PeerDelivered != delivered || g.PeerRead != read {
			l.t.Fatalf("%s, %d in the list: %+v; want %s%v, last %v, read %d, unread %d, delivered %d, read by the other %d",
				user, i, g, s.room, s.sides, last(s).m.ID, s.kept(user), s.unread(user), delivered, read)
		}
		s.read[user] = g.ReadSeq // what was shown is kept, though the message that moved it may go
	}
}

// checkWalk pages through a whole conversation while things happen. Nothing
// that was there all the time is missing, nothing comes twice, all is in order,
// and what comes is as it then is.
func (l *librarian) checkWalk(user postbox.User) {
	l.t.Helper()
	s := l.pick()
	if _, in := s.span(user); !in {
		return
	}
	before := s.shows(user)
	seen := make(map[postbox.Seq]bool)
	kind, limit := l.rand.IntN(3), 1+l.rand.IntN(7)
	upwards, downwards := true, true
	var low, high *postbox.Message
	take := func(r postbox.PageRequest, where string) postbox.Page {
		l.t.Helper()
		r.Limit = limit
		page, err := l.store.Page(l.t.Context(), l.placeOf(s, user), r)
		if err != nil {
			l.t.Fatalf("%s: %v", where, err)
		}
		for i, m := range page.Messages {
			v := s.messages[m.Seq-1]
			if i > 0 && page.Messages[i-1].Seq >= m.Seq || seen[m.Seq] || m.ID != v.m.ID || !slices.Contains(s.shows(user), v) {
				l.t.Fatalf("%s: %d comes again, out of order, or should not: %+v", where, m.Seq, m)
			}
			if v.retracted == m.RetractedAt.IsZero() || v.expired != m.Expired(time.Now()) || !v.retracted && v.body != string(m.Body) {
				l.t.Fatalf("%s: %+v is not as it is now: %+v", where, m, v)
			}
			seen[m.Seq] = true
		}
		if n := len(page.Messages); n > 0 {
			if low == nil || page.Messages[0].Seq < low.Seq {
				low = page.Messages[0]
			}
			if high == nil || page.Messages[n-1].Seq > high.Seq {
				high = page.Messages[n-1]
			}
		}
		return page
	}
	bound := func(m *postbox.Message) postbox.Bound {
		switch {
		case kind == 1 && !s.messages[m.Seq-1].out:
			return byID(m)
		case kind == 2:
			return byTime(m.SentAt)
		}
		return bySeq(m.Seq)
	}
	switch way := l.rand.IntN(3); {
	case way == 0: // from the oldest on
		r := postbox.PageRequest{After: bySeq(0)}
		if kind == 2 {
			r.After = byTime(time.Unix(0, 0))
		}
		upwards, downwards = take(r, "from the oldest").HasAfter, false
	case way == 1 || len(before) == 0: // from the newest back
		r := postbox.PageRequest{}
		if kind == 2 {
			r.Before = byTime(time.Now().Add(time.Hour))
		}
		upwards, downwards = false, take(r, "from the newest").HasBefore
	default: // from one in the middle, both ways
		r := postbox.PageRequest{Around: bound(before[l.rand.IntN(len(before))].m)}
		page := take(r, "around")
		if r.Around.ID != (postbox.MessageID{}) && !slices.ContainsFunc(page.Messages, func(m *postbox.Message) bool { return m.ID == r.Around.ID }) {
			l.t.Fatal("a page around a message without it")
		}
		upwards, downwards = page.HasAfter, page.HasBefore
	}
	for pages := 0; upwards || downwards; pages++ {
		if pages < 6 {
			l.step()
		}
		if upwards && (!downwards || l.rand.IntN(2) == 0) {
			upwards = take(postbox.PageRequest{After: bound(high)}, "upwards").HasAfter
		} else {
			downwards = take(postbox.PageRequest{Before: bound(low)}, "downwards").HasBefore
		}
	}
	for _, v := range before {
		if !v.out && !seen[v.m.Seq] {
			l.t.Fatalf("%d of %d was not on any page: bounds of kind %d, limit %d", v.m.Seq, len(s.messages), kind, limit)
		}
	}
}

// Whatever is written, edited, retracted, removed and expires meanwhile, the
// pages together are the whole; and positions are what the model counts.
func TestArchiveAgainstModel(t *testing.T) {
	t.Parallel()
	l := newLibrarian(t)
	// What comes often comes in 60 rounds. A message is removed by 1 change of
	// 10 only, so that they may hold too few.
	for round := 0; round < 60 || !l.enough(); round++ {
		if round == 600 {
			t.Fatal("too little has happened for this to show anything")
		}
		for range 3 {
			l.step()
		}
		user := l.users[l.rand.IntN(len(l.users))]
		l.checkWalk(user)
		l.checkList(user)
	}
}

// enough says whether all has happened often enough to show something.
func (l *librarian) enough() bool {
	messages, removed, retracted, expired := 0, 0, 0, 0
	for _, s := range l.rooms {
		messages += len(s.messages)
		for _, v := range s.messages {
			removed, retracted, expired = removed+count(v.out), retracted+count(v.retracted), expired+count(v.expired)
		}
	}
	return messages >= 300 && removed >= 3 && retracted >= 10 && expired >= 10
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
