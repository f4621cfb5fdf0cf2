package mqtttest

import (
	"bufio"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Patience bounds every wait for something that must happen. It is long: the
// machine may be busy. No test waits for it to pass.
const Patience = 20 * time.Second

// Conn is a client's connection. Version is that of the packets it sends and
// reads: 3, 4 or 5; a CONNECT that is sent sets it.
type Conn struct {
	T       testing.TB
	Net     net.Conn
	In      *bufio.Reader
	Version byte
}

// New makes a Conn of version 4 of an open connection, which is closed at the
// end of the test.
func New(t testing.TB, conn net.Conn) *Conn {
	t.Cleanup(func() { _ = conn.Close() })
	return &Conn{T: t, Net: conn, In: bufio.NewReader(conn), Version: 4}
}

// Dial opens a connection by TCP and sends nothing.
func Dial(t testing.TB, address string) *Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, Patience)
	if err != nil {
		t.Fatal(err)
	}
	return New(t, conn)
}

// Connect sends a CONNECT and returns the CONNACK, whatever it says.
func (c *Conn) Connect(pk packets.Packet) packets.Packet {
	c.T.Helper()
	c.Version = pk.ProtocolVersion
	c.Send(pk)
	return c.Expect(packets.Connack)
}

// Send writes packets, all at once.
func (c *Conn) Send(all ...packets.Packet) {
	c.T.Helper()
	var b []byte
	for _, pk := range all {
		pk.ProtocolVersion = c.Version
		b = append(b, Encode(c.T, pk)...)
	}
	c.Write(b)
}

// Write writes bytes as they are.
func (c *Conn) Write(b []byte) {
	c.T.Helper()
	_ = c.Net.SetWriteDeadline(time.Now().Add(Patience))
	if _, err := c.Net.Write(b); err != nil {
		c.T.Fatalf("write: %v", err)
	}
}

// Next reads the next packet, or tells how the connection ended.
func (c *Conn) Next() (packets.Packet, error) {
	_ = c.Net.SetReadDeadline(time.Now().Add(Patience))
	return Decode(c.In, c.Version)
}

// Read reads the next packet, which must come.
func (c *Conn) Read() packets.Packet {
	c.T.Helper()
	pk, err := c.Next()
	if err != nil {
		c.T.Fatalf("read a packet: %v", err)
	}
	return pk
}

// Expect reads the next packet, which must be of this type.
func (c *Conn) Expect(kind byte) packets.Packet {
	c.T.Helper()
	pk := c.Read()
	if pk.FixedHeader.Type != kind {
		c.T.Fatalf("got a %s (id %d, reason %#x, payload %.200q), want a %s", packets.PacketNames[pk.FixedHeader.Type],
			pk.PacketID, pk.ReasonCode, pk.Payload, packets.PacketNames[kind])
	}
	return pk
}

// Until reads up to the next packet of a type and returns what came before it.
func (c *Conn) Until(kind byte) (before []packets.Packet, pk packets.Packet) {
	c.T.Helper()
	for {
		pk = c.Read()
		if pk.FixedHeader.Type == kind {
			return before, pk
		}
		before = append(before, pk)
	}
}

// Flush sends PINGREQ and returns what comes before its answer.
func (c *Conn) Flush() []packets.Packet {
	c.T.Helper()
	c.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	before, _ := c.Until(packets.Pingresp)
	return before
}

// Quiet fails the test if anything comes before the answer to a PINGREQ.
func (c *Conn) Quiet() {
	c.T.Helper()
	for _, pk := range c.Flush() {
		c.T.Errorf("got a %s (id %d, payload %.200q), want nothing", packets.PacketNames[pk.FixedHeader.Type], pk.PacketID, pk.Payload)
	}
}

// Ended waits for the server to end the connection and returns the reason of
// its DISCONNECT, 0 without one.
func (c *Conn) Ended() (reason byte) {
	c.T.Helper()
	for {
		pk, err := c.Next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.T.Fatal("the server does not end the connection")
		case err != nil:
			return reason
		case pk.FixedHeader.Type == packets.Disconnect:
			reason = pk.ReasonCode
		}
	}
}

// Vanish ends the connection without a word, as a cut line does.
func (c *Conn) Vanish() {
	if tcp, ok := c.Net.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Net.Close()
}

// Leave sends DISCONNECT and waits until the server has closed its side.
func (c *Conn) Leave() {
	c.T.Helper()
	c.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
	c.Ended()
	_ = c.Net.Close()
}
