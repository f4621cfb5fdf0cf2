package broker_test

import (
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
)

// fill sends so many messages to a user, with the bodies 1, 2, 3 … after those
// there are, and returns when all are stored.
func (w *world) fill(to string, n int) {
	w.t.Helper()
	from := w.user("filler")
	c := w.connect(w.t, login{user: from, id: "filler", clean: true})
	head := w.number(`SELECT l.head FROM postbox.heads l JOIN postbox.users u ON u.id = l.id WHERE u.name = $1`, to)
	all := make([]publication, n)
	for i := range all {
		all[i] = publication{id: uint16(i + 1), qos: 1, topic: "inbox/" + to, body: fmt.Sprint(head + int64(i) + 1)}
	}
	c.publish(all...)
	for range all {
		c.Expect(packets.Puback)
	}
	c.Leave()
}

// entry reads the next delivery, which must be the entry with this number and
// the packet id that follows from it.
func (c *wire) entry(n int64) packets.Packet {
	c.T.Helper()
	pk := c.Expect(packets.Publish)
	e := open(c.T, pk)
	if e.InboxSeq != n || e.body() != fmt.Sprint(n) || pk.PacketID != postbox.InboxSeq(n).PacketID() {
		c.T.Fatalf("got %s with packet id %d, want entry %d", pk.Payload, pk.PacketID, n)
	}
	return pk
}

// A device gets what came while it was away, in order, once, across restarts
// too, and what it had not acknowledged again, with the same packet id.
func TestResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, between := range map[string]func(c *wire){
		"leave":          (*wire).Leave,
		"line cut":       (*wire).Vanish,
		"server restart": func(*wire) { w.restart() },
	} {
		t.Run(name, func(t *testing.T) {
			versions(t, func(t *testing.T, v byte) {
				bob := w.user("bob")
				l := durable(v, bob, "phone")
				c := w.connect(t, l)
				c.listen(bob)
				w.fill(bob, 10)
				for n := int64(1); n <= 10; n++ {
					if pk := c.entry(n); pk.FixedHeader.Dup || pk.FixedHeader.Qos != 1 {
						t.Errorf("entry %d for the first time: header %+v", n, pk.FixedHeader)
					}
				}
				c.puback(1, 2, 3, 5) // 4 is missing
				c.Flush()
				between(c)
				w.fill(bob, 190)

				c, ack := w.login(t, l)
				if !ack.SessionPresent || ack.ReasonCode != 0 {
					t.Errorf("session present %v, code %#x", ack.SessionPresent, ack.ReasonCode)
				}
				window := int64(64)
				if v == 5 {
					window = 1024
				}
				for n := int64(4); n <= 200; n++ {
					pk := c.entry(n)
					if first := n < 4+window; pk.FixedHeader.Dup != first {
						t.Errorf("entry %d: DUP %v; the first window is %d", n, pk.FixedHeader.Dup, window)
					}
					c.puback(pk.PacketID)
				}
				w.fill(bob, 1)
				c.puback(c.entry(201).PacketID)
				c.Quiet()
				c.Leave()
				c = w.connect(t, l)
				c.Quiet()
			})
		})
	}
}

// The packet id of a delivery is (inbox_seq-1) mod 60,000 + 1, and its
// acknowledgement reaches the right entry also where the ids start anew.
func TestPacketIDsWrap(t *testing.T) {
	w := sharedWorld(t)
	bob := w.user("bob")
	const before = 59_950
	w.exec(`UPDATE postbox.logs SET floor = $2 FROM postbox.users u WHERE u.id = logs.id AND u.name = $1`, bob, before)
	l := durable(4, bob, "phone")
	c := w.connect(t, l)
	c.listen(bob)
	w.fill(bob, 150)
	var held []uint16
	for n := int64(before + 1); n <= before+150; n++ {
		held = append(held, c.entry(n).PacketID)
		if len(held) == 40 { // behind by 40, on both sides of the wrap
			c.puback(held...)
			held = nil
		}
	}
	c.Flush()
	c.Leave()
	await(t, "the cursor", func() bool { return w.cursor(bob, "phone") == before+120 })
	c = w.connect(t, l)
	for n := int64(before + 121); n <= before+150; n++ {
		c.puback(c.entry(n).PacketID)
	}
	c.Quiet()
}

