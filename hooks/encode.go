package hooks

import (
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// OnPacketEncode completes Mochi's CONNACK: whether the session was there,
// which only the database knows, and the limits, which it does not announce.
func (h *Hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	switch pk.FixedHeader.Type {
	case packets.Disconnect:
		if conn, ok := cl.Net.Conn.(*Conn); ok {
			conn.partWith(0) // this is the reason
		}
		return pk
	case packets.Connack:
	default:
		return pk
	}
	conn := h.connOf(cl)
	switch code := conn.levelRefusal(); {
	case code != 0:
		pk.ReasonCode = code
	case cl.Properties.ProtocolVersion < 5 && pk.ReasonCode > packets.Err3NotAuthorized.Code:
		pk.ReasonCode = packets.Err3NotAuthorized.Code // 3.1.1 knows no others
	}
	if pk.ReasonCode != 0 && !conn.judged { // by Mochi, before OnConnect
		h.metrics.refused.WithLabelValues(string(codeProtocol)).Inc()
	}
	c := clientOf(cl)
	if c == nil || pk.ReasonCode != 0 {
		return pk
	}
	pk.SessionPresent = c.session.Present
	if c.v5 {
		p := &pk.Properties
		p.MaximumPacketSize = uint32(h.o.Limits.Packet)
		p.SharedSubAvailable, p.SharedSubAvailableFlag = 0, true
	}
	return pk
}
