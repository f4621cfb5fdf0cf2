package mqtttest

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Noise says what broken and hostile clients say: packets of every type with
// wild but well-formed fields, and such packets after a change that no encoder
// makes. The same source of numbers gives the same packets. It is for one
// goroutine.
type Noise struct {
	T       testing.TB
	Rand    *rand.Rand
	Version byte   // 3, 4 or 5
	User    string // the one who is connected
	Other   string // who does not want to hear of User
}

// pick is one of several.
func pick[E any](r *rand.Rand, of ...E) E { return of[r.IntN(len(of))] }

// chance is true once in n.
func (n *Noise) chance(in int) bool { return n.Rand.IntN(in) == 0 }

// Packet is the next packet, and whether it was changed after it was encoded.
func (n *Noise) Packet() (b []byte, changed bool) {
	b = n.valid()
	if n.chance(4) {
		return b, false
	}
	for again := true; again; again = n.chance(3) {
		b = n.Change(b)
	}
	return b, true
}

// Connect is a CONNECT of the user, whose fields are wild when asked for.
func (n *Noise) Connect(device, password string, wild bool) []byte {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: n.Version}
	c := &pk.Connect
	c.ProtocolName = []byte("MQTT")
	if n.Version == 3 {
		c.ProtocolName = []byte("MQIsdp")
	}
	c.ClientIdentifier, c.Clean, c.Keepalive = device, n.chance(2), 60
	c.UsernameFlag, c.Username, c.PasswordFlag, c.Password = true, []byte(n.User), true, []byte(password)
	if n.Version == 5 && n.chance(2) {
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 3600, true
	}
	if n.chance(8) {
		c.WillFlag, c.WillTopic, c.WillPayload = true, pick(n.Rand, "inbox/"+n.User, "inbox/"+n.Other, n.topic()), n.body()
	}
	if wild {
		c.Keepalive = uint16(n.Rand.Uint32())
		if n.chance(2) {
			c.ClientIdentifier = pick(n.Rand, "", "a/b", "+", "\x01", strings.Repeat("x", 200), "\u00e9")
		}
		if n.chance(2) {
			c.Username = []byte(pick(n.Rand, n.Other, "", "nobody", "#"))
			c.Password = []byte(pick(n.Rand, "", "wrong"))
		}
		pk.Properties = n.properties()
	}
	return Encode(n.T, pk)
}

// valid is a well-formed packet.
func (n *Noise) valid() []byte {
	pk := packets.Packet{ProtocolVersion: n.Version, PacketID: n.id()}
	head := func(kind, qos byte) { pk.FixedHeader = packets.FixedHeader{Type: kind, Qos: qos} }
	pk.Properties = n.properties()
	if n.chance(40) {
		return n.rare()
	}
	switch n.Rand.IntN(15) {
	case 0, 1, 2, 3, 4, 5:
		head(packets.Publish, byte(n.Rand.IntN(3)))
		pk.FixedHeader.Dup, pk.FixedHeader.Retain = pk.FixedHeader.Qos > 0 && n.chance(3), n.chance(4)
		pk.TopicName, pk.Payload = n.topic(), n.body()
	case 6, 7, 8:
		head(packets.Subscribe, 1)
		for range 1 + n.Rand.IntN(3) {
			pk.Filters = append(pk.Filters, packets.Subscription{
				Filter: n.filter(), Qos: byte(n.Rand.IntN(3)), NoLocal: n.Version == 5 && n.chance(3), RetainHandling: byte(n.Rand.IntN(3)),
				Identifier: n.Rand.IntN(3),
			})
		}
	case 9:
		head(packets.Unsubscribe, 1)
		pk.Filters = packets.Subscriptions{{Filter: n.filter()}}
	case 10, 11:
		head(packets.Puback, 0)
		pk.ReasonCode = n.reason()
	case 12, 13:
		head(packets.Pubrel, 1)
		pk.ReasonCode = n.reason()
	default:
		head(packets.Pingreq, 0)
	}
	return Encode(n.T, pk)
}

// rare is a packet that clients send seldom, or never.
func (n *Noise) rare() []byte {
	switch n.Rand.IntN(6) {
	case 0:
		return n.Connect("again", "wrong", n.chance(2))
	case 1:
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ProtocolVersion: n.Version}
		pk.ReasonCode, pk.Properties = n.reason(), n.properties()
		return Encode(n.T, pk)
	case 2:
		return []byte{0xe0, 1, pick[byte](n.Rand, 0, 4, 0x80, 7)}
	}
	// PUBREC and PUBCOMP, what only servers send, AUTH, and no type at all.
	kind := pick[byte](n.Rand, 0x50, 0x70, 0x50, 0x70, 0x20, 0x90, 0xb0, 0xd0, 0xf0, 0x00)
	id := n.id()
	body := []byte{byte(id >> 8), byte(id)}
	for range n.Rand.IntN(4) {
		body = append(body, byte(n.Rand.Uint32()))
	}
	return frame(kind, body)
}

