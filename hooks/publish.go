package hooks

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/inbox"
)

// publish validates a PUBLISH, makes it a draft and queues it on the
// connection's lane. It does not wait for the commit: the next packet is read
// at once, until the connection has as many drafts on their way as it may.
func (c *client) publish(pk packets.Packet) {
	if c.sent.ended {
		return // after one that was dropped: the order would be another
	}
	began := c.hook.traces.now()
	topic, err := c.hook.parseTopic(pk.TopicName)
	var d *inbox.Draft
	var errand func() // what has to be done before the draft is settled
	switch {
	case err != nil:
		d = c.refused(pk, err)
	case topic.Kind == postbox.KindAPI:
		d, errand = c.request(pk, topic.Operation)
	case topic.Kind == postbox.KindSignal:
		d, errand = c.signal(pk, topic)
	default:
		d = c.draft(pk, topic)
	}
	if d.Origin == nil {
		d.Origin = c
	}
	d.User = c.who.ID
	c.hook.metrics.publishes[min(pk.FixedHeader.Qos, 2)].Inc()
	if pk.FixedHeader.Qos > 0 {
		d.Publish.PacketID, d.Publish.QoS = pk.PacketID, pk.FixedHeader.Qos
		if pk.FixedHeader.Qos == 2 && d.Action == inbox.Append {
			d.Device = c.session.Device
		}
		if !c.recognise(d, pk.FixedHeader.Dup) {
			c.sent.ended = true // the device sends again
			return
		}
	}
	checked, throttled := c.hook.traces.now(), false
	switch again := d.Duplicate || d.Earlier != nil; {
	case !again && d.Action == inbox.Append:
		throttled = c.throttle() // refused ones too: saying no is work
	case again && !c.afford(costPacket):
		return
	case again:
		errand = nil
	}
	if t := c.hook.traces; t != nil && d.Action == inbox.Append { // asked here: a packet is large to hand over
		t.publish(c, d, pk, began, checked, throttled)
	}
	c.submit(d, errand)
}

// draft makes the draft of a message, or of its refusal.
func (c *client) draft(pk packets.Packet, topic postbox.Topic) *inbox.Draft {
	p := pk.Properties
	m := &postbox.Message{
		ID: newMessageID(), Sender: c.who.ID, From: c.who.Name, To: topic.User, Room: topic.Room,
		ContentType: p.ContentType, Key: topic.Key, Device: c.device, Body: pk.Payload,
	}
	for _, u := range p.User {
		switch u.Key {
		case "idempotency-key":
			if m.Key != "" && m.Key != u.Val {
				return c.refused(pk, postbox.Errorf(postbox.CodeInvalid, "the topic and the property idempotency-key name different keys: give one"))
			}
			m.Key = u.Val
			if err := postbox.CheckKey(m.Key); err != nil {
				return c.refused(pk, err)
			}
		case "ref":
			m.Ref = u.Val
		}
	}
	if err := c.checkMessage(m); err != nil {
		return c.refused(pk, err)
	}
	d := &inbox.Draft{To: topic.User, Topic: pk.TopicName}
	d.Publish.Message = m
	d.Publish.Expiry = p.MessageExpiryInterval
	d.Publish.Digest = postbox.DigestOf(m.Destination(), m.ContentType, m.Ref, p.MessageExpiryInterval, m.Body)
	return d
}

func (c *client) checkMessage(m *postbox.Message) error {
	l := c.hook.o.Limits
	if len(m.Body) > l.Body {
		return postbox.Errorf(postbox.CodeTooLarge, "the body has %d bytes; at most %d are allowed", len(m.Body), l.Body)
	}
	if err := postbox.CheckContentType(m.ContentType); err != nil {
		return err
	}
	if m.Ref == "" {
		return nil
	}
	if len(m.Ref) > l.Ref {
		return postbox.Errorf(postbox.CodeTooLarge, "the ref has %d bytes; at most %d are allowed", len(m.Ref), l.Ref)
	}
	if !strings.HasPrefix(strings.TrimLeft(m.Ref, " \t\r\n"), "{") || !utf8.ValidString(m.Ref) || !json.Valid([]byte(m.Ref)) {
		return postbox.Errorf(postbox.CodeInvalid, "the property ref must be a JSON object")
	}
	return nil
}

// refused is a draft that only carries its refusal, so that it is answered in
// its turn. It has the digest of what was asked, for the re-send rule.
func (c *client) refused(pk packets.Packet, err error) *inbox.Draft {
	d := &inbox.Draft{Topic: pk.TopicName, Refusal: postbox.AsError(err)}
	d.Publish.Message = &postbox.Message{}
	d.Publish.Digest = postbox.DigestOf(pk.TopicName, pk.Properties.ContentType, "", 0, pk.Payload)
	return d
}

// submit queues a draft, once the connection has room for it. MQTT 5 clients
// were told how much that is and may not exceed it; others are read no further.
// A draft with an errand, and all behind it, wait until that is done.
func (c *client) submit(d *inbox.Draft, errand func()) {
	limit := c.hook.o.Limits.Inflight
	c.mu.Lock()
	publish := d.Action != inbox.Release && d.Publish.QoS > 0
	if c.v5 && publish && c.pending >= limit {
		c.mu.Unlock()
		c.hook.traces.dropped(d)
		c.disconnect(packets.ErrReceiveMaximum)
		return
	}
	if d.Action == inbox.Release {
		limit *= 2 // a client that uses all of it may still release
	}
	if c.inflight >= limit && !c.over {
		c.hook.metrics.held.Inc()
	}
	for c.inflight >= limit && !c.over {
		c.settled.Wait()
	}
	c.inflight++
	if publish {
		c.pending++
	}
	c.mu.Unlock()
	if !c.errands.put(c.hook, d, errand, c.give) {
		c.give(d)
	}
}

// give hands a draft to the lane.
func (c *client) give(d *inbox.Draft) {
	if err := c.lane.Submit(d); err != nil {
		publish := d.Action != inbox.Release && d.Publish.QoS > 0
		c.mu.Lock()
		c.inflight--
		if publish {
			c.pending--
		}
		c.settled.Broadcast()
		c.mu.Unlock()
		c.hook.traces.dropped(d)
		c.disconnect(packets.ErrServerShuttingDown)
	}
}

// parseTopic parses a topic that a client may publish to.
func (h *Hook) parseTopic(name string) (postbox.Topic, error) {
	topic, err := postbox.ParseTopic(name)
	if err != nil && h.o.MayUse != nil && !postbox.Reserved(name) {
		err = postbox.Errorf(postbox.CodeForbidden, "you may not publish to %.80q", name)
	}
	return topic, err
}

func newMessageID() postbox.MessageID {
	id, err := uuid.NewV7()
	if err != nil {
		// The system's source of randomness has failed; nothing is safe then.
		panic("no randomness: " + err.Error())
	}
	return postbox.MessageID(id)
}
