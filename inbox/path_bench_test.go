package inbox

import (
	"context"
	"sync/atomic"
	"testing"

	"postbox"
)

// numbering is a database that takes no time: it only hands out numbers.
type numbering struct{ last postbox.InboxSeq }

func (n *numbering) Append(_ context.Context, b *postbox.Batch) error {
	for _, p := range b.Publishes {
		n.last++
		p.Message.Seq = postbox.Seq(n.last)
		p.InboxSeq = n.last
		p.InboxSeqs = append(p.InboxSeqs[:0], n.last)
	}
	return nil
}

func (n *numbering) Change(context.Context, *postbox.Change) error { return nil }

func (n *numbering) Decide(context.Context, *postbox.Change) error { return nil }

func (n *numbering) Routes(_ context.Context, keys []postbox.RouteKey) ([]postbox.Route, error) {
	return []postbox.Route{{Conversation: 1, Recipients: []postbox.UserID{bob}}}, nil
}

func (n *numbering) Head(context.Context, postbox.UserID) (postbox.InboxSeq, error) { return 0, nil }

func (n *numbering) Entries(context.Context, postbox.UserID, postbox.InboxSeq, postbox.InboxSeq, int) ([]*postbox.Entry, error) {
	return nil, nil
}

func (n *numbering) SaveCursors(context.Context, []postbox.CursorSave) error { return nil }

// sink is a sender and a device that take everything.
type sink struct {
	room      chan struct{}
	settled   atomic.Int64
	delivered atomic.Int64
}

func (s *sink) Settled(*Draft) { s.settled.Add(1); <-s.room }
func (s *sink) Flush()         {}
func (s *sink) Ready() bool    { return true }
func (s *sink) Deliver(Delivery) bool {
	s.delivered.Add(1)
	return true
}

func (s *sink) Gap(postbox.Code, postbox.InboxSeq, postbox.InboxSeq, uint16) bool { return true }

// BenchmarkPath is the way of a message through this package, with 256 on their
// way and one device that gets them, beside a database that takes no time.
func BenchmarkPath(b *testing.B) {
	n := &numbering{}
	hub := NewHub(n, "e", quiet())
	hub.Start()
	lane := NewLane(LaneOptions{Appender: n, Router: n, Hub: hub, Logger: quiet()})
	lane.Start(b.Context())
	s := &sink{room: make(chan struct{}, 256)}
	device, err := hub.Subscribe(b.Context(), Device{User: bob}, Start{AtEnd: true}, s)
	if err != nil {
		b.Fatal(err)
	}
	device.Resume()
	drafts := make([]Draft, b.N)
	messages := make([]postbox.Message, b.N)
	seqs := make([]postbox.InboxSeq, b.N)
	for i := range drafts {
		messages[i] = postbox.Message{Sender: alice, To: "bob", Body: []byte("hello")}
		drafts[i] = Draft{Origin: s, To: "bob", Publish: postbox.Publish{Message: &messages[i], InboxSeqs: seqs[i : i : i+1]}}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range drafts {
		s.room <- struct{}{}
		if err := lane.Submit(&drafts[i]); err != nil {
			b.Fatal(err)
		}
	}
	if err := lane.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if err := lane.Shutdown(context.Background()); err != nil {
		b.Fatal(err)
	}
	if err := hub.Shutdown(context.Background()); err != nil {
		b.Fatal(err)
	}
	if d := s.delivered.Load(); d != int64(b.N) {
		b.Errorf("delivered %d of %d", d, b.N)
	}
}
