package broker_test

import (
	"context"
	"fmt"
	"net"
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
	return newWire(t, websocket.NetConn(context.Background(), w.socket(t), websocket.MessageBinary))
}

func (w *world) socket(t testing.TB) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+w.at.HTTP+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
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

// A WebSocket that has had nothing for a while still answers pings: the time that a
// write may take is over when it is.
func TestWebSocketAnswersPingsLater(t *testing.T) {
	w := sharedWorld(t)
	socket := w.socket(t)
	c := newWire(t, websocket.NetConn(context.Background(), socket, websocket.MessageBinary))
	if ack := c.login(login{user: w.user("bob"), id: "page"}); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	socket.CloseRead(t.Context()) // reads answers
	time.Sleep(11 * time.Second)  // a write may take ten
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := socket.Ping(ctx); err != nil {
		t.Errorf("no answer: %v", err)
	}
}

// bareSocket opens a WebSocket that answers nothing by itself, not even a close.
func (w *world) bareSocket(t testing.TB) *mqtttest.WebSocket {
	t.Helper()
	s, _, err := mqtttest.DialWebSocket(net.Dialer{Timeout: patience}, w.at.HTTP, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// ways are how a client can come in.
func (w *world) ways() map[string]func(testing.TB) *wire {
	return map[string]func(testing.TB) *wire{"tcp": w.dial, "websocket": func(t testing.TB) *wire { return newWire(t, w.bareSocket(t)) }}
}

// byEachWay runs f for 3.1.1 and 5, by TCP and by WebSocket, side by side.
func (w *world) byEachWay(t *testing.T, f func(t *testing.T, version byte, dial func(testing.TB) *wire)) {
	for name, dial := range w.ways() {
		for _, v := range []byte{4, 5} {
			t.Run(fmt.Sprintf("%s, version %d", name, v), func(t *testing.T) {
				t.Parallel()
				f(t, v, dial)
			})
		}
	}
}

// A page that does not answer the close of its WebSocket holds up nobody: not
// the lane that its messages share with others, nor what is sent to it.
func TestWebSocketThatDoesNotClose(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.PublishRate, w.config.Limits.PublishBurst = 1, 3 })
	alice, bob := w.user("alice"), w.user("bob")
	s := newWire(t, w.bareSocket(t))
	if ack := s.login(login{user: bob, id: "page"}); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	subscribe := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 1, ProtocolVersion: 4,
		Filters: packets.Subscriptions{{Filter: "inbox/" + bob, Qos: 1}},
	}
	s.Send(subscribe)
	for id := uint16(1); id <= 10; id++ { // too fast: it is read no further
		s.publish(publication{id: id, qos: 1, topic: "inbox/" + bob, body: "x"})
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
