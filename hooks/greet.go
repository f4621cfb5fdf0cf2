package hooks

import (
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// idRefused stands in for a client id that is missing where one must be: it is
// not of the allowed form, so that the refusal has the right code.
const idRefused = "\x00"

// readConnect keeps a CONNECT as it was sent and gives Mochi one that it takes:
// without its will, which Mochi would publish unchecked and unstored, and which
// it refuses when the payload is empty; without the flag of an empty password,
// for which it has no code of 3.1.1.
func (h *Hook) readConnect(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	conn := h.connOf(cl)
	if conn.offered != nil {
		return pk // a second CONNECT, which Mochi ends
	}
	sent := pk.Connect
	conn.offered, conn.level = &sent, pk.ProtocolVersion
	p := &pk.Connect
	if len(p.Password) == 0 {
		p.PasswordFlag = false
	}
	if p.WillFlag && p.WillQos <= 2 && p.WillTopic != "" {
		p.WillFlag, p.WillQos, p.WillRetain, p.WillTopic, p.WillPayload = false, 0, false, "", nil
	}
	if p.ClientIdentifier == "" && !p.Clean && pk.ProtocolVersion < 5 {
		p.ClientIdentifier = idRefused // [MQTT-3.1.3-8 of 3.1.1]
	}
	return pk
}

// levelRefusal is the code with which a protocol level that is not ours is
// refused [MQTT-3.1.2-2]; zero for ours. Mochi has others for some, and none for
// a bridge, which sets the highest bit.
func (c *Conn) levelRefusal() byte {
	switch {
	case c.level >= 3 && c.level <= 5 || c.offered == nil:
		return 0
	case c.level > 5 && c.level < 0x80:
		return packets.ErrUnsupportedProtocolVersion.Code
	}
	return packets.Err3UnsupportedProtocolVersion.Code
}
