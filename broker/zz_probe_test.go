package broker_test

import (
	"context"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/mochi-mqtt/server/v2/packets"
)

func (w *world) ws(t testing.TB) *wire {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+w.at.HTTP+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	return newWire(t, websocket.NetConn(context.Background(), c, websocket.MessageBinary))
}

func TestProbeWSTakeover(t *testing.T) {
	w := newWorld(t)
	a := w.user("alice")
	lost := 0
	for range 20 {
		c := w.ws(t)
		c.login(login{version: 5, user: a, id: "d"})
		c.quiet()
		d := w.connect(t, login{version: 5, user: a, id: "d"})
		if r := c.ended(); r != 0x8e {
			lost++
		}
		d.leave()
	}
	t.Log("lost", lost)
}

func TestProbeWSStall(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.Limits.PublishRate = 1; w.config.Limits.PublishBurst = 1 })
	a, b := w.user("alice"), w.user("bob")
	conn, err := net.Dial("tcp", w.at.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	conn.Write([]byte("GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"))
	c := newWire(t, conn)
	for {
		l, err := c.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if l == "\r\n" {
			break
		}
	}
	frame := func(p []byte) {
		f := []byte{0x82}
		if len(p) < 126 {
			f = append(f, 0x80|byte(len(p)))
		} else {
			f = append(f, 0x80|126, byte(len(p)>>8), byte(len(p)))
		}
		f = append(f, 0, 0, 0, 0)
		c.write(append(f, p...))
	}
	frame(encode(t, login{user: b, id: "d"}.packet()))
	head := make([]byte, 6)
	c.in.Read(head)
	t.Logf("% x", head)
	frame(encode(t, packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 1, Filters: packets.Subscriptions{{Filter: "inbox/" + b, Qos: 1}}}))
	for i := range uint16(10) {
		frame(encode(t, publication{id: i + 2, qos: 1, topic: "inbox/" + b, body: "x"}.packet()))
	}
	time.Sleep(500 * time.Millisecond)
	s := w.connect(t, login{user: a, id: "s"})
	s.quiet()
	go w.store.SetDisabled(context.Background(), "bob2", true)
	time.Sleep(300 * time.Millisecond)
	for range 4 {
		t0 := time.Now()
		s.say("inbox/"+b, "hi")
		t.Log(time.Since(t0))
	}
}

func TestProbeDisableRace(t *testing.T) {
	w := newWorld(t)
	a := w.user("alice")
	c := w.connect(t, login{version: 5, user: a, id: "d", props: expiry(100)})
	c.leave()
	tx, _ := w.db.Begin()
	tx.Exec(`SELECT 1 FROM postbox.devices FOR UPDATE`)
	c = w.dial(t)
	c.version = 5
	c.send(login{version: 5, user: a, id: "d", props: expiry(100)}.packet())
	w.awaitBlocked(1)
	if err := w.store.SetDisabled(t.Context(), "alice1", true); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	tx.Rollback()
	ack := c.expect(packets.Connack)
	t.Logf("%#x", ack.ReasonCode)
	time.Sleep(1500 * time.Millisecond)
	c.quiet()
}

func TestProbeShutdownHang(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.Limits.Inflight = 2 })
	a := w.user("alice")
	c := w.connect(t, login{user: a, id: "d"})
	c.say("inbox/"+a, "x")
	release := w.holdCommits()
	for i := range uint16(10) {
		c.publish(publication{id: i + 10, qos: 1, topic: "inbox/" + a, body: "x"})
	}
	w.awaitBlocked(1)
	time.Sleep(200 * time.Millisecond)
	done := make(chan struct{})
	t0 := time.Now()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		t.Log(w.server.Shutdown(ctx))
		close(done)
	}()
	time.Sleep(600 * time.Millisecond)
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for _, g := range strings.Split(string(buf), "\n\n") {
		if strings.Contains(g, "hooks.") {
			t.Log(g)
		}
	}
	select {
	case <-done:
		t.Log("shut down", time.Since(t0))
	case <-time.After(5 * time.Second):
		t.Error("hangs")
		release()
		<-done
		t.Log("after", time.Since(t0))
	}
}

func TestProbeStale(t *testing.T) {
	w := newWorld(t)
	a, b := w.user("alice"), w.user("bob")
	c := w.connect(t, login{version: 5, user: a, id: "d"})
	p := publication{id: 7, qos: 1, topic: "inbox/" + b, body: "ok"}
	c.publish(p)
	c.expect(packets.Puback)
	c.publish(publication{id: 7, qos: 1, topic: "nowhere", body: "ok"})
	c.expect(packets.Puback)
	p.dup = true
	c.publish(p)
	ack := c.expect(packets.Puback)
	t.Log("after a refused dup0:", properties(ack), w.stored(a, "ok"))
	// acknowledged something later
	c.listen(a)
	p = publication{id: 9, qos: 1, topic: "inbox/" + b, body: "ok2"}
	c.publish(p)
	_, d := c.until(packets.Publish)
	c.puback(d.PacketID)
	c.flush()
	p.dup = true
	c.publish(p)
	_, ack = c.until(packets.Puback)
	t.Log("after ack of later delivery:", properties(ack), w.stored(a, "ok2"))
}

func TestProbeDelayedWill(t *testing.T) {
	w := newWorld(t)
	a, b := w.user("alice"), w.user("bob")
	l := login{version: 5, user: a, id: "d", props: expiry(100), will: &will{topic: "inbox/" + b, body: "late", props: packets.Properties{WillDelayInterval: 1}}}
	c := w.connect(t, l)
	c.vanish()
	time.Sleep(300 * time.Millisecond)
	c = w.connect(t, l)
	time.Sleep(2000 * time.Millisecond)
	t.Log("delayed will after return", w.stored(a, "late"))
	// session expiry 0 with delay
	l = login{version: 5, user: a, id: "e", will: &will{topic: "inbox/" + b, body: "session over", props: packets.Properties{WillDelayInterval: 100}}}
	c = w.connect(t, l)
	c.vanish()
	time.Sleep(1000 * time.Millisecond)
	t.Log("will at session end", w.stored(a, "session over"))
	l = login{version: 5, user: a, id: "f", will: &will{topic: "inbox/" + b, body: "reason4"}}
	c = w.connect(t, l)
	c.write([]byte{0xe0, 1, 4})
	c.ended()
	time.Sleep(500 * time.Millisecond)
	t.Log("reason only disconnect with will", w.stored(a, "reason4"))
}
func TestProbeExpired(t *testing.T) {
	w := newWorld(t)
	a, b := w.user("alice"), w.user("bob")
	c := w.connect(t, login{version: 5, user: a, id: "d"})
	c.publish(publication{id: 7, qos: 1, topic: "inbox/" + b, body: "ok", props: packets.Properties{MessageExpiryInterval: 1}})
	c.expect(packets.Puback)
	time.Sleep(1200 * time.Millisecond)
	d := w.connect(t, login{version: 5, user: b, id: "d"})
	d.subscribeWith(withUser("since", "0"), packets.Subscription{Filter: "inbox/" + b, Qos: 1})
	c.say("inbox/"+b, "next")
	for _, pk := range d.flush() {
		t.Log(string(pk.Payload), pk.Properties)
	}
}
