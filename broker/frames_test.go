package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/internal/mqtttest"
)

const (
	fin     = mqtttest.Fin
	message = mqtttest.Fin | mqtttest.Binary
)

// Packets may be split over frames and share them, with others between.
func TestWebSocketFramesAreNoPackets(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice := w.user("alice")
		s := w.bareSocket(t)
		c := newWire(t, s)
		c.Version = v
		frames := func(b []byte) (all []byte) { // one for each byte, and what is allowed between
			for i := range b {
				all = append(all, mqtttest.Frame(message, b[i:i+1])...)
				all = append(all, mqtttest.Frame(message, nil)...)
				all = append(all, mqtttest.Frame(fin|mqtttest.Pong, []byte("unasked"))...)
			}
			return all
		}
		write := func(b []byte) {
			t.Helper()
			if _, err := s.TCPConn.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		write(frames(login{version: v, user: alice, id: "page"}.packetBytes(t)))
		if ack := c.Expect(packets.Connack); ack.ReasonCode != 0 {
			t.Fatalf("CONNACK %#x", ack.ReasonCode)
		}
		encoded := func(pk packets.Packet) []byte {
			pk.ProtocolVersion = v
			return mqtttest.Encode(t, pk)
		}
		publish := func(id uint16, body string) []byte {
			return encoded(publication{id: id, qos: 1, topic: "inbox/" + alice, body: body}.packet())
		}
		merged := encoded(packets.Packet{ // one frame, three packets and a half
			FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 1,
			Filters: packets.Subscriptions{{Filter: "inbox/" + alice, Qos: 1}},
		})
		merged = append(append(merged, publish(2, "one")...), publish(3, "two")...)
		last := publish(4, "three")
		c.Write(append(merged, last[:5]...))
		c.Expect(packets.Suback)
		var acks, bodies []string
		read := func(n int) {
			for range n {
				if pk := c.Read(); pk.FixedHeader.Type == packets.Puback {
					acks = append(acks, fmt.Sprint(pk.PacketID))
				} else {
					bodies = append(bodies, open(t, pk).body())
				}
			}
		}
		read(4)
		// The rest is one message in fragments, with a ping inside, its length in
		// more bytes than it takes.
		long := []byte{fin | mqtttest.Continuation, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, last[len(last)-1]}
		write(slices.Concat(mqtttest.Frame(mqtttest.Binary, last[5:6]), mqtttest.Frame(mqtttest.Continuation, nil),
			mqtttest.Frame(fin|mqtttest.Ping, []byte("ping")), mqtttest.Frame(mqtttest.Continuation, last[6:len(last)-1]), long))
		if first, b, err := s.Next(); err != nil || first != fin|mqtttest.Pong || string(b) != "ping" {
			t.Fatalf("a ping was answered with %#x %q, %v", first, b, err)
		}
		read(2)
		if fmt.Sprint(acks, bodies) != "[2 3 4] [one two three]" {
			t.Errorf("acknowledged %v, delivered %v", acks, bodies)
		}
	})
}

// stage is how far a client has come when it goes wrong: in words, and the
// version of its CONNECT, zero if it has not sent any.
var stages = map[string]byte{"before CONNECT": 0, "3.1.1": 4, "5": 5}

// stage opens a WebSocket at a stage, and returns a packet that would be taken
// there.
func (w *world) stage(t testing.TB, v byte, user string) (*mqtttest.WebSocket, *wire, []byte) {
	t.Helper()
	s := w.bareSocket(t)
	c := newWire(t, s)
	l := login{version: max(v, 4), user: user, id: "page", clean: true}
	if v == 0 {
		return s, c, l.packetBytes(t)
	}
	if ack := c.login(l); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	pk := publication{id: 1, qos: 1, topic: "inbox/" + user, body: "x"}.packet()
	pk.ProtocolVersion = v
	return s, c, mqtttest.Encode(t, pk)
}

