package hooks

import (
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/inbox"
)

// will is a client's last message. It goes the way of every publish: checked
// at CONNECT, stored when it fires.
type will struct {
	packet packets.Packet
	topic  postbox.Topic
	delay  time.Duration
}

// readWill checks the will of a CONNECT like a publish.
func (c *client) readWill(pk packets.Packet) error {
	if !pk.Connect.WillFlag {
		return nil
	}
	topic, err := postbox.ParseTopic(pk.Connect.WillTopic)
	if err != nil {
		return err
	}
	p := pk.Connect.WillProperties
	w := &will{topic: topic, delay: time.Duration(p.WillDelayInterval) * time.Second}
	w.packet = packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish},
		TopicName:   pk.Connect.WillTopic, Payload: pk.Connect.WillPayload, Properties: p,
	}
	if topic.Kind != postbox.KindInbox {
		return errNotStored(pk.Connect.WillTopic)
	}
	if d := c.draft(w.packet, topic); d.Refusal != nil {
		return d.Refusal
	}
	c.will = w
	return nil
}

// publishWill fires the will of a connection that ended without DISCONNECT,
// after its delay.
func (c *client) publishWill() {
	c.mu.Lock()
	w := c.will
	c.will = nil
	clean := c.clean
	c.mu.Unlock()
	if w == nil || clean {
		return
	}
	send := func() {
		d := c.draft(w.packet, w.topic)
		d.Origin = nil // nobody waits for an answer
		if err := c.lane.Submit(d); err != nil {
			c.hook.o.Logger.Warn("a will was not stored", "error", err, "user", c.who.Name)
		}
	}
	if w.delay == 0 {
		send()
		return
	}
	time.AfterFunc(w.delay, send)
}

var _ inbox.Origin = (*client)(nil)
