package proof

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"postbox/internal/mqtttest"
)

// Raw is an MQTT connection that says exactly what the proof wants it to say,
// for what well-behaved libraries do not let one say.
type Raw struct {
	t       testing.TB
	conn    net.Conn
	in      *bufio.Reader
	version byte
	id      uint16
}

// RawConnect is what a Raw puts into its CONNECT.
type RawConnect struct {
	Version  byte // 3, 4 or 5
	ID       string
	User     string
	Password string
	// Anonymous leaves out both fields; otherwise both are there, empty or not.
	Anonymous bool
	Clean     bool
	Expiry    uint32 // session expiry in seconds, MQTT 5
	KeepAlive uint16 // in seconds; 60 if zero
	// ReceiveMaximum and MaximumPacket are announced if not zero, MQTT 5.
	ReceiveMaximum uint16
	MaximumPacket  uint32
	// Narrow makes the kernels on both sides hold little of what the server
	// sends, so that it soon feels a device that does not read.
	Narrow bool
	// From is the address of this machine from which it connects; empty: any.
	From string
	// WebSocket goes by one; the address to connect to is that of HTTP.
	WebSocket bool
	// Will topic and payload; no will without a topic.
	WillTopic, WillBody string
	WillDelay           uint32 // in seconds, MQTT 5
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendVarint(b []byte, n int) []byte {
	for {
		digit := byte(n & 0x7f)
		if n >>= 7; n == 0 {
			return append(b, digit)
		}
		b = append(b, digit|0x80)
	}
}

func packet(first byte, body []byte) []byte {
	return append(appendVarint([]byte{first}, len(body)), body...)
}

func (c RawConnect) packet() []byte {
	name := "MQTT"
	if c.Version == 3 {
		name = "MQIsdp"
	}
	flags := byte(0xc0)
	if c.Anonymous {
		flags = 0
	}
	if c.Clean {
		flags |= 0x02
	}
	if c.WillTopic != "" {
		flags |= 0x04 | 1<<3
	}
	b := append(appendText(nil, name), c.Version, flags)
	b = binary.BigEndian.AppendUint16(b, cmp.Or(c.KeepAlive, 60))
	if c.Version == 5 {
		p := binary.BigEndian.AppendUint32([]byte{0x11}, c.Expiry)
		if c.ReceiveMaximum > 0 {
			p = binary.BigEndian.AppendUint16(append(p, 0x21), c.ReceiveMaximum)
		}
		if c.MaximumPacket > 0 {
			p = binary.BigEndian.AppendUint32(append(p, 0x27), c.MaximumPacket)
		}
		b = append(appendVarint(b, len(p)), p...)
	}
	b = appendText(b, c.ID)
	if c.WillTopic != "" {
		if c.Version == 5 {
			b = binary.BigEndian.AppendUint32(append(b, 5, 0x18), c.WillDelay)
		}
		b = appendText(appendText(b, c.WillTopic), c.WillBody)
	}
	if !c.Anonymous {
		b = appendText(appendText(b, c.User), c.Password)
	}
	return packet(typeConnect<<4, b)
}

// DialRaw connects and returns the code of the CONNACK, with session present.
// The connection ends with the test.
func DialRaw(t testing.TB, addr string, c RawConnect) (r *Raw, code byte, session bool) {
	t.Helper()
	conn, err := c.dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r = &Raw{t: t, conn: conn, in: bufio.NewReader(conn), version: c.Version}
	r.Write(c.packet())
	f := r.read(typeConnack)
	return r, f.body[1], f.body[0]&1 == 1
}

func (c RawConnect) dial(addr string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	if c.From != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(c.From)}
	}
	if c.Narrow {
		dialer.Control = narrow
	}
	if c.WebSocket {
		conn, _, err := mqtttest.DialWebSocket(dialer, addr, "")
		if err != nil {
			return nil, err
		}
		return conn, nil
	}
	return dialer.Dial("tcp", addr)
}

// Write puts bytes on the wire.
func (r *Raw) Write(b []byte) {
	r.t.Helper()
	if _, err := r.conn.Write(b); err != nil {
		r.t.Fatalf("write: %v", err)
	}
}

// read returns the next packet of the kind and drops others before it.
func (r *Raw) read(kind byte) frame {
	r.t.Helper()
	_ = r.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		f, err := readFrame(r.in)
		if err != nil {
			r.t.Fatalf("wait for a packet of type %d: %v", kind, err)
		}
		if f.kind() == kind {
			return f
		}
	}
}

// Subscribe asks for one filter at QoS 1 and returns the code of the SUBACK.
func (r *Raw) Subscribe(filter string) byte {
	r.t.Helper()
	r.id++
	b := binary.BigEndian.AppendUint16(nil, r.id)
	if r.version == 5 {
		b = append(b, 0)
	}
	r.Write(packet(8<<4|2, append(appendText(b, filter), 1)))
	f := r.read(typeSuback)
	return f.body[len(f.body)-1]
}

// Send sends a QoS 1 message and does not wait for its acknowledgement.
func (r *Raw) Send(topic, body string) {
	r.t.Helper()
	r.id++
	b := binary.BigEndian.AppendUint16(appendText(nil, topic), r.id)
	if r.version == 5 {
		b = append(b, 0)
	}
	r.Write(packet(typePublish<<4|1<<1, append(b, body...)))
}

// Publish sends a QoS 1 message and returns its acknowledgement.
func (r *Raw) Publish(topic, body string, retain bool) (reason byte, user map[string][]string) {
	r.t.Helper()
	r.id++
	first := byte(typePublish<<4 | 1<<1)
	if retain {
		first |= 1
	}
	b := binary.BigEndian.AppendUint16(appendText(nil, topic), r.id)
	if r.version == 5 {
		b = append(b, 0)
	}
	r.Write(packet(first, append(b, body...)))
	a, err := parseAck(r.read(typePuback), r.version)
	if err != nil || a.PacketID != r.id {
		r.t.Fatalf("PUBACK %+v (%v), want packet id %d", a, err, r.id)
	}
	return a.Reason, a.User
}

// Alive tells whether the server still answers a PINGREQ on this connection.
func (r *Raw) Alive() bool {
	r.t.Helper()
	if _, err := r.conn.Write([]byte{0xc0, 0}); err != nil {
		return false
	}
	_ = r.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		f, err := readFrame(r.in)
		if err != nil {
			return false
		}
		if f.kind() == 13 {
			return true
		}
	}
}

// WaitEnd waits for the server to end the connection and returns how long that
// took and the reason of its DISCONNECT, 0 without one.
func (r *Raw) WaitEnd(limit time.Duration) (took time.Duration, reason byte) {
	r.t.Helper()
	began := time.Now()
	_ = r.conn.SetReadDeadline(began.Add(limit))
	for {
		f, err := readFrame(r.in)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			r.t.Fatalf("the server has not ended the connection within %v", limit)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				r.t.Logf("connection ended with %v", err)
			}
			return time.Since(began), reason
		}
		if f.kind() == typeDisconnect && len(f.body) > 0 {
			reason = f.body[0]
		}
	}
}

// Silent fails the test if a PUBLISH comes before the answer to a PINGREQ.
func (r *Raw) Silent() {
	r.t.Helper()
	r.Write([]byte{0xc0, 0})
	_ = r.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		f, err := readFrame(r.in)
		switch {
		case err != nil:
			r.t.Fatalf("wait for PINGRESP: %v", err)
		case f.kind() == typePublish:
			p, _ := parsePublish(f, r.version)
			r.t.Errorf("got %q on %q, want nothing", p.Body, p.Topic)
		case f.kind() == 13:
			return
		}
	}
}