// What cannot be a frame ends the connection, in whatever stage; what is inside is
// not taken, and a length is not believed before its bytes are there.
func TestMalformedFrames(t *testing.T) {
	w := sharedWorld(t)
	const none, normal, protocol, unsupported = 0, 1000, 1002, 1003
	for stage, v := range stages {
		t.Run(stage, func(t *testing.T) {
			mallory := w.user("mallory")
			large := []byte{0x32, 0xff, 0xff, 0xff, 0x7f} // 256 MiB
			if v == 0 {
				large[0] = 0x10
			}
			for name, test := range map[string]struct {
				frames func(packet []byte) []byte
				code   uint16 // of the server's close
			}{
				"text": {func(p []byte) []byte { return mqtttest.Frame(fin|mqtttest.Text, p) }, unsupported},
				"text after a part": {func(p []byte) []byte {
					return append(mqtttest.Frame(message, p[:3]), mqtttest.Frame(fin|mqtttest.Text, p[3:])...)
				}, unsupported},
				"compressed":               {func(p []byte) []byte { return mqtttest.Frame(message|0x40, p) }, protocol},
				"the second reserved bit":  {func(p []byte) []byte { return mqtttest.Frame(message|0x20, p) }, protocol},
				"the third reserved bit":   {func(p []byte) []byte { return mqtttest.Frame(message|0x10, p) }, protocol},
				"an unknown kind":          {func(p []byte) []byte { return mqtttest.Frame(fin|0x3, p) }, protocol},
				"an unknown control frame": {func(p []byte) []byte { return mqtttest.Frame(fin|0xb, p) }, protocol},
				"a part of no message":     {func(p []byte) []byte { return mqtttest.Frame(fin|mqtttest.Continuation, p) }, protocol},
				"a message in a message": {func(p []byte) []byte {
					return append(mqtttest.Frame(mqtttest.Binary, p[:3]), mqtttest.Frame(message, p[3:])...)
				}, protocol},
				"a ping in two":         {func([]byte) []byte { return mqtttest.Frame(mqtttest.Ping, nil) }, protocol},
				"a ping of 126 bytes":   {func([]byte) []byte { return mqtttest.Frame(fin|mqtttest.Ping, make([]byte, 126)) }, protocol},
				"a close of a byte":     {func([]byte) []byte { return mqtttest.Frame(fin|mqtttest.CloseFrame, []byte{3}) }, protocol},
				"a close for no reason": {func([]byte) []byte { return mqtttest.Frame(fin|mqtttest.CloseFrame, []byte{3, 0xed}) }, protocol},
				"a close":               {func([]byte) []byte { return mqtttest.Frame(fin|mqtttest.CloseFrame, []byte{3, 0xe8}) }, normal},
				"a negative length":     {func(p []byte) []byte { return append(mqtttest.FrameHead(message, 1<<63), p...) }, none},
				"no mask":               {func(p []byte) []byte { return append([]byte{message, byte(len(p))}, p...) }, none},
				"256 MiB inside":        {func([]byte) []byte { return mqtttest.Frame(message, large) }, none},
				"256 MiB in pieces": {func([]byte) (all []byte) {
					for i := range large {
						all = append(all, mqtttest.Frame(message, large[i:i+1])...)
					}
					return all
				}, none},
				"256 MiB inside of more": {func([]byte) []byte {
					return slices.Concat(mqtttest.FrameHead(message, 1<<62), large, make([]byte, 8<<10))
				}, none},
				"a length without end": {func([]byte) []byte { return mqtttest.Frame(message, append(large[:1:1], 0x80, 0x80, 0x80, 0x80, 0x80)) }, none},
			} {
				t.Run(name, func(t *testing.T) {
					s, c, packet := w.stage(t, v, mallory)
					began := time.Now()
					if _, err := s.TCPConn.Write(test.frames(packet)); err != nil {
						t.Fatal(err)
					}
					code, reason := c.endOfFrames()
					if code != test.code {
						t.Errorf("closed with %d, want %d", code, test.code)
					}
					if want := v == 5 && strings.HasPrefix(name, "256 MiB"); want != (reason == 0x95) {
						t.Errorf("DISCONNECT %#x, want 0x95: %v", reason, want)
					}
					if took := time.Since(began); took > 5*time.Second { // a CONNECT has 10
						t.Errorf("ended after %v", took)
					}
				})
			}
			if n := w.sent(mallory); n != 0 {
				t.Errorf("%d messages stored", n)
			}
			_, c, _ := w.stage(t, max(v, 4), mallory)
			c.say("inbox/"+mallory, "still here")
		})
	}
}

// endOfFrames waits for the end, and returns the codes that it was told of by
// WebSocket and by MQTT. Nothing else may come.
func (c *wire) endOfFrames() (code uint16, reason byte) {
	c.T.Helper()
	for {
		pk, err := c.Next()
		var closed mqtttest.Closed
		switch {
		case errors.As(err, &closed):
			return uint16(closed), reason
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.T.Fatal("the server does not end the connection")
		case err != nil:
			return 0, reason
		case pk.FixedHeader.Type != packets.Disconnect:
			c.T.Errorf("got a %s, code %#x", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode)
		default:
			reason = pk.ReasonCode
		}
	}
}

// Frames without packets are no way around the limits of packets and of the time
// to CONNECT: who sends them without an end is cut off, and nobody else notices.
func TestFloodOfFrames(t *testing.T) {
	w := sharedWorld(t)
	const most = 24 << 20 // bytes; several times what the kernels hold
	for stage, v := range stages {
		for name, frames := range map[string][]byte{
			"pings":           mqtttest.Frame(fin|mqtttest.Ping, nil),
			"large pings":     mqtttest.Frame(fin|mqtttest.Ping, make([]byte, 125)),
			"pongs":           mqtttest.Frame(fin|mqtttest.Pong, nil),
			"empty messages":  mqtttest.Frame(message, nil),
			"empty fragments": mqtttest.Frame(mqtttest.Continuation, nil),
			"closes":          mqtttest.Frame(fin|mqtttest.CloseFrame, []byte{3, 0xe8}),
		} {
			// Not at once: it is measured how soon one of them ends.
			t.Run(stage+", "+name, func(t *testing.T) {
				s, _, packet := w.stage(t, v, w.user("mallory"))
				began := time.Now()
				if name == "empty fragments" {
					_ = s.Send(mqtttest.Binary, packet[:1])
				}
				piece, sent := bytes.Repeat(frames, 64<<10/len(frames)), 0
				for sent < most {
					_ = s.SetWriteDeadline(time.Now().Add(patience))
					n, err := s.TCPConn.Write(piece)
					if errors.Is(err, os.ErrDeadlineExceeded) {
						t.Fatal("neither read nor ended")
					}
					if sent += n; err != nil {
						break
					}
				}
				if took := time.Since(began); sent >= most || took > 5*time.Second { // a CONNECT has 10
					t.Errorf("%d bytes of frames were taken in %v", sent, took)
				}
			})
		}
	}
}
