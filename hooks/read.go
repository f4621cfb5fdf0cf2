package hooks

import (
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/inbox"
)

// OnPacketRead takes what Postbox answers itself out of Mochi's hands: all
// publishes that are kept, acknowledgements of deliveries, the QoS 2 handshake.
// Mochi gets a packet in their place that means nothing to it.
func (h *Hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Type == packets.Connect {
		return h.readConnect(cl, pk), nil
	}
	c := clientOf(cl)
	if c == nil {
		return pk, nil
	}
	if cost := costOf(pk); cost > 0 && !c.afford(cost) {
		return nothing(pk), nil
	}
	switch pk.FixedHeader.Type {
	case packets.Publish:
		// What is malformed Mochi ends with the right reason.
		if code := pk.PublishValidate(0); code != packets.CodeSuccess {
			return pk, nil
		}
		if c.passes(pk) {
			return pk, nil
		}
		c.publish(pk)
		return nothing(pk), nil
	case packets.Puback:
		c.sent.confirmed(pk.PacketID)
		if !c.acknowledged(pk.PacketID) {
			c.afford(costPacket)
		}
		return nothing(pk), nil
	case packets.Pubrel:
		if c.passesRelease(pk.PacketID) {
			return pk, nil
		}
		c.release(pk.PacketID)
		return nothing(pk), nil
	case packets.Disconnect:
		return c.readDisconnect(pk), nil
	case packets.Auth:
		// Nobody has agreed on an enhanced authentication [MQTT-4.12.0-6], and
		// before MQTT 5 there is no such packet. Mochi passes it over.
		c.disconnect(packets.ErrProtocolViolation)
		return nothing(pk), nil
	}
	return pk, nil
}

// nothing is the acknowledgement of a packet id that does not exist: of all
// packets the one that Mochi passes over soonest.
func nothing(pk packets.Packet) packets.Packet {
	return packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Puback},
		ProtocolVersion: pk.ProtocolVersion,
	}
}

// acknowledged reports whether a delivery waited for it.
func (c *client) acknowledged(packetID uint16) bool {
	c.mu.Lock()
	sub := c.inbox
	c.mu.Unlock()
	return sub != nil && sub.Ack(packetID)
}

// release closes a QoS 2 publish; its PUBCOMP follows the commit.
func (c *client) release(packetID uint16) {
	if !c.loadOpen() {
		return // the connection has ended; the device releases again
	}
	if !c.sent.close(packetID) && !c.afford(costPacket) {
		return
	}
	c.submitRelease(packetID, 2)
}

// submitRelease queues the end of an open id, which a PUBCOMP follows at QoS 2.
func (c *client) submitRelease(packetID uint16, qos byte) {
	d := &inbox.Draft{Action: inbox.Release, Origin: c, User: c.who.ID, Device: c.session.Device}
	d.Publish.PacketID, d.Publish.QoS = packetID, qos
	c.submit(d, nil)
}

// readDisconnect forgets the will, unless the client still wants it or has made
// an error [MQTT-3.14.4-3], and takes the session's new life.
func (c *client) readDisconnect(pk packets.Packet) packets.Packet {
	if c.v5 && pk.FixedHeader.Remaining == 1 {
		pk.ReasonCode = c.conn.last // Mochi overlooks a reason without properties
	}
	c.conn.partWith(0)
	pk, ok := c.readLife(pk)
	if ok && pk.ReasonCode == packets.CodeDisconnect.Code {
		ctx, cancel := c.hook.within(endTimeout)
		c.dropWill(ctx)
		cancel()
	}
	return pk
}

// readLife takes the session's new life, and hides it from Mochi, to whom the
// session has none. It reports false when there can be none.
func (c *client) readLife(pk packets.Packet) (packets.Packet, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life == 0 && pk.Properties.SessionExpiryInterval > 0 {
		return pk, false // a protocol error, which Mochi answers [MQTT-3.14.2.2.2]
	}
	if !pk.Properties.SessionExpiryIntervalFlag {
		return pk, true
	}
	c.life = min(c.hook.o.Limits.SessionLife, time.Duration(pk.Properties.SessionExpiryInterval)*time.Second)
	pk.Properties.SessionExpiryIntervalFlag = false
	pk.Properties.SessionExpiryInterval = 0
	return pk, true
}
