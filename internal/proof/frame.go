package proof

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Control packet types of MQTT that the tap looks at.
const (
	typeConnect    = 1
	typeConnack    = 2
	typePublish    = 3
	typePuback     = 4
	typePubrec     = 5
	typePubrel     = 6
	typePubcomp    = 7
	typeSuback     = 9
	typeDisconnect = 14
)

// maxFrame bounds a frame that the tap is willing to hold in memory, in bytes.
const maxFrame = 8 << 20

// errShortFrame is returned when a frame ends inside a field.
var errShortFrame = errors.New("frame ends inside a field")

// frame is one MQTT control packet as it was on the wire.
type frame struct {
	first byte   // type and flags
	body  []byte // variable header and payload, a part of raw
	raw   []byte // the whole packet
}

func (f frame) kind() byte { return f.first >> 4 }

// readFrame reads one control packet. io.EOF means that the stream ended
// between two packets, io.ErrUnexpectedEOF inside one.
func readFrame(r *bufio.Reader) (frame, error) {
	first, err := r.ReadByte()
	if err != nil {
		return frame{}, err
	}
	raw := []byte{first}
	length := 0
	for shift := 0; ; shift += 7 {
		if shift > 21 {
			return frame{}, errors.New("remaining length is longer than four bytes")
		}
		b, err := r.ReadByte()
		if err != nil {
			return frame{}, noEOF(err)
		}
		raw = append(raw, b)
		length |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
	}
	if length > maxFrame {
		return frame{}, fmt.Errorf("frame of %d bytes is over the tap's %d", length, maxFrame)
	}
	head := len(raw)
	raw = append(raw, make([]byte, length)...)
	if _, err := io.ReadFull(r, raw[head:]); err != nil {
		return frame{}, noEOF(err)
	}
	return frame{first: first, body: raw[head:], raw: raw}, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fields reads the fields of a control packet one after another. The first
// failure sticks: later reads return zero values and err stays set.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) take(n int) []byte {
	if f.err != nil || n > len(f.rest) {
		f.err = errShortFrame
		return make([]byte, min(n, 4))
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) byte() byte     { return f.take(1)[0] }
func (f *fields) uint16() uint16 { return binary.BigEndian.Uint16(f.take(2)) }
func (f *fields) text() string   { return string(f.take(int(f.uint16()))) }

func (f *fields) varint() int {
	n := 0
	for shift := 0; shift <= 21; shift += 7 {
		b := f.byte()
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	f.err = errors.New("variable byte integer is longer than four bytes")
	return 0
}

// properties are the MQTT 5 properties that the proofs look at.
type properties struct {
	ContentType string
	User        map[string][]string
}

// properties reads a property block [MQTT 5 §2.2.2].
func (f *fields) properties() properties {
	p := properties{User: map[string][]string{}}
	block := fields{rest: f.take(f.varint()), err: f.err}
	for len(block.rest) > 0 && block.err == nil {
		switch id := block.varint(); id {
		case 0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2a:
			block.byte()
		case 0x13, 0x21, 0x22, 0x23:
			block.uint16()
		case 0x02, 0x11, 0x18, 0x27:
			block.take(4)
		case 0x0b:
			block.varint()
		case 0x03:
			p.ContentType = block.text()
		case 0x08, 0x09, 0x12, 0x15, 0x16, 0x1a, 0x1c, 0x1f:
			block.text()
		case 0x26:
			k := block.text()
			p.User[k] = append(p.User[k], block.text())
		default:
			block.err = fmt.Errorf("property 0x%02x is not one of MQTT 5", id)
		}
	}
	if block.err != nil {
		f.err = block.err
	}
	return p
}

// connectPacket is what the tap needs of a CONNECT.
type connectPacket struct {
	Version  byte // 3, 4 or 5
	ClientID string
	User     string
}

func parseConnect(f frame) (connectPacket, error) {
	in := fields{rest: f.body}
	in.text()
	c := connectPacket{Version: in.byte()}
	flags := in.byte()
	in.uint16()
	if c.Version == 5 {
		in.properties()
	}
	c.ClientID = in.text()
	if flags&0x04 != 0 {
		if c.Version == 5 {
			in.properties()
		}
		in.text()
		in.text()
	}
	if flags&0x80 != 0 {
		c.User = in.text()
	}
	return c, in.err
}

// publishPacket is what the tap needs of a PUBLISH.
type publishPacket struct {
	PacketID   uint16 // 0 at QoS 0
	QoS        byte
	Dup        bool
	Retain     bool
	Topic      string
	Properties properties
	Body       []byte
}

func parsePublish(f frame, version byte) (publishPacket, error) {
	p := publishPacket{QoS: f.first >> 1 & 3, Dup: f.first&8 != 0, Retain: f.first&1 != 0}
	in := fields{rest: f.body}
	p.Topic = in.text()
	if p.QoS > 0 {
		p.PacketID = in.uint16()
	}
	if version == 5 {
		p.Properties = in.properties()
	}
	p.Body = in.rest
	return p, in.err
}

// ackPacket is a PUBACK, PUBREC, PUBREL or PUBCOMP.
type ackPacket struct {
	PacketID uint16
	Reason   byte
	User     map[string][]string
}

func parseAck(f frame, version byte) (ackPacket, error) {
	in := fields{rest: f.body}
	a := ackPacket{PacketID: in.uint16()}
	if version == 5 && len(in.rest) > 0 {
		a.Reason = in.byte()
		if len(in.rest) > 0 {
			a.User = in.properties().User
		}
	}
	return a, in.err
}