// Acknowledgements that mean nothing change nothing.
func TestStrangeAcks(t *testing.T) {
	w := sharedWorld(t)
	bob := w.user("bob")
	c := w.connect(t, durable(4, bob, "phone"))
	c.puback(1, 17, 60_000, 60_001, 65_535)
	c.listen(bob)
	w.fill(bob, 3)
	for n := int64(1); n <= 3; n++ {
		c.entry(n)
	}
	c.puback(17, 60_001, 65_535, 2, 2)
	c.Flush()
	c.Vanish()
	c = w.connect(t, durable(4, bob, "phone"))
	for n := int64(1); n <= 3; n++ {
		c.entry(n)
	}
}

// At most Receive Maximum deliveries, or 64 to 3.1.1, are unacknowledged, live
// and when catching up.
func TestWindow(t *testing.T) {
	w := sharedWorld(t)
	for _, test := range []struct {
		version byte
		receive uint16
		window  int
	}{{3, 0, 64}, {4, 0, 64}, {5, 5, 5}, {5, 1, 1}, {5, 100, 100}} {
		for _, live := range []bool{true, false} {
			t.Run(fmt.Sprintf("version %d, Receive Maximum %d, live %v", test.version, test.receive, live), func(t *testing.T) {
				bob := w.user("bob")
				total := 2*test.window + 3
				if !live {
					w.fill(bob, total)
				}
				c := w.connect(t, login{version: test.version, user: bob, id: "phone", clean: true,
					props: packets.Properties{ReceiveMaximum: test.receive}})
				c.subscribe("inbox/"+bob+"/since/0", "inbox/"+bob)
				if live {
					w.fill(bob, total)
				}
				next, outstanding := 1, 0
				for next <= test.window {
					c.entry(int64(next))
					next, outstanding = next+1, outstanding+1
				}
				c.Quiet()
				for acked := 1; acked <= total; acked++ {
					c.puback(postbox.InboxSeq(acked).PacketID())
					if next <= total {
						c.entry(int64(next))
						next++
					}
					if acked%10 == 0 {
						c.Quiet()
					}
				}
				c.Quiet()
			})
		}
	}
}

// A subscription at QoS 0 is sent everything at once, with no packet id.
func TestQoS0Subscription(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		bob := w.user("bob")
		l := durable(v, bob, "phone")
		c := w.connect(t, l)
		c.subscribeWith(packets.Properties{}, packets.Subscription{Filter: "inbox/" + bob})
		w.fill(bob, 100)
		for n := int64(1); n <= 100; n++ {
			if pk, e := c.receive(); pk.FixedHeader.Qos != 0 || pk.FixedHeader.Dup || e.InboxSeq != n {
				t.Fatalf("entry %d came as %s, header %+v", n, pk.Payload, pk.FixedHeader)
			}
		}
		c.Leave()
		w.fill(bob, 1)
		c = w.connect(t, l)
		if _, e := c.receive(); e.InboxSeq != 101 {
			t.Errorf("after a return: entry %d, want 101", e.InboxSeq)
		}
	})
}

// A device that subscribes again, as libraries do, gets nothing twice and
// misses nothing.
func TestSubscribeAgain(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		bob := w.user("bob")
		c := w.connect(t, durable(v, bob, "phone"))
		c.listen(bob)
		w.fill(bob, 5)
		for n := int64(1); n <= 5; n++ {
			c.entry(n)
		}
		c.listen(bob)
		w.fill(bob, 1)
		c.entry(6)
		c.puback(1, 2, 3, 4, 5, 6)
		// A change of QoS is a new subscription at the same place.
		c.subscribeWith(packets.Properties{}, packets.Subscription{Filter: "inbox/" + bob})
		w.fill(bob, 1)
		if pk, e := c.receive(); e.InboxSeq != 7 || pk.FixedHeader.Qos != 0 {
			t.Errorf("got %s at QoS %d", pk.Payload, pk.FixedHeader.Qos)
		}
		c.Quiet()
	})
}

// What was acknowledged before an orderly end does not come again, however
// soon the device is back.
func TestReturnRepeatsNothing(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	s := w.connect(t, login{user: alice, id: "phone"})
	l := durable(4, bob, "phone")
	c := w.connect(t, l)
	c.listen(bob)
	for n := int64(1); n <= 100; n++ {
		s.say("inbox/"+bob, fmt.Sprint(n))
		c.puback(c.entry(n).PacketID)
		c.Flush()
		if n%2 == 0 {
			c.Leave()
		}
		c = w.connect(t, l) // or taken over
	}
	c.Quiet()
}
