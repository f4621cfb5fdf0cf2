package web

import (
	"strconv"
	"sync"
	"time"

	"postbox"
	"postbox/inbox"
)

// maxStreamBuffer bounds what waits for a peer. While there is more the
// subscription waits, and what it then missed it reads from the database.
const maxStreamBuffer = 64 << 10

// comment keeps a quiet stream open.
var comment = []byte(":\n\n")

// outlet is a stream as delivery sees it: an inbox.Outlet that gathers events
// until the peer has taken those before.
type outlet struct {
	epoch postbox.Epoch
	news  chan struct{} // holds a token when something was flushed

	mu     sync.Mutex // guards all below; taken after a mailbox's
	events []byte
	ids    []uint16 // packet ids of the deliveries among events
	spare  []byte
}

func newOutlet(epoch postbox.Epoch) *outlet {
	return &outlet{epoch: epoch, news: make(chan struct{}, 1)}
}

// take returns the events that wait, and the packet ids to be acknowledged when
// they are written. They are the caller's until the next call.
func (o *outlet) take() ([]byte, []uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	events, ids := o.events, o.ids
	o.events, o.ids = o.spare[:0], nil
	o.spare = events
	if cap(events) > 2*maxStreamBuffer {
		o.spare = nil
	}
	return events, ids
}

// position gives the peer a number to come back with before the first event: an
// event without data, which nobody is shown.
func (o *outlet) position(n postbox.InboxSeq) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.id(o.events, n), '\n')
}

// id appends the line that names an event.
func (o *outlet) id(dst []byte, n postbox.InboxSeq) []byte {
	dst = append(dst, "id: "...)
	dst = append(dst, o.epoch...)
	dst = append(dst, ':')
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '\n')
}

// Deliver implements inbox.Outlet.
func (o *outlet) Deliver(d inbox.Delivery) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.id(o.events, d.Entry.InboxSeq), "data: "...)
	began := len(o.events)
	o.events = postbox.AppendEnvelope(o.events, d.Entry, postbox.View{Epoch: o.epoch, After: d.After, Now: time.Now()})
	oneLine(o.events[began:])
	o.events = append(o.events, "\n\n"...)
	o.ids = append(o.ids, d.Entry.InboxSeq.PacketID())
	return true
}

// Signal implements inbox.Listener: an event of its own kind and without an id,
// since nobody comes back to it. A peer that takes nothing now does without.
func (o *outlet) Signal(payload []byte, s *postbox.Signal) {
	kind := "delivered"
	if s != nil {
		kind = "signal"
	}
	o.mu.Lock()
	full := len(o.events) >= maxStreamBuffer
	if !full {
		o.events = append(append(append(o.events, "event: "...), kind...), "\ndata: "...)
		o.events = append(append(o.events, payload...), "\n\n"...)
	}
	o.mu.Unlock()
	if !full {
		o.Flush()
	}
}

// Gap implements inbox.Outlet.
func (o *outlet) Gap(code postbox.Code, after, next postbox.InboxSeq, packetID uint16) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.id(o.events, next-1), "data: "...)
	o.events = postbox.AppendGap(o.events, o.epoch, code, after, next)
	o.events = append(o.events, "\n\n"...)
	o.ids = append(o.ids, packetID)
	return true
}

// oneLine takes the line ends out of JSON: they can only be in a ref, where the
// app has white space.
func oneLine(b []byte) {
	for i, c := range b {
		if c == '\n' || c == '\r' {
			b[i] = ' '
		}
	}
}

// Flush implements inbox.Outlet.
func (o *outlet) Flush() {
	select {
	case o.news <- struct{}{}:
	default:
	}
}

// Ready implements inbox.Outlet.
func (o *outlet) Ready() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.events) < maxStreamBuffer
}
