package web

import (
	"bytes"
	"testing"

	"postbox"
	"postbox/inbox"
)

// What waits for a peer is bounded: the outlet says when it has enough, and when
// it would take more again.
func TestOutletIsBounded(t *testing.T) {
	t.Parallel()
	o := newOutlet("k3f9")
	deliver := func(n int) {
		m := &postbox.Message{From: "alice", To: "bob", Seq: postbox.Seq(n), Body: bytes.Repeat([]byte("x"), 1000)}
		if !o.Deliver(inbox.Delivery{Entry: &postbox.Entry{InboxSeq: postbox.InboxSeq(n), Message: m}}) {
			t.Fatal("an entry is refused")
		}
	}
	for round := range 3 {
		n := 0
		for o.Ready() {
			n++
			deliver(n)
		}
		o.Flush()
		o.Flush() // does not wait
		<-o.news
		events, ids := o.take()
		if len(ids) != n || len(events) > maxStreamBuffer+2000 || len(events) < maxStreamBuffer {
			t.Errorf("round %d: %d deliveries of %d, %d bytes", round, len(ids), n, len(events))
		}
		if !o.Ready() {
			t.Errorf("round %d: not ready when all is taken", round)
		}
		// What was taken is the caller's until the next call, whatever comes.
		kept := bytes.Clone(events)
		deliver(n + 1)
		if !bytes.Equal(kept, events) {
			t.Errorf("round %d: what was taken has changed", round)
		}
		if last, _ := o.take(); len(last) == 0 {
			t.Errorf("round %d: the next one is missing", round)
		}
	}
}
