package model

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// request is a SUBSCRIBE or UNSUBSCRIBE on its way.
type request struct {
	inbox bool // the inbox is among its filters
	ends  bool // UNSUBSCRIBE
	opts  options
	since int64  // -1: none
	codes []byte // what must be answered
	late  int64  // the highest number acknowledged since
	at    time.Time
	sure  int64 // acknowledged before it, which the server then knows
	least int64 // what the server knew then to be acknowledged
	pos   int   // generation of the position at that time
}

// subscribeBy subscribes to the inbox: anew, again with the same options or
// others, at the end or at a position.
func (c *conn) subscribeBy(r *rand.Rand) {
	d := c.d
	a := &request{inbox: true, since: -1, at: time.Now()}
	asked := byte(1)
	switch r.IntN(10) {
	case 0:
		asked = 0
	case 1:
		asked = 2
	}
	if r.IntN(4) == 0 && c.inst != nil {
		a.opts, asked = c.inst.opts, c.inst.opts.qos
	} else {
		a.opts = options{qos: min(asked, 1)}
		if d.version == 5 {
			a.opts.noLocal, a.opts.raw, a.opts.identifier = r.IntN(5) < 2, r.IntN(10) < 3, r.IntN(3)
		}
	}
	pk := packet(packets.Subscribe, 0)
	if r.IntN(4) == 0 {
		back := 40
		if r.IntN(6) == 0 {
			back = 2000 // many pages, and beyond what was removed
		}
		a.since = max(0, c.w.mirror.head(d.user)-int64(r.IntN(back)))
		text := d.positionText(a.since, r.IntN(2) == 0)
		switch {
		case d.version == 5 && r.IntN(2) == 0:
			pk.Properties.User = append(pk.Properties.User, packets.UserProperty{Key: "since", Val: text})
		case r.IntN(3) == 0: // in a SUBSCRIBE of its own
			first := &request{since: a.since, at: a.at, codes: []byte{0}}
			control := packet(packets.Subscribe, 0)
			control.Filters = packets.Subscriptions{{Filter: d.since(text)}}
			if !c.ask(first, control) {
				return
			}
			a.since = -1
		default:
			pk.Filters = append(pk.Filters, packets.Subscription{Filter: d.since(text), Qos: 1})
			a.codes = append(a.codes, 1)
		}
	}
	if a.opts.raw {
		pk.Properties.User = append(pk.Properties.User, packets.UserProperty{Key: "form", Val: "raw"})
	}
	pk.Properties.SubscriptionIdentifier = nil
	if a.opts.identifier > 0 {
		pk.Properties.SubscriptionIdentifier = []int{a.opts.identifier}
	}
	pk.Filters = append(pk.Filters, packets.Subscription{Filter: d.inbox(), Qos: asked, NoLocal: a.opts.noLocal, Identifier: a.opts.identifier})
	a.codes = append(a.codes, min(asked, 1))
	if r.IntN(25) == 0 {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: []string{"inbox/+", "inbox/" + c.w.otherThan(d.user, r), "#"}[r.IntN(3)], Qos: 1})
		a.codes = append(a.codes, forbidden(d.version))
	}
	c.ask(a, pk)
}

// forbidden is the code of SUBACK for a filter that is not allowed.
func forbidden(version byte) byte {
	if version == 5 {
		return 0x87
	}
	return 0x80
}

func (c *conn) unsubscribe() {
	if c.inst == nil {
		return
	}
	pk := packet(packets.Unsubscribe, 0)
	pk.Filters = packets.Subscriptions{{Filter: c.d.inbox()}}
	c.ask(&request{inbox: true, ends: true, since: -1, at: time.Now()}, pk)
}

