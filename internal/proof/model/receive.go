package model

import (
	"math/rand/v2"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// delivered takes a PUBLISH of the server.
func (c *conn) delivered(pk packets.Packet) {
	d, w := c.d, c.w
	if pk.TopicName != d.inbox() || pk.FixedHeader.Retain {
		w.fail("nobody else's inbox", "%v got a delivery on %q, retain %v", d, pk.TopicName, pk.FixedHeader.Retain)
		return
	}
	e, err := parse(pk, c.inst != nil && (c.inst.opts.raw || c.inst.maybe) && propertyOf(pk, "content-type") != "" && pk.Properties.ContentType != "application/json")
	if err != nil {
		w.fail("envelope", "%v: %v in %.200q", d, err, pk.Payload)
		return
	}
	if e.Type == "error" {
		c.told(e)
		return
	}
	i := c.inst
	switch {
	case i == nil:
		w.fail("delivered without a subscription", "%v: %d came", d, e.InboxSeq)
	case i.maybe:
		// It may be that of a SUBSCRIBE that was not answered: not judged.
	case pk.FixedHeader.Qos != i.opts.qos:
		w.fail("envelope", "%v: %d came at QoS %d, granted was %d", d, e.InboxSeq, pk.FixedHeader.Qos, i.opts.qos)
	case e.Epoch != w.epoch:
		w.fail("envelope", "%v: epoch %q, want %q", d, e.Epoch, w.epoch)
	case e.Type == "gap":
		c.gap(e, pk)
	case e.Type == "message":
		c.entry(e, pk)
	default:
		w.fail("envelope", "%v: type %q", d, e.Type)
	}
}

// entry judges the delivery of a message.
func (c *conn) entry(e envelope, pk packets.Packet) {
	d, w, i := c.d, c.w, c.inst
	n, after := e.InboxSeq, e.after()
	w.note("%v gets %d after %d, dup %v, %s", d, n, after, pk.FixedHeader.Dup, e.ID)
	w.count("deliveries")
	if i.opts.qos > 0 && pk.PacketID != packetID(n) {
		w.fail("packet id", "%v: %d came with packet id %d, want %d", d, n, pk.PacketID, packetID(n))
	}
	if after >= n {
		w.fail("order", "%v: %d came as the one after %d", d, n, after)
		return
	}
	if i.atEnd && !i.started {
		w.inquiry.claims = append(w.inquiry.claims, claim{d: d, kind: new_, from: n - 1, to: n, at: i.asked})
	}
	if !c.follows(n, after) {
		return
	}
	c.spared(after, n-1)
	c.judgeDup(n, pk.FixedHeader.Dup)
	i.last = n
	c.judgeContent(e, pk)
	w.inquiry.told = append(w.inquiry.told, told{d.user, n, e.ID, e.Seq, e.Body != nil, i.asked})
	c.took(n, n-1, pk.PacketID)
}

// follows judges whether a delivery may come now: the first one where the
// device is, each other one after the last.
func (c *conn) follows(n, after int64) bool {
	d, w, i, p := c.d, c.w, c.inst, &c.d.pos
	if i.started {
		switch {
		case n <= i.last:
			w.fail("order", "%v: %d came after %d", d, n, i.last)
		case after > i.last:
			w.fail("silent gap", "%v: %d says that nothing is due up to %d, the last one was %d", d, n, after, i.last)
		case after < i.last:
			w.fail("order", "%v: %d says that something is due after %d, the last one was %d", d, n, after, i.last)
		}
		return w.found == nil
	}
	if after < i.least {
		w.fail("delivered again", "%v: a subscription begins after %d, though all up to %d was acknowledged before: %+v", d, after, i.least, *p)
		return false
	}
	if after > p.hi && !p.loose {
		w.inquiry.claims = append(w.inquiry.claims, claim{
			d: d, kind: passed, from: p.hi, to: after, before: p.before, noLocal: p.noLocal, at: time.Now(),
		})
	}
	i.started, i.base, i.last, i.acked = true, after, after, after
	p.lo, p.hi, p.before = after, max(p.hi, after), time.Time{}
	p.loose, p.noLocal = i.opts.qos == 0, i.opts.noLocal
	return true
}

// spared claims that the device does without what lies after from, up to to.
func (c *conn) spared(from, to int64) {
	if to > from {
		c.w.inquiry.claims = append(c.w.inquiry.claims, claim{
			d: c.d, kind: passed, from: from, to: to, noLocal: c.inst.opts.noLocal, at: time.Now(),
		})
	}
}

// gap judges the news that entries cannot be had.
func (c *conn) gap(e envelope, pk packets.Packet) {
	d, w, i := c.d, c.w, c.inst
	after := e.after()
	if e.AfterField == nil {
		after = 0
	}
	w.note("%v is told of a gap: %s, after %d, next %d", d, e.Code, after, e.Next)
	w.count("gaps told")
	if e.Code != "expired" || e.Next <= after+1 {
		w.fail("gap", "%v: %+v", d, e)
		return
	}
	if !c.follows(e.Next, after) {
		return
	}
	if i.opts.qos > 0 && pk.PacketID <= entryIDs {
		w.fail("packet id", "%v: a gap before %d came with packet id %d, which is that of an entry", d, e.Next, pk.PacketID)
	}
	w.inquiry.claims = append(w.inquiry.claims, claim{
		d: d, kind: lost, from: after, to: e.Next - 1, noLocal: i.opts.noLocal, at: time.Now(),
	})
	i.last = e.Next - 1
	c.took(e.Next-1, after, pk.PacketID)
}

// took keeps a delivery until it is acknowledged.
func (c *conn) took(n, floor int64, id uint16) {
	d, w, i := c.d, c.w, c.inst
	if i.opts.qos == 0 || w.found != nil {
		return
	}
	o := delivered{n: n, id: id, floor: floor}
	if n <= i.unsure && id <= entryIDs {
		o.ack = maybe
	}
	i.out = append(i.out, o)
	d.pos.advance(i.most())
	if open := i.open(); open > c.window {
		w.fail("window", "%v: %d deliveries are unacknowledged, allowed are %d", d, open, c.window)
	}
	switch {
	case c.closing: // nothing may follow DISCONNECT
	case c.acks == ackAtOnce, c.acks == ackInPairs && c.window < 2:
		c.acknowledgeAll()
	case c.acks == ackInPairs && i.open() > 1:
		for k := len(i.out) - 1; k >= 0 && len(i.out) > 0; k-- {
			if k < len(i.out) && i.out[k].ack != yes {
				c.acknowledge(k)
			}
		}
	}
}

// judgeDup: the first window of a resumed session has DUP, what is sent for
// the first time has not (docs/spec.md §6).
func (c *conn) judgeDup(n int64, dup bool) {
	i := c.inst
	window := int64(min(c.window, 1024))
	switch {
	case i.opts.qos == 0 && dup,
		dup && n > i.base+window,
		dup && i.atEnd:
		c.w.fail("DUP", "%v: %d came with DUP; the subscription began after %d, window %d, resumed %v", c.d, n, i.base, window, i.resumed)
	case i.opts.qos > 0 && !dup && i.resumed && n <= i.base+window:
		c.w.fail("DUP", "%v: %d came without DUP; the session was resumed after %d, window %d", c.d, n, i.base, window)
	}
}

// judgeContent compares a delivery with what was said.
func (c *conn) judgeContent(e envelope, pk packets.Packet) {
	d, w := c.d, c.w
	own := e.From == d.user
	if own && c.inst.opts.noLocal && e.Device == d.name {
		w.fail("No Local", "%v: %d is its own message", d, e.InboxSeq)
	}
	if !own && (e.Key != "" || e.Device != "") {
		w.fail("envelope", "%v: %d from %s shows key %q and device %q", d, e.InboxSeq, e.From, e.Key, e.Device)
	}
	if c.version == 5 && c.inst.opts.identifier > 0 &&
		(len(pk.Properties.SubscriptionIdentifier) != 1 || pk.Properties.SubscriptionIdentifier[0] != c.inst.opts.identifier) {
		w.fail("envelope", "%v: subscription identifier %v, want %d", d, pk.Properties.SubscriptionIdentifier, c.inst.opts.identifier)
	}
	if e.Body == nil {
		if !e.Expired {
			w.fail("envelope", "%v: %d has no body and has not expired", d, e.InboxSeq)
		}
		return
	}
	x := w.book.of(*e.Body)
	switch {
	case x == nil:
		w.fail("envelope", "%v: nobody has said %.60q", d, *e.Body)
	case x.sender != e.From:
		w.fail("true sender", "%v: %d is from %s, not from %s", d, e.InboxSeq, x.sender, e.From)
	case x.to != e.To || x.ref != string(e.Ref) || x.ctype != "" && x.ctype != e.ContentType || own && x.key != e.Key:
		w.fail("envelope", "%v: %d is %+v, want %+v", d, e.InboxSeq, e, *x)
	}
}

// ackSome acknowledges some of what came: in order, some, any of them, or late.
func (c *conn) ackSome(r *rand.Rand) {
	i, d := c.inst, c.d
	if i == nil || i.maybe || !i.started || i.opts.qos == 0 {
		return
	}
	switch r.IntN(6) {
	case 0:
		for range r.IntN(5) {
			if len(i.out) > 0 {
				if k := r.IntN(len(i.out)); i.out[k].ack != yes {
					c.acknowledge(k)
				}
			}
		}
	case 1: // what came on an earlier connection, or subscription
		var late []packets.Packet
		for _, n := range d.stale {
			i.unsure = max(i.unsure, n)
			for k := range i.out {
				if i.out[k].n <= i.unsure && i.out[k].id <= entryIDs && i.out[k].ack == no {
					i.out[k].ack = maybe
				}
			}
			late = append(late, packet(packets.Puback, packetID(n)))
		}
		if len(late) > 0 {
			c.w.note("%v acknowledges late: %v", d, d.stale)
			c.w.count("late acknowledgements")
			d.stale = nil
			d.pos.advance(i.most())
			c.put(late...)
		}
	case 2, 3:
		for range r.IntN(8) {
			if k := i.unacknowledged(); k >= 0 {
				c.acknowledge(k)
			}
		}
	default:
		c.acknowledgeAll()
	}
}