func (n *Noise) id() uint16 {
	if n.chance(16) {
		return pick[uint16](n.Rand, 60_000, 60_001, 65_535)
	}
	return uint16(1 + n.Rand.IntN(12)) // deliveries have such too
}

func (n *Noise) reason() byte {
	if n.Version < 5 {
		return 0
	}
	return pick[byte](n.Rand, 0, 0, 0, 0x10, 0x80, 0x87, 0x92, 0xff)
}

func (n *Noise) body() []byte {
	size := pick(n.Rand, 0, 1, 10, 100)
	if n.chance(200) {
		size = pick(n.Rand, 5_000, 70_000)
	}
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(n.Rand.Uint32())
	}
	return b
}

func (n *Noise) topic() string {
	if n.chance(20) { // each ends the connection
		return pick(n.Rand, "#", "inbox/+", "", "inbox/"+n.Other+"\x00", "inbox/\xff")
	}
	return pick(n.Rand,
		"inbox/"+n.User, "inbox/"+n.User, "inbox/"+n.User+"/key"+string('a'+rune(n.Rand.IntN(4))), "inbox/"+n.Other,
		"inbox/"+n.Other+"/k", "inbox/nobody", "inbox/"+n.Other+"/since/0", "room/dev", "signal/"+n.Other, "presence/"+n.Other,
		"reply/"+n.Other+"/x", "api/v1/send", "$SYS/x", "$share/g/inbox/"+n.Other, "/", "inbox//", "INBOX/"+n.Other,
		strings.Repeat("/", 300), strings.Repeat("x", 3_000))
}

func (n *Noise) filter() string {
	if n.chance(40) {
		return pick(n.Rand, "", "\xff", "inbox/\x00")
	}
	return pick(n.Rand,
		"inbox/"+n.User, "inbox/"+n.User, "inbox/"+n.User+"/since/0", "inbox/"+n.User+"/since/zz:7", "signal/"+n.User, "presence/+",
		"presence/"+n.Other, "reply/"+n.User+"/#", "reply/"+n.User+"/+/x", "inbox/"+n.Other, "inbox/"+n.Other+"/since/0", "signal/"+n.Other,
		"reply/"+n.Other+"/#", "#", "+/+", "+/"+n.Other, "inbox/#", "inbox/+", "$share/g/inbox/"+n.Other, "$share/g/#", "$share//x", "$SYS/#",
		"a#", "a+/b", "inbox/"+n.User+"/#", "reply/"+n.User+"/#/x", strings.Repeat("+/", 300)+"#", strings.Repeat("x", 3_000))
}

// properties are some of all there are; the encoder leaves out those that a
// type of packet cannot have.
func (n *Noise) properties() (p packets.Properties) {
	if n.Version < 5 {
		return p
	}
	for range n.Rand.IntN(4) {
		switch n.Rand.IntN(10) {
		case 0:
			p.User = append(p.User, packets.UserProperty{Key: "idempotency-key", Val: pick(n.Rand, "k1", "k2", "", "a b", strings.Repeat("k", 300))})
		case 1:
			p.User = append(p.User, packets.UserProperty{Key: "ref", Val: pick(n.Rand, `{"a":1}`, "{", "[]", "")})
		case 2:
			p.User = append(p.User, packets.UserProperty{Key: pick(n.Rand, "since", "form", "from", "\xff"), Val: pick(n.Rand, "0", "raw", "zz:99", n.Other)})
		case 3:
			p.TopicAlias, p.TopicAliasFlag = uint16(n.Rand.IntN(3)), true
		case 4:
			p.MessageExpiryInterval = n.Rand.Uint32()
		case 5:
			p.ContentType = pick(n.Rand, "text/plain", "\xff", strings.Repeat("t", 400))
		case 6:
			p.ResponseTopic, p.CorrelationData = pick(n.Rand, "reply/"+n.Other+"/x", "inbox/"+n.Other), []byte("c")
		case 7:
			p.SessionExpiryInterval, p.SessionExpiryIntervalFlag = pick[uint32](n.Rand, 0, 1, 0xffffffff), true
		case 8:
			p.ReceiveMaximum, p.MaximumPacketSize = uint16(n.Rand.IntN(3)), pick[uint32](n.Rand, 0, 2, 40, 300)
		case 9:
			p.PayloadFormat, p.PayloadFormatFlag = byte(n.Rand.IntN(3)), true
			p.AuthenticationMethod = pick(n.Rand, "", "", "SCRAM")
		}
	}
	return p
}