// ask sends a SUBSCRIBE or UNSUBSCRIBE and waits for its answer.
func (c *conn) ask(a *request, pk packets.Packet) bool {
	if c.frozen || c.over || c.closing {
		return false
	}
	d := c.d
	pk.PacketID = d.nextID()
	a.sure, a.least, a.pos = -1, d.pos.lo, d.pos.generation
	if c.inst != nil {
		a.sure = c.inst.sure()
	}
	c.asks[pk.PacketID] = a
	if a.inbox {
		d.session.subKnown = false
	}
	c.w.note("%v asks %+v", d, *a)
	c.put(pk)
	c.w.until(fmt.Sprintf("the answer to a SUBSCRIBE or UNSUBSCRIBE of %v", d), func() bool {
		return c.asks[pk.PacketID] != a || c.over
	})
	return !c.over && c.w.ctx.Err() == nil
}

// granted takes a SUBACK or UNSUBACK.
func (c *conn) granted(pk packets.Packet) {
	d := c.d
	a := c.asks[pk.PacketID]
	if a == nil {
		c.w.fail("subscription", "%v: an answer to SUBSCRIBE with id %d, which was not asked", d, pk.PacketID)
		return
	}
	delete(c.asks, pk.PacketID)
	if !a.ends && !bytes.Equal(pk.ReasonCodes, a.codes) {
		c.w.fail("subscription", "%v: SUBACK %v, want %v for %+v", d, pk.ReasonCodes, a.codes, *a)
		return
	}
	switch {
	case !a.inbox:
		c.since = a.since
	case a.ends:
		c.left = c.left || c.inst != nil && !c.inst.maybe
		c.end(a)
		d.session.sub, d.session.subKnown = nil, true
	default:
		c.begin(a)
		d.session.sub, d.session.subKnown = &a.opts, true
		d.session.fresh = no
	}
	c.w.note("%v is answered %+v, position %+v", d, *a, d.pos)
}

// end ends the present instance. The server has read what was acknowledged
// before the request.
func (c *conn) end(a *request) {
	if c.inst == nil {
		return
	}
	if a.pos == c.d.pos.generation {
		c.d.pos.raise(a.sure)
	}
	c.d.keepStale(c.inst)
	c.inst = nil
}

// begin begins a new instance, or lets the present one go on.
func (c *conn) begin(a *request) {
	d := c.d
	since := a.since
	if since < 0 {
		since = c.since
	}
	c.since = -1
	had := c.inst
	if had != nil && (since < 0 || c.present) {
		if had.opts == a.opts {
			return // a library's automatic re-subscribe
		}
		since = -1
	}
	c.end(a)
	i := &instance{opts: a.opts, asked: a.at, granted: time.Now(), unsure: a.late}
	switch {
	case since >= 0:
		d.pos.replace(since, time.Time{})
	case had == nil && !c.left && (c.session == 0 || d.session.fresh != no):
		i.atEnd = c.session == 0 || d.session.fresh == yes
		d.pos.replace(0, i.granted)
	}
	if i.least = d.pos.lo; d.pos.generation == a.pos {
		i.least = max(a.least, a.sure)
	}
	i.affect(&d.pos)
	c.inst = i
}

// unheard allows for a request of which it is not known whether it was heard.
func (c *conn) unheard(a *request) {
	d := c.d
	if !a.inbox || a.ends {
		return
	}
	since := a.since
	if since < 0 {
		since = c.since
	}
	switch {
	case since >= 0:
		d.pos.widen(since, time.Time{})
	case d.session.fresh != no && !c.left:
		d.pos.widen(0, time.Now())
	}
	if d.session.fresh == yes {
		d.session.fresh = maybe
	}
	a.opts.affect(&d.pos)
}

func (o options) affect(p *position) { (&instance{opts: o}).affect(p) }

// otherThan picks another user.
func (w *world) otherThan(user string, r *rand.Rand) string {
	for {
		if u := w.users[r.IntN(len(w.users))]; u != user {
			return u
		}
	}
}

// subscribePacket subscribes to the inbox at QoS 1, with nothing more.
func (d *device) subscribePacket() packets.Packet {
	pk := packet(packets.Subscribe, 0)
	pk.Filters = packets.Subscriptions{{Filter: d.inbox(), Qos: 1}}
	return pk
}
