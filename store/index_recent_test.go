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

// What was stored is there once, whole stretches only, and no more of it than there
// is room for. What nobody asks for makes room in the end.
func TestRecent(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var r recent
	r.put([]*postbox.Publish{sentJustNow(1, 1, 10)}, now)
	if len(r.rows) != 0 {
		t.Error("without an indexer something is remembered")
	}
	r.asked.Store(true)
	r.put([]*postbox.Publish{sentJustNow(1, 1, 10), sentJustNow(1, 2, 10), sentJustNow(2, 1, 20), sentJustNow(2, 2, recentBody+1)}, now)
	if got, there := r.take(indexStretch{conversation: 1, count: 3}, nil); there || got != nil {
		t.Errorf("%d rows of a stretch that is not there as a whole", len(got))
	}
	if got, there := r.take(indexStretch{conversation: 2, count: 1}, nil); !there || len(got) != 1 || len(got[0].body) != 20 || got[0].low != 5 || got[0].high != 7 {
		t.Errorf("got %d rows, want the one between 5 and 7", len(got))
	}
	if got, there := r.take(indexStretch{conversation: 2, count: 1}, nil); there || got != nil || len(r.rows) != 0 || r.bytes != 0 {
		t.Errorf("%d rows are given out twice; %d with %d bytes are left", len(got), len(r.rows), r.bytes)
	}
	if _, there := r.take(indexStretch{conversation: 2, after: 1, count: 1}, nil); there {
		t.Error("a large body is remembered")
	}
	const fit = recentBytes / (recentBody + recentOverhead)
	for i := range postbox.Seq(2 * fit) {
		r.put([]*postbox.Publish{sentJustNow(3, i+1, recentBody)}, now)
	}
	if _, there := r.take(indexStretch{conversation: 3, count: 1}, nil); !there || len(r.rows) != fit-1 {
		t.Errorf("%d are remembered, want the first %d but one", len(r.rows), fit)
	}
	r.put([]*postbox.Publish{sentJustNow(3, 5000, recentBody)}, now)
	r.put([]*postbox.Publish{sentJustNow(3, 5001, recentBytes-recentOverhead-r.bytes)}, now)
	if r.bytes != recentBytes {
		t.Fatalf("%d bytes are held", r.bytes)
	}
	r.put([]*postbox.Publish{sentJustNow(3, 300, 10)}, now.Add(2*recentAge))
	if _, there := r.take(indexStretch{conversation: 3, after: 299, count: 1}, nil); !there {
		t.Error("what nobody has asked for keeps all room")
	}
}
