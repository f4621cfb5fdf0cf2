package hooks

import (
	"strconv"

	"postbox"
	"postbox/inbox"
)

// keepAcks is up to how many bytes a client keeps the buffer of its answers.
const keepAcks = 4 << 10

// Settled answers a publish, or its release, after its commit. It only collects
// the packets: those of one group leave together at Flush.
func (c *client) Settled(d *inbox.Draft) { c.settle(d, d.Refusal) }

// settle answers with a refusal, or with none when the client has been told in
// another way.
func (c *client) settle(d *inbox.Draft, refusal *postbox.Error) {
	c.counted++
	if d.Watch != nil {
		c.hook.traces.settled(d)
		c.traced = append(c.traced, d)
	}
	p := &d.Publish
	if d.Refusal != nil {
		c.hook.metrics.refuse(d.Refusal.Code)
	}
	switch {
	case d.Action == inbox.Release:
		if p.QoS > 0 { // it was asked for
			c.acks = appendAck(c.acks, typePubcomp, p.PacketID, c.v5, 0, nil)
		}
		return
	case p.QoS == 0:
		if refusal != nil {
			c.appendErrorEnvelope(d)
		}
		return
	}
	c.unacked--
	c.sent.done(d)
	if d.Refusal == nil && d.Action == inbox.Append {
		c.answered = d.Stored.ID
	}
	kind := byte(typePuback)
	if p.QoS == 2 {
		kind = typePubrec
	}
	switch {
	case refusal == nil:
		c.acks = appendAck(c.acks, kind, p.PacketID, c.v5, 0, c.storedProperties(d))
	case c.v5:
		c.acks = appendAck(c.acks, kind, p.PacketID, true, ackReason(refusal), c.refusalProperties(refusal))
	default:
		// 3.1.1 has no refusal [MQTT-3.3.5-2]: acknowledged, and told.
		// The telling comes first: an acknowledgement without one means stored.
		c.appendErrorEnvelope(d)
		c.acks = appendAck(c.acks, kind, p.PacketID, false, 0, nil)
	}
}

// Flush sends the answers of a group and makes room for as many publishes.
func (c *client) Flush() {
	if c.counted == 0 {
		return // flushed already: it stands more than once in its group
	}
	// Room first: who is answered may publish again at once.
	c.mu.Lock()
	c.inflight -= c.counted
	c.pending += c.unacked
	last := c.gone && c.inflight == 0
	c.mu.Unlock()
	c.settled.Broadcast()
	c.hook.metrics.answered.Add(float64(c.counted))
	c.counted, c.unacked = 0, 0
	if len(c.acks) > 0 {
		_, _ = c.conn.Write(c.acks) // a connection that is gone asks again when it returns
		c.sent.answers(c.answered)
		c.acks = c.acks[:0]
		if cap(c.acks) > keepAcks {
			c.acks = nil
		}
	}
	if len(c.traced) > 0 {
		c.hook.traces.answered(c.traced)
		c.traced = nil
	}
	if last {
		c.hook.registry.vacate(c)
	}
}

// storedProperties are the user properties of an acknowledgement: which
// message it became.
func (c *client) storedProperties(d *inbox.Draft) []byte {
	if !c.v5 || !c.problem || d.Action != inbox.Append || d.Refusal != nil {
		return nil
	}
	var scratch [36]byte
	p := appendUser(make([]byte, 0, 128), "id", d.Stored.ID.Append(scratch[:0]))
	p = appendUser(p, "seq", strconv.AppendInt(scratch[:0], int64(d.Stored.Seq), 10))
	if d.Duplicate {
		p = appendUser(p, "duplicate", "true")
	}
	return c.ifFits(p)
}

func (c *client) refusalProperties(e *postbox.Error) []byte {
	if !c.problem {
		return nil
	}
	return c.ifFits(appendUser(nil, "code", string(e.Code)))
}

// ifFits drops properties of an acknowledgement that the client could not take
// [MQTT-3.4.2-3].
func (c *client) ifFits(properties []byte) []byte {
	if c.maxSize > 0 && len(properties)+10 > c.maxSize {
		return nil
	}
	return properties
}

// appendErrorEnvelope tells the sending device about a refusal that the
// protocol has no room for, on its inbox, if it is subscribed.
func (c *client) appendErrorEnvelope(d *inbox.Draft) {
	c.mu.Lock()
	subscribed := c.inbox != nil
	c.mu.Unlock()
	if !subscribed {
		return
	}
	key := ""
	if m := d.Publish.Message; m != nil {
		key = m.Key
	}
	f := publishFrame{
		topic: c.inboxFilter(), v5: c.v5,
		payload: postbox.AppendError(nil, d.Refusal, d.Topic[:min(len(d.Topic), postbox.MaxFilterLength)], key),
	}
	if c.v5 {
		f.properties = appendUser(appendUser(nil, "type", "error"), "code", string(d.Refusal.Code))
	}
	if c.maxSize == 0 || f.size() <= c.maxSize {
		c.acks = f.append(c.acks)
	}
}
