package hooks

import "encoding/binary"

// Packet types and property ids that this package writes itself (OASIS MQTT 5
// §2.1.2, §2.2.2.2).
const (
	typePublish = 0x30
	typePuback  = 0x40
	typePubrec  = 0x50
	typePubcomp = 0x70

	typeDisconnect = 0xe0

	propPayloadFormat  = 0x01
	propMessageExpiry  = 0x02
	propContentType    = 0x03
	propSubscriptionID = 0x0b
	propUser           = 0x26
)

// appendLength appends a variable byte integer (§1.5.5).
func appendLength(dst []byte, n int) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

// appendText appends a UTF-8 string with its length (§1.5.4).
func appendText[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// appendUser appends a user property.
func appendUser[S ~string | ~[]byte](dst []byte, name string, value S) []byte {
	dst = append(dst, propUser)
	dst = appendText(dst, name)
	return appendText(dst, value)
}

// lengthSize is the size of n as a variable byte integer.
func lengthSize(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<21:
		return 3
	}
	return 4
}

// appendAck appends a PUBACK, PUBREC or PUBCOMP. Reason and properties exist
// in MQTT 5 only; without both the packet has its short form (§3.4.2.1).
func appendAck(dst []byte, kind byte, packetID uint16, v5 bool, reason byte, properties []byte) []byte {
	switch {
	case !v5 || reason == 0 && len(properties) == 0:
		dst = append(dst, kind, 2)
		return binary.BigEndian.AppendUint16(dst, packetID)
	case len(properties) == 0:
		dst = append(dst, kind, 3)
		return append(binary.BigEndian.AppendUint16(dst, packetID), reason)
	}
	dst = append(dst, kind)
	dst = appendLength(dst, 3+lengthSize(len(properties))+len(properties))
	dst = append(binary.BigEndian.AppendUint16(dst, packetID), reason)
	dst = appendLength(dst, len(properties))
	return append(dst, properties...)
}

// publishFrame is a PUBLISH to a device, before it is encoded.
type publishFrame struct {
	topic      string
	qos        byte
	dup        bool
	retain     bool
	packetID   uint16 // with qos 1
	v5         bool
	properties []byte
	payload    []byte
}

// size is the length of the encoded packet.
func (f *publishFrame) size() int {
	n := f.remaining()
	return 1 + lengthSize(n) + n
}

func (f *publishFrame) remaining() int {
	n := 2 + len(f.topic) + len(f.payload)
	if f.qos > 0 {
		n += 2
	}
	if f.v5 {
		n += lengthSize(len(f.properties)) + len(f.properties)
	}
	return n
}

func (f *publishFrame) append(dst []byte) []byte {
	first := byte(typePublish) | f.qos<<1
	if f.dup && f.qos > 0 {
		first |= 0x08
	}
	if f.retain {
		first |= 0x01
	}
	dst = append(dst, first)
	dst = appendLength(dst, f.remaining())
	dst = appendText(dst, f.topic)
	if f.qos > 0 {
		dst = binary.BigEndian.AppendUint16(dst, f.packetID)
	}
	if f.v5 {
		dst = appendLength(dst, len(f.properties))
		dst = append(dst, f.properties...)
	}
	return append(dst, f.payload...)
}
