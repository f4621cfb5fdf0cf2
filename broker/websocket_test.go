package broker_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/internal/mqtttest"
)

// overWebSocket opens a connection and sends nothing.
func (w *world) overWebSocket(t testing.TB) *wire {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+w.at.HTTP+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	return newWire(t, websocket.NetConn(context.Background(), c, websocket.MessageBinary))
}

func TestOverWebSocket(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice, bob := w.user("alice"), w.user("bob")
		c, s := w.overWebSocket(t), w.connect(t, login{version: v, user: alice, id: "phone"})
		if ack := c.login(durable(v, bob, "page")); ack.ReasonCode != 0 {
			t.Fatalf("CONNACK %#x", ack.ReasonCode)
		}
		c.listen(bob)
		s.say("inbox/"+bob, "to the page")
		if _, e := c.receive(); e.body() != "to the page" {
			t.Errorf("received %q", e.body())
		}
		c.say("inbox/"+alice, "from the page")
		if n := w.stored(bob, "from the page"); n != 1 {
			t.Errorf("stored %d times", n)
		}
		c.Leave()
		w.fill(bob, 100)
		c = w.overWebSocket(t)
		if ack := c.login(durable(v, bob, "page")); !ack.SessionPresent {
			t.Error("the session is gone")
		}
		for n := int64(2); n <= 102; n++ {
			if _, e := c.receive(); e.InboxSeq != n {
				t.Fatalf("received entry %d, want %d", e.InboxSeq, n)
			}
		}
	})
}

// A page is told why its connection ends, like every other client.
func TestWebSocketDisconnectReason(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	refused := w.overWebSocket(t)
	if ack := refused.login(login{version: 5, user: alice, password: "wrong", id: "page"}); ack.ReasonCode != 0x86 {
		t.Errorf("CONNACK %#x, want 0x86", ack.ReasonCode)
	}
	lost := 0
	for range 20 {
		c := w.overWebSocket(t)
		c.login(login{version: 5, user: alice, id: "page"})
		c.Quiet()
		next := w.connect(t, login{version: 5, user: alice, id: "page"})
		if reason := c.Ended(); reason != packets.ErrSessionTakenOver.Code {
			lost++
		}
		next.Leave()
	}
	if lost > 0 {
		t.Errorf("%d of 20 were not told that they were taken over", lost)
	}
}

// bareSocket is a WebSocket that answers nothing by itself, not even a close.
type bareSocket struct {
	conn net.Conn
	in   *bufio.Reader
}

func (w *world) bareSocket(t *testing.T) *bareSocket {
	t.Helper()
	conn, err := net.Dial("tcp", w.at.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	const ask = "GET /mqtt HTTP/1.1\r\nHost: postbox\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
	if _, err := io.WriteString(conn, ask); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	r, err := http.ReadResponse(in, nil)
	if err != nil || r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v, %v", r, err)
	}
	return &bareSocket{conn, in}
}

// send writes one binary message, masked with zeros.
func (s *bareSocket) send(t *testing.T, b []byte) {
	t.Helper()
	head := []byte{0x82, 0x80 | 126, byte(len(b) >> 8), byte(len(b)), 0, 0, 0, 0}
	if _, err := s.conn.Write(append(head, b...)); err != nil {
		t.Fatal(err)
	}
}

// A page that does not answer the close of its WebSocket holds up nobody: not
// the lane that its messages share with others, nor what is sent to it.
func TestWebSocketThatDoesNotClose(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.PublishRate, w.config.Limits.PublishBurst = 1, 3 })
	alice, bob := w.user("alice"), w.user("bob")
	s := w.bareSocket(t)
	connect := login{user: bob, id: "page"}.packetBytes(t)
	s.send(t, connect)
	if _, err := io.ReadFull(s.in, make([]byte, 6)); err != nil { // CONNACK
		t.Fatal(err)
	}
	subscribe := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 1, ProtocolVersion: 4,
		Filters: packets.Subscriptions{{Filter: "inbox/" + bob, Qos: 1}},
	}
	s.send(t, mqtttest.Encode(t, subscribe))
	for id := uint16(1); id <= 10; id++ { // too fast: it is read no further
		s.send(t, publication{id: id, qos: 1, topic: "inbox/" + bob, body: "x"}.encoded(t))
	}
	await(t, "the burst", func() bool { return w.stored(bob, "x") == 3 })

	others := w.connect(t, login{user: alice, id: "phone"})
	witness := w.connect(t, login{version: 5, user: bob, id: "witness"})
	if err := w.store.SetDisabled(t.Context(), postbox.User(bob), true); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if reason := witness.Ended(); reason != packets.ErrAdministrativeAction.Code {
		t.Errorf("ended with %#x", reason)
	}
	for range 3 {
		others.say("inbox/"+bob, "x")
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("others waited %v for a page that does not close", took)
	}
}

// Packets may be split over frames and share them.
func TestWebSocketFramesAreNoPackets(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+w.at.HTTP+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	c := newWire(t, websocket.NetConn(context.Background(), ws, websocket.MessageBinary))
	for _, b := range (login{user: alice, id: "page"}).packetBytes(t) { // a frame for each byte
		c.Write([]byte{b})
	}
	if ack := c.Expect(packets.Connack); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	subscribe := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 1, ProtocolVersion: 4,
		Filters: packets.Subscriptions{{Filter: "inbox/" + alice, Qos: 1}},
	}
	merged := mqtttest.Encode(t, subscribe) // one frame, three packets and a half
	merged = append(merged, publication{id: 2, qos: 1, topic: "inbox/" + alice, body: "one"}.encoded(t)...)
	merged = append(merged, publication{id: 3, qos: 1, topic: "inbox/" + alice, body: "two"}.encoded(t)...)
	last := publication{id: 4, qos: 1, topic: "inbox/" + alice, body: "three"}.encoded(t)
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
	c.Write(last[5:])
	read(2)
	if fmt.Sprint(acks, bodies) != "[2 3 4] [one two three]" {
		t.Errorf("acknowledged %v, delivered %v", acks, bodies)
	}
}
