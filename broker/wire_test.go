package broker_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// wire is an MQTT connection that says exactly what a test wants said, and
// reads only when it asks.
type wire struct {
	t       testing.TB
	conn    net.Conn
	in      *bufio.Reader
	version byte
	id      uint16 // of the last packet of its own that needed one
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
	conn, err := net.DialTimeout("tcp", w.at.MQTT, patience)
	if err != nil {
		t.Fatal(err)
	}
	return newWire(t, conn)
}

func newWire(t testing.TB, conn net.Conn) *wire {
	t.Cleanup(func() { _ = conn.Close() })
	return &wire{t: t, conn: conn, in: bufio.NewReader(conn), version: 4}
}

// login connects and returns the CONNACK, whatever it says.
func (w *world) login(t testing.TB, l login) (*wire, packets.Packet) {
	t.Helper()
	c := w.dial(t)
	return c, c.login(l)
}

func (c *wire) login(l login) packets.Packet {
	c.t.Helper()
	pk := l.packet()
	c.version = pk.ProtocolVersion
	c.send(pk)
	return c.expect(packets.Connack)
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

// encode is the wire form of a packet that a client sends.
func encode(t testing.TB, pk packets.Packet) []byte {
	t.Helper()
	pk.Mods.AllowResponseInfo = true
	var b bytes.Buffer
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectEncode(&b)
	case packets.Publish:
		err = pk.PublishEncode(&b)
	case packets.Puback:
		err = pk.PubackEncode(&b)
	case packets.Pubrel:
		err = pk.PubrelEncode(&b)
	case packets.Subscribe:
		err = pk.SubscribeEncode(&b)
	case packets.Unsubscribe:
		err = pk.UnsubscribeEncode(&b)
	case packets.Pingreq:
		err = pk.PingreqEncode(&b)
	case packets.Disconnect:
		err = pk.DisconnectEncode(&b)
	default:
		err = fmt.Errorf("no client sends packets of type %d", pk.FixedHeader.Type)
	}
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	return b.Bytes()
}

func (c *wire) send(all ...packets.Packet) {
	c.t.Helper()
	var b []byte
	for _, pk := range all {
		pk.ProtocolVersion = c.version
		b = append(b, encode(c.t, pk)...)
	}
	c.write(b)
}

func (c *wire) write(b []byte) {
	c.t.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// next reads the next packet, or tells how the connection ended.
func (c *wire) next() (packets.Packet, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	return readPacket(c.in, c.version)
}

func (c *wire) read() packets.Packet {
	c.t.Helper()
	pk, err := c.next()
	if err != nil {
		c.t.Fatalf("read a packet: %v", err)
	}
	return pk
}

// expect reads the next packet, which must be of this type.
func (c *wire) expect(kind byte) packets.Packet {
	c.t.Helper()
	pk := c.read()
	if pk.FixedHeader.Type != kind {
		c.t.Fatalf("got a %s (id %d, reason %#x, payload %.200q), want a %s", packets.PacketNames[pk.FixedHeader.Type],
			pk.PacketID, pk.ReasonCode, pk.Payload, packets.PacketNames[kind])
	}
	return pk
}

// until reads up to the next packet of a type and returns what came before it.
func (c *wire) until(kind byte) (before []packets.Packet, pk packets.Packet) {
	c.t.Helper()
	for {
		pk = c.read()
		if pk.FixedHeader.Type == kind {
			return before, pk
		}
		before = append(before, pk)
	}
}

// flush sends PINGREQ and returns what comes before its answer.
func (c *wire) flush() []packets.Packet {
	c.t.Helper()
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	before, _ := c.until(packets.Pingresp)
	return before
}

// quiet fails if anything comes before the answer to a PINGREQ.
func (c *wire) quiet() {
	c.t.Helper()
	for _, pk := range c.flush() {
		c.t.Errorf("got a %s (id %d, payload %.200q), want nothing", packets.PacketNames[pk.FixedHeader.Type], pk.PacketID, pk.Payload)
	}
}

// ended waits for the server to end the connection and returns the reason of
// its DISCONNECT, 0 without one.
func (c *wire) ended() (reason byte) {
	c.t.Helper()
	for {
		pk, err := c.next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.t.Fatal("the server does not end the connection")
		case err != nil:
			return reason
		case pk.FixedHeader.Type == packets.Disconnect:
			reason = pk.ReasonCode
		}
	}
}

// vanish ends the connection without a word, as a cut line does.
func (c *wire) vanish() {
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.conn.Close()
}

// leave sends DISCONNECT and waits until the server has closed its side.
func (c *wire) leave() {
	c.t.Helper()
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
	c.ended()
	_ = c.conn.Close()
}

func readPacket(in *bufio.Reader, version byte) (packets.Packet, error) {
	pk := packets.Packet{ProtocolVersion: version}
	first, err := in.ReadByte()
	if err != nil {
		return pk, err
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, err
	}
	length, _, err := packets.DecodeLength(in)
	if err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = length
	body := make([]byte, length)
	if _, err := io.ReadFull(in, body); err != nil {
		return pk, err
	}
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Pubrec:
		err = pk.PubrecDecode(body)
	case packets.Pubcomp:
		err = pk.PubcompDecode(body)
	case packets.Suback:
		err = pk.SubackDecode(body)
	case packets.Unsuback:
		err = pk.UnsubackDecode(body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(body)
	case packets.Pingresp:
	default:
		err = fmt.Errorf("no server sends packets of type %d", pk.FixedHeader.Type)
	}
	return pk, err
}
