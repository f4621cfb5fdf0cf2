package hooks

import (
	"strings"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
)

// A Mochi server that Postbox was added to may have topics of its own. To them
// Mochi does what it always does; here it is only decided who may use them. A
// subscription to them is granted QoS 0: the packet ids of deliveries, and what
// the client's Receive Maximum allows, belong to the inbox.

// mayUse decides about a topic, or a filter, that is not Postbox's.
func (c *client) mayUse(topic string, write bool) bool {
	return c.hook.o.MayUse != nil && !postbox.Reserved(topic) && postbox.CheckTopic(topic) == nil &&
		c.hook.o.MayUse(c.who.Name, topic, write)
}

// passes leaves a publish to another topic to Mochi, and notes that its packet id
// is used anew. It reports false for what is Postbox's to answer.
func (c *client) passes(pk packets.Packet) bool {
	if strings.ContainsAny(pk.TopicName, "+#") || !c.mayUse(pk.TopicName, true) {
		return false
	}
	if pk.FixedHeader.Qos == 0 {
		return true
	}
	if !c.loadOpen() {
		c.sent.ended = true // the device sends again
		return false
	}
	if c.sent.close(pk.PacketID) {
		// A message was given up. At QoS 0 it is not answered: Mochi does that.
		c.submitRelease(pk.PacketID, 0)
	}
	c.sent.mu.Lock()
	defer c.sent.mu.Unlock()
	c.sent.keep(&sentRecord{packetID: pk.PacketID, refused: true}, c.hook.o.Limits.Inflight)
	return true
}

// passesRelease reports whether a PUBREL is of a publish that was left to Mochi.
func (c *client) passesRelease(packetID uint16) bool {
	if c.hook.o.MayUse == nil {
		return false
	}
	_, theirs := c.cl.State.Inflight.Get(packetID)
	return theirs
}

// leaveWillToMochi gives Mochi back a will to another topic, which it publishes.
func (c *client) leaveWillToMochi(offered *packets.ConnectParams) {
	p := offered.WillProperties
	c.cl.Properties.Will = mqtt.Will{
		TopicName: offered.WillTopic, Payload: offered.WillPayload, User: p.User,
		Qos: min(offered.WillQos, 2), Retain: offered.WillRetain, WillDelayInterval: min(p.WillDelayInterval, uint32(c.life/time.Second)),
	}
	atomic.StoreUint32(&c.cl.Properties.Will.Flag, 1)
}

// OnPublish refuses what reaches Mochi for a topic that is kept, as from its
// inline client: Mochi would fan it out unstored, and in nobody's name.
func (h *Hook) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	head, _, _ := strings.Cut(pk.TopicName, "/")
	if head == "inbox" || head == "room" {
		h.o.Logger.Error("a publish of the server itself to a topic that is kept was refused: publish as a client", "topic", head)
		return pk, packets.ErrRejectPacket
	}
	return pk, nil
}
