package broker_test

import (
	"net"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/internal/mqtttest"
)

// wire is an MQTT connection that says exactly what a test wants said, and
// reads only when it asks.
type wire struct {
	*mqtttest.Conn
	id uint16 // of the last packet of its own that needed one
}

// login is a CONNECT. Zero values: 3.1.1, the common password, no clean start.
type login struct {
	version   byte // 3, 4 or 5
	user, id  string
	password  string
	clean     bool
	keepAlive uint16
	will      *will
	props     packets.Properties // MQTT 5
	anonymous bool               // neither user name nor password
}

type will struct {
	topic, body string
	props       packets.Properties
}

// expiry is the property that asks for a session of so many seconds.
func expiry(seconds uint32) packets.Properties {
	return packets.Properties{SessionExpiryInterval: seconds, SessionExpiryIntervalFlag: true}
}

func (l login) packet() packets.Packet {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: l.version, Properties: l.props,
	}
	c := &pk.Connect
	c.ProtocolName = []byte("MQTT")
	switch l.version {
	case 0:
		pk.ProtocolVersion = 4
	case 3:
		c.ProtocolName = []byte("MQIsdp")
	}
	c.ClientIdentifier, c.Clean, c.Keepalive = l.id, l.clean, l.keepAlive
	if !l.anonymous {
		c.UsernameFlag, c.Username = true, []byte(l.user)
		c.PasswordFlag, c.Password = true, []byte(l.password)
		if l.password == "" {
			c.Password = []byte(password)
		}
	}
	if l.will != nil {
		c.WillFlag, c.WillTopic, c.WillPayload = true, l.will.topic, []byte(l.will.body)
		c.WillProperties = l.will.props
	}
	return pk
}

// dial opens a connection and sends nothing.
func (w *world) dial(t testing.TB) *wire {
	t.Helper()
	return &wire{Conn: mqtttest.Dial(t, w.at.MQTT)}
}

func newWire(t testing.TB, conn net.Conn) *wire { return &wire{Conn: mqtttest.New(t, conn)} }

// login connects and returns the CONNACK, whatever it says.
func (w *world) login(t testing.TB, l login) (*wire, packets.Packet) {
	t.Helper()
	c := w.dial(t)
	return c, c.login(l)
}

func (c *wire) login(l login) packets.Packet {
	c.T.Helper()
	return c.Connect(l.packet())
}

// connect connects and must be let in.
func (w *world) connect(t testing.TB, l login) *wire {
	t.Helper()
	c, ack := w.login(t, l)
	if ack.ReasonCode != 0 {
		t.Fatalf("connect %s/%s: refused with %#x %s", l.user, l.id, ack.ReasonCode, ack.Properties.ReasonString)
	}
	return c
}
