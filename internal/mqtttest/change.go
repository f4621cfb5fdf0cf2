package mqtttest

import (
	"encoding/binary"
	"slices"
)

// frame puts a fixed header before a body.
func frame(first byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)
}

// unframe takes a whole packet apart.
func unframe(b []byte) (first byte, body []byte) {
	_, n := binary.Uvarint(b[1:])
	return b[0], b[1+n:]
}

// Framed reports whether b is a row of whole packets, by their lengths alone: if
// so the server reads what comes next as a packet. What has a length of more
// than four bytes is none. It also counts the PINGREQs among them.
func Framed(b []byte) (whole bool, pings int) {
	for len(b) > 0 {
		length, n := binary.Uvarint(b[1:])
		if n <= 0 || n > 4 || length > uint64(len(b)-1-n) {
			return false, pings
		}
		if b[0]>>4 == 12 {
			pings++
		}
		b = b[1+n+int(length):]
	}
	return true, pings
}

// Change makes one change to a packet that no encoder makes. Most leave its
// length right, so that the decoders see what is behind it.
func (n *Noise) Change(b []byte) []byte {
	if whole, _ := Framed(b); !whole {
		return b
	}
	first, body := unframe(slices.Clone(b))
	at := 0
	if len(body) > 0 {
		at = n.Rand.IntN(len(body))
	}
	if n.chance(6) {
		return n.reframe(first, body, at)
	}
	if len(body) == 0 {
		return b
	}
	switch n.Rand.IntN(10) {
	case 0:
		body[at] = pick[byte](n.Rand, 0, 1, 0x26, 0x7f, 0x80, 0xff)
	case 1: // some of it twice, a property perhaps
		body = slices.Insert(body, at, body[at:min(len(body), at+1+n.Rand.IntN(12))]...)
	case 2: // the flags of PUBLISH; others have none
		if first>>4 == 3 {
			first = first&0xf0 | byte(n.Rand.IntN(6))
		}
	case 3: // a packet identifier of zero, where there is one
		if len(body) > 1 && n.chance(4) {
			body[0], body[1] = 0, 0
		}
	default: // towards the end, where text and payload are
		at = max(at, n.Rand.IntN(len(body)))
		body[at] ^= 1 << n.Rand.IntN(7)
	}
	return frame(first, body)
}

// reframe changes a packet so that it is hardly one any more.
func (n *Noise) reframe(first byte, body []byte, at int) []byte {
	switch n.Rand.IntN(7) {
	case 0:
		first = first&0xf0 | byte(n.Rand.IntN(16))
	case 1:
		first = first&0x0f | byte(n.Rand.IntN(16))<<4
	case 2: // cut short
		body = body[:at]
	case 3: // more at the end
		for range 1 + n.Rand.IntN(6) {
			body = append(body, byte(n.Rand.Uint32()))
		}
	case 4: // some of it missing
		body = slices.Delete(body, at, min(len(body), at+1+n.Rand.IntN(12)))
	case 5: // a length that is not so
		if at+1 < len(body) {
			binary.BigEndian.PutUint16(body[at:], pick[uint16](n.Rand, 0, 1, 0x7fff, 0xffff))
		}
	default:
		return n.misframe(first, body)
	}
	return frame(first, body)
}

// misframe gives a packet a wrong length, or a strange form of the right one.
func (n *Noise) misframe(first byte, body []byte) []byte {
	switch n.Rand.IntN(4) {
	case 0: // longer than need be
		padded := append([]byte{first}, byte(len(body))|0x80, byte(len(body)>>7)|0x80, byte(len(body)>>14)&0x7f)
		return append(padded, body...)
	case 1: // without an end
		return append([]byte{first, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}, body...)
	case 2:
		return append([]byte{first, 0xff, 0xff, 0xff, 0x7f}, body...)
	}
	return append(binary.AppendUvarint([]byte{first}, uint64(len(body)+n.Rand.IntN(300))), body...)
}
