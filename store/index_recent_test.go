package store

import (
	"testing"
	"time"

	"postbox"
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

// What was stored is there once, whole stretches only, and no more of it than there
// is room for. What nobody asks for makes room in the end.
func TestRecent(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var r recent
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
	r.put([]*postbox.Publish{sentJustNow(1, 1, 10)}, now)
	if len(r.runs) != 0 {
		t.Error("without an indexer something is remembered")
	}
	r.asked.Store(true)
	r.put([]*postbox.Publish{sentJustNow(1, 2, 10), sentJustNow(1, 1, 10), sentJustNow(2, 1, 20), sentJustNow(2, 2, recentBody+1), sentJustNow(2, 3, 30)}, now)
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
		r.put([]*postbox.Publish{sentJustNow(3, first, 1), sentJustNow(3, first+1, 2), sentJustNow(3, first+2, 3)}, now)
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
	r.put([]*postbox.Publish{expires}, now)
	got := take(stretchOf(4, 1, 1), 1)
	if row := got[0]; row.contentType != "text/html" || !row.expires.Valid || !row.expires.Time.Equal(expires.Message.ExpiresAt) || row.low != 0 || row.sender != 7 {
		t.Errorf("got %+v", row)
	}
}

// There is a bound to what is remembered.
func TestRecentIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var r recent
	r.asked.Store(true)
	const fit = recentBytes / (recentBody + recentRunOverhead + recentOverhead)
	for i := range postbox.Seq(2 * fit) {
		r.put([]*postbox.Publish{sentJustNow(3, i+1, recentBody)}, now)
	}
	if len(r.runs[3]) != fit || r.full() <= 0.99 || r.full() > 1 {
		t.Errorf("%d are remembered, want the first %d; %.3f of the room", len(r.runs[3]), fit, r.full())
	}
	if _, there := r.take(stretchOf(3, 1, 1), nil); !there {
		t.Error("the first is not there")
	}
	r.put([]*postbox.Publish{sentJustNow(3, 5*fit, recentBody)}, now)
	r.put([]*postbox.Publish{sentJustNow(3, 6*fit, recentBody)}, now.Add(recentAge)) // there is no room
	if _, there := r.take(stretchOf(3, 6*fit, 1), nil); there {
		t.Error("more is remembered than there is room for")
	}
	r.put([]*postbox.Publish{sentJustNow(3, 7*fit, recentBody)}, now.Add(2*recentAge))
	if _, there := r.take(stretchOf(3, 7*fit, 1), nil); !there || r.bytes != 0 {
		t.Errorf("what nobody has asked for keeps %d bytes", r.bytes)
	}
}
