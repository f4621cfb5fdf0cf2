package model

import (
	"math/rand/v2"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// mostPending bounds the publishes of a device that are not completed.
const mostPending = 60

// mostHistory bounds what is remembered of the use of one packet id.
const mostHistory = 16

// sendSome publishes a few messages at once.
func (c *conn) sendSome(r *rand.Rand) {
	var out []packets.Packet
	ticks := r.IntN(5) == 0
	for range 1 + r.IntN(10) {
		if len(c.d.pending) >= mostPending {
			break
		}
		qos := [...]byte{0, 1, 1, 1, 1, 2, 2, 2}[r.IntN(8)]
		x := c.d.newText(r, qos)
		if ticks {
			x, qos = c.d.theTick(r), max(qos, 1)
		}
		out = append(out, c.publish(x, qos, r.IntN(2) == 0))
	}
	c.put(out...)
}

// repeatKey publishes under a key that a device of the user has used before:
// the same again, which is a duplicate, or something else, which is a conflict.
func (c *conn) repeatKey(r *rand.Rand) {
	d := c.d
	var out []packets.Packet
	for range 1 + r.IntN(4) {
		recent := c.w.book.recent[d.user]
		if len(recent) == 0 || len(d.pending) >= mostPending {
			break
		}
		x := recent[r.IntN(len(recent))]
		if r.IntN(5) < 2 || d.version < 5 && (x.expiry > 0 || x.ref != "" || x.ctype != "") {
			x = d.variant(x, r)
		}
		out = append(out, c.publish(x, byte(1+r.IntN(2)), r.IntN(2) == 0))
	}
	c.put(out...)
}

// publish makes a new publish of a text. It returns its packet.
func (c *conn) publish(x *text, qos byte, property bool) packets.Packet {
	d := c.d
	c.w.book.publishes++
	p := &publish{
		text: x, n: c.w.book.publishes, d: d, qos: qos, first: c, session: c.session, at: time.Now(),
		topic: x.topicOf(property && d.version == 5),
	}
	x.all++
	if x.key == "" && !x.tick {
		x.only = p
	}
	if x.sent.IsZero() {
		x.sent = p.at
	}
	if qos > 0 {
		p.id = d.freeID()
		d.ids[p.id] = p
		history := append(d.history[p.id], p)
		d.history[p.id] = history[max(0, len(history)-mostHistory):]
		d.pending = append(d.pending, p)
	}
	c.w.count("publishes")
	return c.send(p, false)
}

// send notes an attempt of a publish and returns its packet.
func (c *conn) send(p *publish, dup bool) packets.Packet {
	p.sends++
	if dup {
		p.dups++
		c.w.count("re-sends")
	}
	if p.session != c.session {
		p.session = 0
	}
	c.sent++
	if n := len(p.places); n == 0 || p.places[n-1].c != c {
		p.places = append(p.places, place{c, c.sent})
	}
	if p.qos == 0 {
		p.phase = done
		c.silent = append(c.silent, p)
		if p.key == "" {
			c.quiet = append(c.quiet, p)
		}
	} else {
		p.waiting++
		c.due = append(c.due, due{p, c.quiet})
		c.quiet = nil
	}
	c.w.note("%v publishes %d: id %d, qos %d, dup %v, %s %q", c.d, p.n, p.id, p.qos, dup, p.topic, p.body[:min(len(p.body), 24)])
	pk := packet(packets.Publish, p.id)
	pk.FixedHeader.Qos, pk.FixedHeader.Dup = p.qos, dup
	pk.TopicName, pk.Payload = p.topic, []byte(p.whole())
	if c.version < 5 {
		return pk
	}
	pr := &pk.Properties
	pr.ContentType, pr.MessageExpiryInterval = p.ctype, p.expiry
	if p.ref != "" {
		pr.User = append(pr.User, packets.UserProperty{Key: "ref", Val: p.ref})
	}
	if p.key != "" && p.topic == "inbox/"+p.to {
		pr.User = append(pr.User, packets.UserProperty{Key: "idempotency-key", Val: p.key})
	}
	return pk
}

// sendPending deals with what was not answered on the last connection: most
// clients send it again with DUP, some as if it were new, some forget it.
func (d *device) sendPending(c *conn, r *rand.Rand) {
	forget, anew := r.IntN(7) == 0 && !d.w.settling, r.IntN(4) == 0
	var out []packets.Packet
	for _, p := range append([]*publish(nil), d.pending...) {
		switch {
		case p.phase == received || p.phase == released:
			if !c.present {
				p.end(done) // the session that knew of it is gone
				continue
			}
			out = append(out, c.release(p))
		case p.replied: // once, of two answers
			p.end(done)
		case forget:
			c.w.note("%v gives %d up", d, p.n)
			p.end(given)
		case anew && (p.key != "" || p.qos == 2 && p.session != 0 && p.session == c.session && c.present):
			c.w.count("re-sends without DUP")
			out = append(out, c.send(p, false))
		default:
			out = append(out, c.send(p, true))
		}
	}
	c.put(out...)
}

// sendAgain sends unanswered publishes again on the same connection, as 3.1.1
// allows.
func (c *conn) sendAgain(r *rand.Rand) {
	if c.version == 5 {
		return
	}
	var out []packets.Packet
	for _, p := range c.d.pending {
		if p.phase == underway && p.waiting == 1 && !p.replied && r.IntN(3) == 0 {
			out = append(out, c.send(p, true))
		}
	}
	c.put(out...)
}

// releaseSome sends PUBREL for some of what was received.
func (c *conn) releaseSome(r *rand.Rand) {
	var out []packets.Packet
	for _, p := range c.d.pending {
		if p.phase == received && p.waiting == 0 && r.IntN(3) > 0 {
			out = append(out, c.release(p))
		}
	}
	c.put(out...)
}

func (c *conn) release(p *publish) packets.Packet {
	p.phase = released
	c.comps = append(c.comps, p)
	return packet(packets.Pubrel, p.id)
}

// end takes a publish off its device.
func (p *publish) end(how phase) {
	d := p.d
	p.phase = how
	if d.ids[p.id] == p {
		delete(d.ids, p.id)
	}
	for i, q := range d.pending {
		if q == p {
			d.pending = append(d.pending[:i:i], d.pending[i+1:]...)
			break
		}
	}
}
