package store

import (
	"math"
	"testing"
	"time"

	"postbox"
	"postbox/internal/pgtest"
)

// sentJustNow is a message of so many bytes.
func sentJustNow(c postbox.ConversationID, seq postbox.Seq, size int) *postbox.Publish {
	return &postbox.Publish{
		Message:    &postbox.Message{Conversation: c, Seq: seq, Sender: 7, To: "bob", Body: make([]byte, size)},
		Recipients: []postbox.UserID{5},
	}
}

// stretchOf is so many messages of a conversation from one on.
func stretchOf(c postbox.ConversationID, first postbox.Seq, count int) indexStretch {
	return indexStretch{conversation: c, after: first - 1, count: count}
}

// What was stored is there once, and whole stretches only.
func TestRecent(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := recent{limit: recentBytes}
	take := func(s indexStretch, want int) []indexRow {
		t.Helper()
		got, there := r.take(s, nil)
		if there != (want > 0) || len(got) != want {
			t.Errorf("%+v: %d rows, %v; want %d", s, len(got), there, want)
		}
		for i, row := range got {
			if row.key != (indexKey{s.conversation, s.after + 1 + postbox.Seq(i)}) {
				t.Errorf("%+v: %d is %+v", s, i, row.key)
			}
		}
		return got
	}
	empty := func() {
		t.Helper()
		if len(r.runs) != 0 || r.bytes != 0 {
			t.Errorf("%d conversations with %d bytes are left", len(r.runs), r.bytes)
		}
	}
	r.put([]*postbox.Publish{sentJustNow(1, 1, 10)})
	if len(r.runs) != 0 {
		t.Error("without an indexer something is remembered")
	}
	r.asked.Store(true)
	r.put([]*postbox.Publish{sentJustNow(1, 2, 10), sentJustNow(1, 1, 10), sentJustNow(2, 1, 20), sentJustNow(2, 2, recentBody+1), sentJustNow(2, 3, 30)})
	take(stretchOf(1, 1, 3), 0) // there is no third
	take(stretchOf(1, 1, 2), 0) // and that has forgotten them
	if got := take(stretchOf(2, 1, 1), 1); len(got) == 1 && (len(got[0].body) != 20 || got[0].low != 5 || got[0].high != 7) {
		t.Errorf("got %+v, want what is between 5 and 7", got[0])
	}
	take(stretchOf(2, 1, 1), 0)
	take(stretchOf(2, 2, 1), 0) // too large
	if got := take(stretchOf(2, 3, 1), 1); len(got) == 1 && len(got[0].body) != 30 {
		t.Errorf("got %+v, want what is behind the large one", got[0])
	}
	empty()

	// Several runs, which may come in another order, are taken in any portions.
	for _, first := range []postbox.Seq{4, 1, 7, 10} {
		r.put([]*postbox.Publish{sentJustNow(3, first, 1), sentJustNow(3, first+1, 2), sentJustNow(3, first+2, 3)})
	}
	take(stretchOf(3, 1, 2), 2)
	if got := take(stretchOf(3, 3, 5), 5); len(got) == 5 && (len(got[0].body) != 3 || len(got[4].body) != 1) {
		t.Errorf("other bodies: %d and %d bytes", len(got[0].body), len(got[4].body))
	}
	// What is taken out of the middle is not there any more, whoever asks for it.
	take(stretchOf(3, 11, 1), 0)
	take(stretchOf(3, 10, 3), 0)
	take(stretchOf(3, 8, 2), 2)
	empty()

	expires := sentJustNow(4, 1, 1)
	expires.Message.ExpiresAt, expires.Message.ContentType, expires.Message.Room = now.Truncate(time.Microsecond), "text/html", "dev"
	r.put([]*postbox.Publish{expires})
	got := take(stretchOf(4, 1, 1), 1)
	if row := got[0]; row.contentType != "text/html" || !row.expires.Valid || !row.expires.Time.Equal(expires.Message.ExpiresAt) || row.low != 0 || row.sender != 7 {
		t.Errorf("got %+v", row)
	}
}

// There is a bound to what is remembered, which may be forgotten.
func TestRecentIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 8 << 20
	r := recent{limit: limit}
	r.asked.Store(true)
	const fit = limit / (recentBody + recentRunOverhead + recentOverhead)
	for i := range postbox.Seq(2 * fit) {
		r.put([]*postbox.Publish{sentJustNow(3, i+1, recentBody)})
	}
	if len(r.runs[3]) != fit || r.full() <= 0.99 || r.full() > 1 {
		t.Errorf("%d are remembered, want the first %d; %.3f of the room", len(r.runs[3]), fit, r.full())
	}
	if _, there := r.take(stretchOf(3, 1, 1), nil); !there {
		t.Error("the first is not there")
	}
	r.put([]*postbox.Publish{sentJustNow(3, 5*fit, recentBody)})
	r.put([]*postbox.Publish{sentJustNow(3, 6*fit, recentBody)}) // there is no room
	if _, there := r.take(stretchOf(3, 6*fit, 1), nil); there {
		t.Error("more is remembered than there is room for")
	}
	for _, asked := range []bool{true, false} {
		r.clear(asked)
		r.put([]*postbox.Publish{sentJustNow(3, 7*fit, recentBody)})
		if _, there := r.take(stretchOf(3, 7*fit, 1), nil); there != asked || r.full() != 0 {
			t.Errorf("forgotten, asked %v: remembered %v, %v of the room", asked, there, r.full())
		}
	}
}

// A process that may have little memory remembers less.
func TestRecentIsAShareOfTheMemory(t *testing.T) {
	t.Parallel()
	for memory, want := range map[int64]int{math.MaxInt64: 128 << 20, 1 << 30: 128 << 20, 256 << 20: 32 << 20} {
		if got := recentLimit(memory); got != want {
			t.Errorf("of %d bytes %d, want %d", memory, got, want)
		}
	}
}

// What waits for another server's indexer is not remembered, nor what is not waited for
// any more.
func TestRecentIsForgotten(t *testing.T) {
	t.Parallel()
	s, err := Open(Options{URL: pgtest.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	x := s.NewIndexer()
	round := func(asked bool) {
		t.Helper()
		s.recent.put([]*postbox.Publish{sentJustNow(1, 1, 10)})
		if _, err := x.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.recent.bytes != 0 || s.recent.asked.Load() != asked {
			t.Errorf("%d bytes are remembered, asked for: %v, want %v", s.recent.bytes, s.recent.asked.Load(), asked)
		}
	}
	round(true)
	tx, err := s.db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), `SELECT 1 FROM postbox.search_state FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	round(false)
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	round(true)
}
