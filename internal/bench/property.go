package bench

import (
	"encoding/binary"
	"fmt"
)

// receiveMaximum reads the Receive Maximum out of the properties of a CONNACK,
// 65,535 if it says nothing [MQTT5 §3.2.2.3.3].
func receiveMaximum(connack []byte) (int, error) {
	const unlimited = 1<<16 - 1
	if len(connack) <= 2 {
		return unlimited, nil
	}
	length, n := binary.Uvarint(connack[2:])
	if n <= 0 || length > uint64(len(connack)-2-n) {
		return 0, fmt.Errorf("%w: CONNACK ends in its properties", errMalformed)
	}
	for rest := connack[2+n:][:length]; len(rest) > 0; {
		size := propertySize(rest)
		if size <= 0 || size > len(rest) {
			return 0, fmt.Errorf("%w: CONNACK property 0x%02X", errMalformed, rest[0])
		}
		if rest[0] == propertyReceiveMaximum {
			return int(binary.BigEndian.Uint16(rest[1:])), nil
		}
		rest = rest[size:]
	}
	return unlimited, nil
}

// propertySize is the length of the first property, its identifier included, or
// 0 if the identifier is none that a CONNACK may have.
func propertySize(property []byte) int {
	text := func(at int) int {
		if len(property) < at+2 {
			return 0
		}
		return at + 2 + int(binary.BigEndian.Uint16(property[at:]))
	}
	switch property[0] {
	case 0x24, 0x25, 0x28, 0x29, 0x2A: // a byte
		return 2
	case 0x13, propertyReceiveMaximum, 0x22: // two bytes
		return 3
	case propertySessionExpiry, 0x27: // four bytes
		return 5
	case 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F: // text or binary
		return text(1)
	case 0x26: // a pair of texts
		if name := text(1); name > 0 {
			return text(name)
		}
	}
	return 0
}
