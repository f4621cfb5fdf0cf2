package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Packet types in the high four bits of the first byte [MQTT5 §2.1.2].
const (
	typeConnect    = 0x10
	typeConnack    = 0x20
	typePublish    = 0x30
	typePuback     = 0x40
	typeSubscribe  = 0x82
	typeSuback     = 0x90
	typePingreq    = 0xC0
	typePingresp   = 0xD0
	typeDisconnect = 0xE0

	typeMask = 0xF0
	flagDup  = 0x08
)

// Properties that the generator sends or reads [MQTT5 §2.2.2.2].
const (
	propertySessionExpiry  = 0x11
	propertyReceiveMaximum = 0x21
)

// keepAlive is in seconds; a ping goes out when a connection has written
// nothing for half of it.
const keepAlive = 60

// sessionExpiry is in seconds, for runs with stored sessions.
const sessionExpiry = 3600

var errMalformed = errors.New("malformed packet")

// splitPacket takes the first packet off data. size is 0 if it is not whole yet.
func splitPacket(data []byte) (header byte, body []byte, size int, err error) {
	if len(data) < 2 {
		return 0, nil, 0, nil
	}
	length, n := binary.Uvarint(data[1:min(len(data), 5)])
	if n <= 0 {
		if len(data) >= 5 {
			return 0, nil, 0, fmt.Errorf("%w: remaining length of more than four bytes", errMalformed)
		}
		return 0, nil, 0, nil
	}
	size = 1 + n + int(length)
	if size > len(data) {
		return 0, nil, 0, nil
	}
	return data[0], data[1+n : size], size, nil
}

// appendPacket appends a packet of the given first byte and body to dst.
func appendPacket(dst []byte, header byte, body []byte) []byte {
	dst = append(dst, header)
	dst = binary.AppendUvarint(dst, uint64(len(body)))
	return append(dst, body...)
}

// appendString appends a length of two bytes and s.
func appendString(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// identity is who a connection is.
type identity struct {
	clientID, user, password string
}

// greeting is what a CONNECT asks for.
type greeting struct {
	protocol Protocol
	// session asks for a stored session; without, what is stored under the client
	// id is removed.
	session   bool
	keepAlive uint16 // in seconds
	// receiveMaximum is how many deliveries may be unacknowledged (MQTT 5); 0: as
	// many as the broker likes.
	receiveMaximum uint16
}

// connectPacket asks for what most connections want.
func connectPacket(protocol Protocol, id identity, session bool) []byte {
	return greeting{protocol: protocol, session: session, keepAlive: keepAlive}.packet(id)
}

// packet is the CONNECT.
func (g greeting) packet(id identity) []byte {
	var flags byte
	if !g.session {
		flags |= 0x02
	}
	if id.user != "" {
		flags |= 0x80
	}
	if id.password != "" {
		flags |= 0x40
	}
	body := appendString(nil, "MQTT")
	body = append(body, byte(g.protocol), flags)
	body = binary.BigEndian.AppendUint16(body, g.keepAlive)
	if g.protocol == MQTT5 {
		var properties []byte
		if g.session {
			properties = binary.BigEndian.AppendUint32(append(properties, propertySessionExpiry), sessionExpiry)
		}
		if g.receiveMaximum > 0 {
			properties = binary.BigEndian.AppendUint16(append(properties, propertyReceiveMaximum), g.receiveMaximum)
		}
		body = append(append(body, byte(len(properties))), properties...)
	}
	body = appendString(body, id.clientID)
	if id.user != "" {
		body = appendString(body, id.user)
	}
	if id.password != "" {
		body = appendString(body, id.password)
	}
	return appendPacket(nil, typeConnect, body)
}

// subscribePacket asks for topic at QoS 1 under packet id 1.
func subscribePacket(protocol Protocol, topic string) []byte {
	body := []byte{0, 1}
	if protocol == MQTT5 {
		body = append(body, 0)
	}
	body = appendString(body, topic)
	return appendPacket(nil, typeSubscribe, append(body, 1))
}

// publishTemplate is a PUBLISH at QoS 1 whose packet id and body stamp are
// filled in before each sending, at the given offsets.
func publishTemplate(protocol Protocol, topic string, body []byte) (packet []byte, idAt, bodyAt int) {
	variable := appendString(nil, topic)
	fromEnd := len(body) + 2
	variable = append(variable, 0, 0)
	if protocol == MQTT5 {
		variable = append(variable, 0)
		fromEnd++
	}
	packet = appendPacket(nil, typePublish|0x02, append(variable, body...))
	return packet, len(packet) - fromEnd, len(packet) - len(body)
}

// publish is what a device needs to know of a PUBLISH it gets.
type publish struct {
	qos      byte
	packetID uint16
	payload  []byte
}

// parsePublish reads the body of a PUBLISH packet; payload points into it.
func parsePublish(protocol Protocol, header byte, body []byte) (publish, error) {
	p := publish{qos: header >> 1 & 3}
	if len(body) < 2 {
		return p, fmt.Errorf("%w: PUBLISH without a topic", errMalformed)
	}
	at := 2 + int(binary.BigEndian.Uint16(body))
	if p.qos > 0 {
		at += 2
	}
	if at > len(body) {
		return p, fmt.Errorf("%w: PUBLISH ends in its topic", errMalformed)
	}
	if p.qos > 0 {
		p.packetID = binary.BigEndian.Uint16(body[at-2:])
	}
	if protocol == MQTT5 {
		length, n := binary.Uvarint(body[at:])
		if n <= 0 || length > uint64(len(body)-at-n) {
			return p, fmt.Errorf("%w: PUBLISH ends in its properties", errMalformed)
		}
		at += n + int(length)
	}
	p.payload = body[at:]
	return p, nil
}

// parsePuback gives the packet id and the reason code, 0 where none is sent.
func parsePuback(body []byte) (id uint16, reason byte, err error) {
	if len(body) < 2 {
		return 0, 0, fmt.Errorf("%w: PUBACK without a packet id", errMalformed)
	}
	if len(body) > 2 {
		reason = body[2]
	}
	return binary.BigEndian.Uint16(body), reason, nil
}
