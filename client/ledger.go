package client

import (
	"sync"

	"postbox"
)

// ledger knows what of the inbox has arrived and what of it is acknowledged.
//
// An entry arrives once for the program, and once more on each connection
// until its acknowledgement has gone out. Acknowledgements go out in the order
// of arrival on their connection [MQTT-4.6.0-2], whatever the order in which
// the program gives them.
type ledger struct {
	// sending is held while acknowledgements go out, which keeps their order;
	// it is taken before mu, and never held by a caller that holds mu.
	sending sync.Mutex

	mu sync.Mutex
	// conn is the connection whose arrivals are in queue; others are ignored.
	conn *link
	// queue is what of conn is not acknowledged on the wire, as it arrived.
	queue []arrival
	// open is what the program has and has not acknowledged.
	open map[postbox.InboxSeq]*item
	// items is open as it arrived, with acknowledged ones in between.
	items []*item
	// at is the place behind the newest item; its epoch is empty until one
	// has arrived.
	at postbox.Position
	// moved is told when resume may say something else.
	moved chan struct{}
}

// arrival is one PUBLISH and the item it brought.
type arrival struct {
	ack func() // sends the PUBACK
	*item
}

// item is something that the program has to acknowledge.
type item struct {
	seq    postbox.InboxSeq // as in open; 0: not numbered
	before postbox.Position
	acked  bool
}

func newLedger() *ledger {
	return &ledger{open: make(map[postbox.InboxSeq]*item), moved: make(chan struct{}, 1)}
}

// start is told where the inbox begins for this client, unless something has
// arrived already.
func (g *ledger) start(at postbox.Position) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at.Epoch == "" {
		g.at = at
	}
}

// begin starts a connection: what follows is numbered anew by it.
func (g *ledger) begin(conn *link) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn, g.queue = conn, nil
}

// skip notes an arrival that is not for the program. The caller flushes.
func (g *ledger) skip(conn *link, ack func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.push(conn, ack, &item{acked: true})
}

// arrived notes an entry or a gap. fresh is true when the program does not
// have it yet; jumped when entries are missing before it that the server did
// not account for. The caller flushes.
func (g *ledger) arrived(conn *link, ack func(), e *Envelope) (it *item, fresh, jumped bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conn != conn {
		return nil, false, false
	}
	place := e.Position()
	if place.Seq == 0 && e.Type != TypeGap { // a type of envelope that takes no number
		it = &item{before: g.at}
		g.items = append(g.items, it)
		g.push(conn, ack, it)
		return it, true, false
	}
	known := g.at.Epoch == place.Epoch
	if known && place.Seq <= g.at.Seq {
		it = g.open[place.Seq]
		if it == nil { // acknowledged, but the server does not know
			it = &item{acked: true}
		}
		g.push(conn, ack, it)
		return it, false, false
	}
	it = &item{seq: place.Seq, before: g.at}
	if !known {
		clear(g.open) // numbers of another epoch say nothing in this one
	}
	// Behind a change of epoch an entry continues its own; a gap is asked for
	// again from the old place, which makes the server announce it again.
	if !known && (e.Type != TypeGap || g.at.Epoch == "") {
		it.before = postbox.Position{Epoch: place.Epoch, Seq: min(e.After, max(place.Seq-1, 0))}
	}
	jumped = known && e.Type != TypeGap && e.After > g.at.Seq
	g.at = place
	g.open[place.Seq] = it
	g.items = append(g.items, it)
	g.push(conn, ack, it)
	return it, true, jumped
}

func (g *ledger) push(conn *link, ack func(), it *item) {
	if g.conn == conn {
		g.queue = append(g.queue, arrival{ack, it})
	}
}

// acknowledge is the program's acknowledgement.
func (g *ledger) acknowledge(it *item) {
	g.mu.Lock()
	it.acked = true
	if g.open[it.seq] == it {
		delete(g.open, it.seq)
	}
	for len(g.items) > 0 && g.items[0].acked {
		g.items = g.items[1:]
	}
	g.mu.Unlock()
	tell(g.moved)
	g.flush()
}

// flush sends the acknowledgements that are due. It waits for the network for
// as long as one write may take.
func (g *ledger) flush() {
	g.sending.Lock()
	defer g.sending.Unlock()
	for {
		g.mu.Lock()
		if len(g.queue) == 0 || !g.queue[0].acked {
			g.mu.Unlock()
			return
		}
		next := g.queue[0]
		g.queue = g.queue[1:]
		g.mu.Unlock()
		next.ack()
	}
}

// resume is the place to continue from when the server has forgotten the
// session: behind all that the program has acknowledged without a hole. It is
// false before anything has arrived.
func (g *ledger) resume() (postbox.Position, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	place := g.at
	if len(g.items) > 0 {
		place = g.items[0].before
	}
	return place, place.Epoch != ""
}

// unacknowledged is how many deliveries wait for the program's Ack.
func (g *ledger) unacknowledged() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, it := range g.items {
		if !it.acked {
			n++
		}
	}
	return n
}
