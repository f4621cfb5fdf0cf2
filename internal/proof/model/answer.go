package model

import (
	"fmt"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// answered takes a PUBACK or PUBREC, which must be that of the oldest publish
// that waits for one [MQTT-4.6.0-2].
func (c *conn) answered(pk packets.Packet) {
	w := c.w
	kind := byte(packets.Puback)
	if len(c.due) > 0 && c.due[0].qos == 2 {
		kind = packets.Pubrec
	}
	if len(c.due) == 0 || c.due[0].id != pk.PacketID || kind != pk.FixedHeader.Type {
		w.fail("answers out of order", "%v: %s for id %d; due are %d, first %+v",
			c.d, packets.PacketNames[pk.FixedHeader.Type], pk.PacketID, len(c.due), c.firstDue())
		return
	}
	q := c.due[0]
	c.due = c.due[1:]
	p := q.publish
	p.waiting--
	p.replied = true
	code := propertyOf(pk, "code")
	if c.version < 5 {
		code = c.errorBefore(p)
	}
	w.note("%v: answer to %d: reason %#x, code %q, duplicate %q, id %s, seq %s", c.d, p.n, pk.ReasonCode, code,
		propertyOf(pk, "duplicate"), propertyOf(pk, "id"), propertyOf(pk, "seq"))
	switch {
	case code != "":
		c.refusedWith(p, code)
	case pk.ReasonCode >= packets.ErrUnspecifiedError.Code:
		w.fail("refused", "%v: publish %d was refused with %#x and no code", c.d, p.n, pk.ReasonCode)
	default:
		c.stored(p, pk)
	}
	if p.refused == "" && !p.unclear {
		for _, s := range q.quiet {
			s.answered = time.Now()
			w.inquiry.answers = append(w.inquiry.answers, s)
		}
	}
	c.proceed(p, pk)
}

// proceed is what the client does after an answer.
func (c *conn) proceed(p *publish, pk packets.Packet) {
	switch {
	case p.phase == underway && p.qos == 2 && pk.ReasonCode < packets.ErrUnspecifiedError.Code:
		p.phase = received
	case p.phase == underway && p.waiting == 0:
		p.end(done)
	}
	if p.phase == received && p.waiting == 0 && c.autoRelease && !c.closing {
		c.put(c.release(p))
	}
}

func (c *conn) firstDue() (id uint16) {
	if len(c.due) > 0 {
		id = c.due[0].id
	}
	return id
}

// stored judges an answer that says that the message is stored.
func (c *conn) stored(p *publish, pk packets.Packet) {
	w := c.w
	if c.version < 5 && (p.never != "" || p.key != "") && !c.wouldBeTold(p) {
		p.unclear = true
		return
	}
	duplicate := propertyOf(pk, "duplicate") == "true"
	switch {
	case p.never != "":
		w.fail("accepted", "%v: publish %d to %s was acknowledged, want %s", c.d, p.n, p.topic, p.never)
	case duplicate && p.sends == 1 && p.key == "" && !p.ambiguous():
		w.fail("new message taken for a re-send", "%v: publish %d (id %d, %q) was sent once, and the answer calls it a duplicate of %s; under its id there were%s",
			c.d, p.n, p.id, p.body[:min(len(p.body), 24)], propertyOf(pk, "id"), p.history())
	case !w.held.IsZero() && p.at.After(w.held) && p.sends == 1 && p.key == "":
		w.fail("acknowledged before it was stored", "%v: publish %d was answered while no transaction could commit", c.d, p.n)
	}
	if p.answered.IsZero() {
		p.answered = time.Now()
		p.row = propertyOf(pk, "id")
		p.alone = p.tick && !p.ambiguous()
		w.inquiry.answers = append(w.inquiry.answers, p)
		if p.alone {
			c.aloneWith(p)
		}
		w.count("acknowledged")
	}
	if duplicate {
		w.count("duplicates found")
	}
}

// aloneWith notes that a tick has a row of its own, which no other has.
func (c *conn) aloneWith(p *publish) {
	p.text.sure++
	if p.row == "" {
		return
	}
	if p.text.acks == nil {
		p.text.acks = make(map[string]*publish)
	}
	if other := p.text.acks[p.row]; other != nil {
		c.w.fail("new message taken for a re-send", "%v: publishes %d and %d (id %d and %d) were both answered with row %s; under id %d there were%s",
			c.d, other.n, p.n, other.id, p.id, p.row, p.id, p.history())
	}
	p.text.acks[p.row] = p
}

// ambiguous reports whether nobody can tell the publish of a tick from an
// earlier one with its packet id: whose outcome the client did not wait for, or
// which it repeats without having heard of its arrival.
func (p *publish) ambiguous() bool {
	if !p.tick {
		return false
	}
	earlier := p.d.history[p.id]
	for i := len(earlier) - 1; i >= 0; i-- {
		q := earlier[i]
		switch {
		case q.n >= p.n:
			continue
		case p.dups == 0 && (p.qos == 1 || q.qos == 2 && q.phase == done):
			return false
		case q.text == p.text && q.qos == p.qos:
			return true
		case p.dups > 0 && !q.answered.IsZero() && q.key == "" && (q.alone || !q.tick):
			return false // a row of its own says who used the id last
		}
	}
	return len(earlier) == mostHistory // before that nobody remembers
}

// story tells who has sent a publish, and its history; nil: nothing.
func (p *publish) story() string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("; %v publishes %d: id %d;%s", p.d, p.n, p.id, p.history())
}

