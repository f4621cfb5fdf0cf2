package hooks

import (
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"
)

// ErrFraming ends a connection whose peer has sent the header of a packet that
// cannot be.
var ErrFraming = errors.New("a packet that cannot be: its kind, its flags or its length")

// framing follows the headers of what a client sends after its CONNECT. Mochi
// takes lengths of any number of bytes, and tells nobody why it ends a connection
// whose packet is too large.
type framing struct {
	limit  int // bytes of a packet; zero: nothing is followed
	seen   int // bytes of the header that is being read
	length int // of the packet, as far as it has been read
	rest   int // bytes of the packet that are still to come
}

// check returns how many bytes of p are of packets that may be; if not all, the
// reason for which the connection ends there.
func (f *framing) check(p []byte) (n int, reason byte) {
	if f.limit == 0 {
		return len(p), 0
	}
	began := 0 // where the header that is being read begins, in p
	for i := 0; i < len(p); i++ {
		switch {
		case f.rest > 0:
			skip := min(f.rest, len(p)-i)
			f.rest -= skip
			i += skip - 1
		case f.seen == 0:
			began = i
			if reason := checkFirst(p[i]); reason != 0 {
				return began, reason
			}
			f.seen, f.length = 1, 0
		default:
			f.length |= int(p[i]&0x7f) << (7 * (f.seen - 1))
			f.seen++
			switch {
			case p[i] >= 0x80 && f.seen > 4: // [MQTT-1.5.5]: four bytes at most
				return began, packets.ErrMalformedPacket.Code
			case f.seen+f.length > f.limit:
				return began, packets.ErrPacketTooLarge.Code
			case p[i] < 0x80:
				f.seen, f.rest = 0, f.length
			}
		}
	}
	return len(p), 0
}

// checkFirst judges the first byte of a packet of a client that is connected
// [MQTT-2.1.3-1]; zero: it may be. AUTH has no place without an authentication
// method in CONNECT, which is refused there.
func checkFirst(b byte) (reason byte) {
	kind, flags := b>>4, b&0x0f
	var want byte
	switch kind {
	case packets.Publish:
		if qos := flags >> 1 & 3; qos == 3 || qos == 0 && flags&0x08 != 0 {
			return packets.ErrMalformedPacket.Code // [MQTT-3.3.1-4], [MQTT-3.3.1-2]
		}
		return 0
	case packets.Puback, packets.Pubrec, packets.Pubcomp, packets.Pingreq, packets.Disconnect:
	case packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
		want = 0x02
	case packets.Reserved:
		return packets.ErrMalformedPacket.Code
	default: // a server's, a second CONNECT [MQTT-3.1.0-2], AUTH
		return packets.ErrProtocolViolation.Code
	}
	if flags != want {
		return packets.ErrMalformedPacket.Code
	}
	return 0
}

// greeting follows the first packet.
type greeting struct {
	limit  int
	then   func()
	done   bool
	seen   int // bytes of the header
	length int // of what follows the header; then: of what is still to come
	body   bool
}

// check returns how many bytes of p are of the CONNECT.
func (g *greeting) check(p []byte) (n int, err error) {
	for i, b := range p {
		switch {
		case g.body:
			skip := min(g.length, len(p)-i)
			g.length -= skip
			if g.length == 0 {
				g.finish()
			}
			return i + skip, nil
		case g.seen == 0 && b != packets.Connect<<4:
			return 0, ErrNotConnect
		case g.seen > 0:
			g.length |= int(b&0x7f) << (7 * (g.seen - 1))
			if g.seen > 4 || g.length > g.limit {
				return 0, ErrConnectLarge
			}
			g.body = b < 0x80
			if g.body && g.length == 0 {
				g.finish()
				return i + 1, nil
			}
		}
		g.seen++
	}
	return len(p), nil
}

func (g *greeting) finish() {
	g.done = true
	if g.then != nil {
		g.then()
	}
}
