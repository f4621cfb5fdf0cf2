package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Who connects, subscribes or unsubscribes while PostgreSQL is started again
// does not notice.
func TestShortOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	w.block(bob, alice)
	returning := w.connect(t, durable(5, alice, "returning"))
	returning.listen(alice)
	returning.Leave()
	subscriber, leaver := w.connect(t, durable(5, alice, "subscriber")), w.connect(t, durable(4, alice, "leaver"))
	leaver.listen(alice)

	back := w.databaseAway()
	want := map[string]byte{"new": 0, "returning": 0, "with a will": 0, "with a bad will": 0x87, "with a bad password": 0x86}
	conns := map[string]*wire{}
	for id := range want {
		l := durable(5, alice, id)
		switch id {
		case "with a will":
			l.will = &will{topic: "inbox/" + alice, body: "will"}
		case "with a bad will":
			l.will = &will{topic: "inbox/" + bob, body: "will"}
		case "with a bad password":
			l.password = "wrong"
		}
		conns[id] = w.dial(t)
		conns[id].Version = 5
		conns[id].Send(l.packet())
	}
	subscriber.ask(withUser("since", "0"), packets.Subscription{Filter: "inbox/" + alice, Qos: 1})
	leaver.Send(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}, PacketID: 9, Filters: packets.Subscriptions{{Filter: "inbox/" + alice}},
	})
	time.Sleep(500 * time.Millisecond) // so long is the outage
	back()
	for id, code := range want {
		ack := conns[id].Expect(packets.Connack)
		if ack.ReasonCode != code || ack.SessionPresent != (id == "returning") {
			t.Errorf("%s: CONNACK %#x, session present %v, want %#x", id, ack.ReasonCode, ack.SessionPresent, code)
		}
	}
	if codes := subscriber.Expect(packets.Suback).ReasonCodes; len(codes) != 1 || codes[0] != 1 {
		t.Errorf("SUBACK %#x", codes)
	}
	leaver.Expect(packets.Unsuback)
	w.fill(alice, 1)
	for _, c := range []*wire{subscriber, conns["returning"]} {
		c.entry(1)
	}
	leaver.Quiet()
	// A CONNECT that was tried again has left one will.
	conns["with a will"].Vanish()
	await(t, "the will", func() bool { return w.stored(alice, "will") == 1 })
	if n := w.wills(alice); n != 0 {
		t.Errorf("%d wills are left", n)
	}
}

// A connection that ends while PostgreSQL is away has ended when it is back: a
// session without a life is gone, one with a life is disconnected, and nobody has
// waited for that.
func TestEndInAnOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	brief := durable(5, alice, "brief")
	w.connect(t, brief).Leave()
	brief.props = expiry(0)
	ending := []*wire{w.connect(t, brief), w.connect(t, durable(5, alice, "given up")), w.connect(t, durable(5, alice, "lasting"))}
	back := w.databaseAway()
	ending[0].Vanish()
	ending[1].Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, Properties: expiry(0)})
	ending[2].Vanish()
	time.Sleep(100 * time.Millisecond) // so long the first tries take
	back()
	await(t, "the ends are noted", func() bool {
		return w.number(`SELECT count(*) FROM postbox.devices WHERE disconnected_at IS NULL`) == 0
	})
	if n := w.number(`SELECT count(*) FROM postbox.devices`); n != 1 {
		t.Errorf("%d sessions are left, want that of the lasting device", n)
	}
	for id, want := range map[string]bool{"brief": false, "given up": false, "lasting": true} {
		if _, ack := w.login(t, durable(5, alice, id)); ack.SessionPresent != want {
			t.Errorf("%s: session present %v", id, ack.SessionPresent)
		}
	}
}

// In a long outage the first CONNECT waits for a while; then it is known, and
// the others are answered at once.
func TestConnectInALongOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	began := time.Now()
	back := w.databaseAway()
	defer back()
	refused := func(id string) {
		t.Helper()
		if _, ack := w.login(t, login{version: 5, user: alice, id: id}); ack.ReasonCode != 0x88 {
			t.Errorf("%s: CONNACK %#x, want 0x88", id, ack.ReasonCode)
		}
	}
	refused("first")
	if took := time.Since(began); took < 4*time.Second {
		t.Errorf("the first was given up %v after the outage began", took)
	}
	const others = 10
	began = time.Now()
	for n := range others {
		refused(fmt.Sprint(n))
	}
	if took := time.Since(began); took > others*2*time.Second {
		t.Errorf("the other %d took %v", others, took)
	}
}
