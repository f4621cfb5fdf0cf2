package hooks

import (
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
)

// What packets count for against Limits.PacketRate: about what they cost the
// server. Publishes have a rate of their own, and the acknowledgement of a
// delivery is paid for by the delivery.
const (
	costPacket  = 1  // PINGREQ, acknowledgements of nothing, a publish once more
	costFilter  = 4  // each filter of SUBSCRIBE and UNSUBSCRIBE: the session is saved
	costConnect = 10 // CONNECT, of a user who was let in: the session is opened and closed
)

// errTooManyConnects refuses a CONNECT above the packet rate.
var errTooManyConnects = postbox.Errorf(postbox.CodeRateLimited, "the user connects too often: try again later")

// afford counts what a client asks for. It ends the connection of one that asks
// for more than the user's packet rate allows, and reports false.
func (c *client) afford(cost int) bool {
	if c.hook.packets.take(c.who.ID, cost) {
		return true
	}
	c.disconnect(packets.ErrMessageRateTooHigh)
	return false
}

// take counts n, or reports that the user has no room for as many now.
func (l *limiters) take(user postbox.UserID, n int) bool {
	r := l.of(user)
	return r == nil || r.AllowN(time.Now(), n)
}

// costOf is what reading a packet counts for; zero: it is counted where it is
// known what it means.
func costOf(pk packets.Packet) int {
	switch pk.FixedHeader.Type {
	case packets.Subscribe, packets.Unsubscribe:
		return costFilter * max(1, len(pk.Filters))
	case packets.Publish, packets.Puback, packets.Pubrel, packets.Disconnect:
		return 0
	}
	return costPacket
}
