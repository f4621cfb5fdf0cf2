package model

import (
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// instance is one subscription to the inbox, from its SUBACK, or from the
// CONNACK of a resumed session, to its end.
type instance struct {
	opts    options
	resumed bool      // of a session: its first window has DUP
	maybe   bool      // it may not exist: what comes is not judged
	asked   time.Time // CONNECT or SUBSCRIBE was sent
	granted time.Time
	atEnd   bool  // it must begin at the end of the inbox
	least   int64 // it must not begin before this number: known before it was asked for

	started bool
	base    int64 // it began after this number
	last    int64 // number of the last delivery
	acked   int64 // all up to here is acknowledged
	out     []delivered
	unsure  int64 // the highest number acknowledged late: for an earlier instance
}

// delivered is a delivery that is not acknowledged, or not in order.
type delivered struct {
	n     int64
	id    uint16 // packet id
	floor int64  // where the cursor stays without its acknowledgement
	ack   truth  // maybe: by a late one, which the server may not have expected
}

// entryIDs are the packet ids of numbered deliveries, from 1; others have those
// above.
const entryIDs = 60_000

// packetID is the packet id of a delivery (docs/spec.md §6).
func packetID(n int64) uint16 { return uint16((n-1)%entryIDs + 1) }

// affect notes what a new instance does to a position before its first delivery.
func (i *instance) affect(p *position) {
	p.noLocal = p.noLocal || i.opts.noLocal || i.maybe
	p.loose = p.loose || i.opts.qos == 0 || i.maybe
}

// sure is the number up to which all is acknowledged; -1 if that is not known.
func (i *instance) sure() int64 {
	if !i.started || i.opts.qos == 0 || i.maybe {
		return -1
	}
	return i.acked
}

// most is the number up to which the server may count all as acknowledged.
func (i *instance) most() int64 {
	for _, o := range i.out {
		if o.ack == no {
			return o.floor
		}
	}
	return max(i.last, i.unsure)
}

// acknowledge sends a PUBACK for out[k].
func (c *conn) acknowledge(k int) {
	i := c.inst
	i.out[k].ack = yes
	id := i.out[k].id
	for _, a := range c.asks { // the server may come to this after that
		a.late = max(a.late, i.out[k].n)
	}
	n := 0
	for n < len(i.out) && i.out[n].ack == yes {
		i.acked = i.out[n].n
		n++
	}
	i.out = i.out[n:]
	c.d.pos.advance(i.most())
	c.w.note("%v acknowledges id %d", c.d, id)
	c.put(packet(packets.Puback, id))
}

// acknowledgeAll sends a PUBACK for all that came, in order.
func (c *conn) acknowledgeAll() {
	for c.inst != nil && !c.inst.maybe {
		k := c.inst.unacknowledged()
		if k < 0 {
			return
		}
		c.acknowledge(k)
	}
}

// unacknowledged is the index of the first delivery without an acknowledgement
// that counts; -1 if there is none.
func (i *instance) unacknowledged() int {
	for k, o := range i.out {
		if o.ack != yes {
			return k
		}
	}
	return -1
}

// open counts deliveries that were not acknowledged at all.
func (i *instance) open() (n int) {
	for _, o := range i.out {
		if o.ack == no {
			n++
		}
	}
	return n
}

// keepStale keeps the numbers that an instance leaves unacknowledged, for late
// acknowledgements.
func (d *device) keepStale(i *instance) {
	if i.opts.qos == 0 || i.maybe {
		return
	}
	d.stale = d.stale[:0]
	for _, o := range i.out {
		if o.ack == no && o.id <= entryIDs {
			d.stale = append(d.stale, o.n)
		}
	}
	d.stale = d.stale[:min(len(d.stale), 20)]
}
