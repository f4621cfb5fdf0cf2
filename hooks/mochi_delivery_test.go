package hooks_test

import (
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// What is wrong with Mochi's own way of delivering at QoS 1 and 2, which Postbox
// does not take. See docs/mochi.md.

// session5 is a CONNECT of MQTT 5 with a session that lasts.
func session5(user, id string) packets.Packet {
	pk := connectPacket(5, user, id, false)
	pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 3600, true
	return pk
}

// expectBodies reads as many deliveries, in order, and acknowledges them.
func (p *peer) expectBodies(n int) {
	p.T.Helper()
	for i := range n {
		pk := p.Expect(packets.Publish)
		p.puback(pk)
		if want := `"body":"` + strconv.Itoa(i) + `"`; !strings.Contains(string(pk.Payload), want) {
			p.T.Fatalf("delivery %d is %s", i, pk.Payload)
		}
	}
}

// A client that says Receive Maximum is deaf after twice as many messages.
func TestMochiReceiveMaximum(t *testing.T) {
	t.Parallel()
	const n, most = 20, 2
	b := newBare(t, nil)
	pk := connectPacket(5, "bob", "bob", true)
	pk.Properties.ReceiveMaximum = most
	p, _ := connect(t, b.addr, pk)
	p.subscribe(1, "a")
	sender, _ := connect(t, b.addr, connectPacket(4, "alice", "alice", true))
	sender.publishAll("a", n)
	received := 0
	for got := p.Flush(); len(got) > 0; got = p.Flush() {
		received += len(got)
		p.puback(got...)
	}
	if received == n {
		t.Error("bare: all arrived")
	}

	s := newPostbox(t, slog.DiscardHandler)
	alice, bob := s.user("alice"), s.user("bob")
	pk.Connect.Username = []byte(bob)
	p, _ = connect(t, s.addr, pk)
	p.subscribe(1, "inbox/"+bob)
	sender, _ = connect(t, s.addr, connectPacket(4, alice, "phone", true))
	sender.publishAll("inbox/"+bob, n)
	p.expectBodies(n)
}

// What waited for a device that was away comes in any order, marked as sent
// before; and more than MaximumInflight of it is lost.
func TestMochiBacklog(t *testing.T) {
	t.Parallel()
	const n = 60
	for name, most := range map[string]uint16{"order": 8192, "loss": 10} {
		b := newBare(t, func(o *mqtt.Options) { o.Capabilities.MaximumInflight = most })
		p, _ := connect(t, b.addr, session5("bob", "bob"))
		p.subscribe(1, "a")
		p.Leave()
		sender, _ := connect(t, b.addr, connectPacket(4, "alice", "alice", true))
		sender.publishAll("a", n)
		p, _ = connect(t, b.addr, session5("bob", "bob"))
		got := p.Flush()
		var order []int
		for _, pk := range got {
			i, _ := strconv.Atoi(string(pk.Payload))
			order = append(order, i)
			if !pk.FixedHeader.Dup {
				t.Error("bare: a message that was never sent is not marked as if")
			}
		}
		if name == "order" && (len(order) != n || slices.IsSorted(order)) {
			t.Errorf("bare: received in order: %v", order)
		}
		if name == "loss" && len(order) >= n {
			t.Errorf("bare: all %d received, beyond MaximumInflight", n)
		}
	}

	s := newPostbox(t, slog.DiscardHandler)
	alice, bob := s.user("alice"), s.user("bob")
	p, _ := connect(t, s.addr, session5(bob, "phone"))
	p.subscribe(1, "inbox/"+bob)
	p.Leave()
	sender, _ := connect(t, s.addr, connectPacket(4, alice, "phone", true))
	sender.publishAll("inbox/"+bob, n)
	p, _ = connect(t, s.addr, session5(bob, "phone"))
	p.expectBodies(n)
}

// A full queue drops messages. That ours do not use it TestMochiWriteQueue shows.
func TestMochiFullQueueDrops(t *testing.T) {
	t.Parallel()
	var dropped atomic.Int32
	b := newBare(t, func(o *mqtt.Options) { o.Capabilities.MaximumClientWritesPending = 1 },
		&probe{authenticates: true, dropped: func() { dropped.Add(1) }})
	p := b.through(t, connectPacket(4, "bob", "bob", true), "a", asIs)
	sender, _ := connect(t, b.addr, connectPacket(4, "alice", "alice", true))
	for range 10 {
		sender.Send(publishPacket(0, 0, "a", "x"))
	}
	sender.Quiet()
	if n := dropped.Load(); n == 0 {
		t.Error("bare: nothing is dropped")
	}
	_ = p.Net.Close()
}

// A subscriber that does not read holds up who publishes to it, and its own next
// connection.
func TestMochiStalledSubscriber(t *testing.T) {
	t.Parallel()
	b := newBare(t, nil)
	var conn *failingWrites
	p := b.through(t, session5("bob", "bob"), "a", func(c net.Conn) net.Conn {
		conn = &failingWrites{Conn: c}
		return conn
	})
	before := conn.begun.Load()
	sender, _ := connect(t, b.addr, connectPacket(4, "alice", "alice", true))
	sender.Send(publishPacket(1, 1, "a", "x"))
	await(t, "a write that blocks", func() bool { return conn.begun.Load() > before })
	sender.Send(publishPacket(2, 1, "a", "x"))
	sender.silent()
	again := dial(t, b.addr)
	again.Send(session5("bob", "bob"))
	again.silent()
	_ = p.Net.Close() // everything goes on
	if err := again.Net.Close(); err != nil {
		t.Error(err)
	}

	s := newPostbox(t, slog.DiscardHandler)
	alice, bob := s.user("alice"), s.user("bob")
	stalled, _ := connect(t, s.addr, session5(bob, "phone"))
	stalled.subscribe(1, "inbox/"+bob)
	sender, _ = connect(t, s.addr, connectPacket(4, alice, "phone", true))
	large := strings.Repeat("x", 60_000)
	for id := range uint16(120) { // more than all buffers on the way hold
		sender.Send(publishPacket(id+1, 1, "inbox/"+bob, large))
		sender.Expect(packets.Puback)
	}
	sender.Quiet()
	connect(t, s.addr, session5(bob, "phone"))
}

// failingWrites is a connection that counts writes and can be told to fail them.
type failingWrites struct {
	net.Conn
	fail          atomic.Bool
	begun, failed atomic.Int32
}

func (c *failingWrites) Write(p []byte) (int, error) {
	c.begun.Add(1)
	if c.fail.Load() {
		c.failed.Add(1)
		return 0, errors.New("connection reset by peer")
	}
	return c.Conn.Write(p)
}

// A write that fails ends nothing: the queue is emptied into the void. A
// connection of ours is cut by it: TestPeerGone.
func TestMochiFailedWrites(t *testing.T) {
	t.Parallel()
	b := newBare(t, nil)
	var conn *failingWrites
	p := b.through(t, connectPacket(4, "bob", "bob", true), "a", func(c net.Conn) net.Conn {
		conn = &failingWrites{Conn: c}
		return conn
	})
	conn.fail.Store(true)
	sender, _ := connect(t, b.addr, connectPacket(4, "alice", "alice", true))
	for n := range int32(2) { // one by one: Mochi writes several that wait at once
		sender.publishAll("a", 1)
		await(t, "the loss of a message", func() bool { return conn.failed.Load() > n })
	}
	if cl, there := b.Clients.Get("bob"); !there || cl.Closed() {
		t.Error("bare: a connection that cannot be written to has ended")
	}
	_ = p.Net.Close()
}

// A message larger than the client's Maximum Packet Size is dropped without a
// word, and its entry in flight stays. Ours comes without its body:
// TestMaximumPacketSize.
func TestMochiMaximumPacketSize(t *testing.T) {
	t.Parallel()
	b := newBare(t, nil)
	pk := connectPacket(5, "bob", "bob", true)
	pk.Properties.MaximumPacketSize = 60
	p, _ := connect(t, b.addr, pk)
	p.subscribe(1, "a")
	sender, _ := connect(t, b.addr, connectPacket(4, "alice", "alice", true))
	sender.Send(publishPacket(1, 1, "a", strings.Repeat("x", 100)))
	sender.Expect(packets.Puback)
	sender.Flush()
	p.Quiet()
	if cl, _ := b.Clients.Get("bob"); cl.State.Inflight.Len() != 1 {
		t.Errorf("bare: %d in flight", cl.State.Inflight.Len())
	}
}

// A QoS 2 publish that is sent again is answered with a failure.
func TestMochiQoS2SentAgain(t *testing.T) {
	t.Parallel()
	again := func(p *peer, topic string) byte {
		pk := publishPacket(7, 2, topic, "x")
		p.Send(pk)
		p.Expect(packets.Pubrec)
		pk.FixedHeader.Dup = true
		p.Send(pk)
		return p.Expect(packets.Pubrec).ReasonCode
	}
	b := newBare(t, nil)
	p, _ := connect(t, b.addr, connectPacket(5, "alice", "alice", true))
	if code := again(p, "a"); code != 0x91 {
		t.Errorf("bare: PUBREC %#x, want 0x91", code)
	}
	s := newPostbox(t, slog.DiscardHandler)
	alice := s.user("alice")
	p, _ = connect(t, s.addr, connectPacket(5, alice, "phone", true))
	if code := again(p, "inbox/"+alice); code != 0 {
		t.Errorf("PUBREC %#x", code)
	}
	if n := s.number(`SELECT count(*) FROM postbox.messages`); n != 1 {
		t.Errorf("stored %d times", n)
	}
}

// A publish to $SYS is never acknowledged.
func TestMochiPublishToSYS(t *testing.T) {
	t.Parallel()
	b := newBare(t, nil)
	p, _ := connect(t, b.addr, connectPacket(4, "alice", "alice", true))
	p.Send(publishPacket(1, 1, "$SYS/x", "x"))
	p.Quiet()

	s := newPostbox(t, slog.DiscardHandler)
	alice := s.user("alice")
	for version, want := range map[byte]byte{4: 0, 5: packets.ErrNotAuthorized.Code} {
		p, _ := connect(t, s.addr, connectPacket(version, alice, "phone", true))
		p.Send(publishPacket(1, 1, "$SYS/x", "x"))
		if code := p.Expect(packets.Puback).ReasonCode; code != want {
			t.Errorf("version %d: PUBACK %#x, want %#x", version, code, want)
		}
	}
}

// Every delivery gets an expiry that nobody asked for.
func TestMochiAddsAnExpiry(t *testing.T) {
	t.Parallel()
	expiry := func(p *peer, topic string) uint32 {
		p.subscribe(1, topic)
		p.Send(publishPacket(1, 1, topic, "x"))
		_, pk := p.Until(packets.Publish)
		return pk.Properties.MessageExpiryInterval
	}
	b := newBare(t, nil)
	p, _ := connect(t, b.addr, connectPacket(5, "alice", "alice", true))
	if expiry(p, "a") == 0 {
		t.Error("bare: no expiry")
	}
	s := newPostbox(t, slog.DiscardHandler)
	alice := s.user("alice")
	p, _ = connect(t, s.addr, connectPacket(5, alice, "phone", true))
	if got := expiry(p, "inbox/"+alice); got != 0 {
		t.Errorf("expires after %d s", got)
	}
}