// history tells what has used the packet id of a publish, up to it.
func (p *publish) history() string {
	var b strings.Builder
	for _, q := range p.d.history[p.id] {
		fmt.Fprintf(&b, " %d (%q, qos %d, sent %d times, %d with DUP, phase %d, row %s, alone %v, refused %q)",
			q.n, q.body[:min(len(q.body), 24)], q.qos, q.sends, q.dups, q.phase, q.row, q.alone, q.refused)
	}
	return b.String()
}

func (c *conn) refusedWith(p *publish, code string) {
	w := c.w
	p.refused = code
	w.count("refused: " + code)
	switch {
	case code == p.never:
	case code == "conflict" && p.key != "":
		w.inquiry.refusals = append(w.inquiry.refusals, p)
	default:
		w.fail("refused", "%v: publish %d to %s was refused with %q", c.d, p.n, p.topic, code)
	}
}

// wouldBeTold reports whether a 3.1.1 device would have got an error envelope
// if the publish had been refused: it is subscribed since before it was sent.
func (c *conn) wouldBeTold(p *publish) bool {
	return c.inst != nil && !c.inst.maybe && len(c.asks) == 0 && !c.inst.granted.IsZero() && c.inst.granted.Before(p.at)
}

// errorBefore takes the error envelope that came before the answer to p.
func (c *conn) errorBefore(p *publish) string {
	for i, e := range c.errors {
		if e.Topic == p.topic {
			c.errors = append(c.errors[:i:i], c.errors[i+1:]...)
			return e.Code
		}
	}
	return ""
}

// told takes an error envelope.
func (c *conn) told(e envelope) {
	for i, p := range c.silent {
		if p.topic == e.Topic && p.key == e.Key && (p.key != "" || p.never != "") {
			c.silent = append(c.silent[:i:i], c.silent[i+1:]...)
			c.refusedWith(p, e.Code)
			return
		}
	}
	if c.version < 5 && len(c.due) > 0 && c.due[0].topic == e.Topic {
		c.errors = append(c.errors, e)
		return
	}
	c.w.fail("error envelope", "%v: %+v belongs to nothing that was sent", c.d, e)
}

// completed takes a PUBCOMP.
func (c *conn) completed(pk packets.Packet) {
	if len(c.comps) == 0 || c.comps[0].id != pk.PacketID || pk.ReasonCode != 0 {
		c.w.fail("answers out of order", "%v: PUBCOMP %#x for id %d; due are %d", c.d, pk.ReasonCode, pk.PacketID, len(c.comps))
		return
	}
	p := c.comps[0]
	c.comps = c.comps[1:]
	p.end(done)
}

func propertyOf(pk packets.Packet, key string) string {
	for _, u := range pk.Properties.User {
		if u.Key == key {
			return u.Val
		}
	}
	return ""
}
