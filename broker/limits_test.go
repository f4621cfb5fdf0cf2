package broker_test

import (
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A user has so many connections at once. A device that returns takes the place
// of its own, one that leaves makes room, and other users have their own.
func TestConnectionsPerUser(t *testing.T) {
	t.Parallel()
	const limit = 3
	w := newWorld(t, func(w *world) { w.config.Limits.ConnectionsPerUser = limit })
	alice, bob := w.user("alice"), w.user("bob")
	var conns []*wire
	for n := range limit {
		conns = append(conns, w.connect(t, login{version: 5, user: alice, id: fmt.Sprint(n)}))
	}
	for _, v := range []byte{3, 4, 5} {
		if _, ack := w.login(t, login{version: v, user: alice, id: "more"}); ack.ReasonCode != code(v, 3, 0x97) {
			t.Errorf("version %d: one more: CONNACK %#x, want %#x", v, ack.ReasonCode, code(v, 3, 0x97))
		}
	}
	conns[0] = w.connect(t, login{version: 5, user: alice, id: "0"})
	w.connect(t, login{user: bob, id: "phone"})
	conns[1].Leave()
	await(t, "room for one more", func() bool {
		_, ack := w.login(t, login{user: alice, id: "more"})
		return ack.ReasonCode == 0
	})
	conns[0].Quiet()
}

// An address opens so many connections in a second; what is above is closed.
func TestConnectRate(t *testing.T) {
	t.Parallel()
	const rate = 1
	w := newWorld(t, func(w *world) { w.config.Limits.ConnectRate = rate })
	alice := w.user("alice")
	refused := func() bool {
		c := w.dial(t)
		_, _ = c.Net.Write(login{user: alice, id: "phone"}.packetBytes(t))
		_, err := c.Next()
		return err != nil
	}
	in := 0
	for !refused() {
		if in++; in > 10*rate+1000 {
			t.Fatal("no end of connections")
		}
	}
	if in < 10*rate {
		t.Errorf("%d connections were let in, want a burst of %d", in, 10*rate)
	}
	await(t, "the next second", func() bool { return !refused() })
}

// Of one address so many CONNECTs are checked at once; others are told at once
// to come again.
func TestChecksPerAddress(t *testing.T) {
	t.Parallel()
	const limit = 3
	w := newWorld(t, func(w *world) { w.config.Limits.ConnectionsPerAddress = limit })
	alice := w.user("alice")
	w.connect(t, login{user: alice, id: "phone"}).Leave() // the password is known
	tx, err := w.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec(`LOCK TABLE postbox.devices IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	waiting := make([]*wire, limit)
	for i := range waiting {
		waiting[i] = w.dial(t)
		waiting[i].Write(login{user: alice, id: fmt.Sprint(i)}.packetBytes(t))
	}
	w.awaitBlocked(limit)
	for _, v := range []byte{4, 5} {
		if _, ack := w.login(t, login{version: v, user: alice, id: "more"}); ack.ReasonCode != code(v, 3, 0x88) {
			t.Errorf("version %d: one more: CONNACK %#x, want %#x", v, ack.ReasonCode, code(v, 3, 0x88))
		}
	}
	_ = tx.Rollback()
	for _, c := range waiting {
		if ack := c.Expect(packets.Connack); ack.ReasonCode != 0 {
			t.Errorf("one that waited: CONNACK %#x", ack.ReasonCode)
		}
	}
	w.connect(t, login{user: alice, id: "more"})
}

// A device that subscribes to all it may and acknowledges much is no flood; one
// that asks for more than the rate is told so, and the user's other devices stay.
func TestPacketRate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.PacketRate, w.config.Limits.PacketBurst = 1, 1000 })
	versions(t, func(t *testing.T, v byte) {
		alice, bob := w.user("alice"), w.user("bob")
		c := w.connect(t, login{version: v, user: alice, id: "phone"})
		filters := []string{"inbox/" + alice}
		for n := range 99 {
			filters = append(filters, fmt.Sprintf("reply/%s/%d", alice, n))
		}
		for _, got := range c.subscribe(filters...) {
			if got >= 0x80 {
				t.Fatalf("a filter is refused with %#x", got)
			}
		}
		w.fill(alice, 800)
		for range 800 {
			c.receive()
		}
		c.Quiet()
		flood := w.connect(t, login{version: v, user: bob, id: "flood"})
		quiet := w.connect(t, login{version: v, user: bob, id: "quiet"})
		for range 1100 {
			_, _ = flood.Net.Write([]byte{0xc0, 0})
		}
		if reason := flood.Ended(); reason != code(v, 0, 0x96) {
			t.Errorf("a flood was ended with %#x, want %#x", reason, code(v, 0, 0x96))
		}
		w.connect(t, login{user: alice, id: "other"}).say("inbox/"+bob, "x")
		if ack := quiet.say("inbox/"+alice, "x"); ack.ReasonCode != 0 { // publishes have their own rate
			t.Errorf("the user's other device: %#x", ack.ReasonCode)
		}
		if _, ack := w.login(t, login{version: v, user: bob, id: "flood"}); ack.ReasonCode != code(v, 3, 0x88) {
			t.Errorf("the flood comes back: CONNACK %#x, want %#x", ack.ReasonCode, code(v, 3, 0x88))
		}
	})
}
