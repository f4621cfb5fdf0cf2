package broker_test

import (
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// durable is a login with a session that outlives the connection.
func durable(version byte, user, id string) login {
	l := login{version: version, user: user, id: id}
	if version == 5 {
		l.props = expiry(3600)
	}
	return l
}

// release sends PUBREL and waits for the PUBCOMP.
func (c *wire) release(id uint16) {
	c.T.Helper()
	c.pubrel(id)
	if comp := c.Expect(packets.Pubcomp); comp.PacketID != id || comp.ReasonCode != 0 {
		c.T.Errorf("PUBCOMP of %d with %#x, want %d", comp.PacketID, comp.ReasonCode, id)
	}
}

func TestQoS2(t *testing.T) {
	w := sharedWorld(t)
	const open = `SELECT count(*) FROM postbox.open_publishes o JOIN postbox.devices d ON d.id = o.device_id
		JOIN postbox.users u ON u.id = d.user_id WHERE u.name = $1`
	versions(t, func(t *testing.T, v byte) {
		alice, bob := w.user("alice"), w.user("bob")
		c := w.connect(t, durable(v, alice, "phone"))
		p := publication{id: 7, qos: 2, topic: "inbox/" + bob, body: "exactly"}
		c.publish(p)
		first := c.Expect(packets.Pubrec)
		if n := w.number(open, alice); n != 1 {
			t.Errorf("%d open ids when the PUBREC arrived, want 1", n)
		}

		// Until PUBREL the same is the same, whatever DUP says.
		for _, dup := range []bool{true, false, true} {
			p.dup = dup
			c.publish(p)
			again := c.Expect(packets.Pubrec)
			checkDuplicate(t, v, first, again)
		}
		c.release(7)
		if n := w.number(open, alice); n != 0 {
			t.Errorf("%d open ids when the PUBCOMP arrived", n)
		}
		if n := w.stored(alice, p.body); n != 1 {
			t.Errorf("stored %d times", n)
		}
		c.release(7) // the PUBCOMP was lost
		c.release(4711)

		// Afterwards the same is another message.
		p.dup = false
		c.publish(p)
		if other := c.Expect(packets.Pubrec); v == 5 && properties(other)["id"] == properties(first)["id"] {
			t.Error("a new message was taken for the one that was released")
		}
		c.release(7)
		if n := w.stored(alice, p.body); n != 2 {
			t.Errorf("stored %d times, want 2", n)
		}
		c.Quiet()
	})
}

// checkDuplicate compares the acknowledgements of a publish and its re-send.
func checkDuplicate(t *testing.T, version byte, first, again packets.Packet) {
	t.Helper()
	if again.PacketID != first.PacketID || again.ReasonCode != 0 {
		t.Errorf("the re-send of %d is answered with %d, %#x", first.PacketID, again.PacketID, again.ReasonCode)
	}
	if version < 5 {
		return
	}
	a, b := properties(first), properties(again)
	if a["id"] == "" || a["id"] != b["id"] || a["seq"] != b["seq"] || a["duplicate"] != "" || b["duplicate"] != "true" {
		t.Errorf("the re-send of %v is answered with %v", a, b)
	}
}

// An id is open from PUBREC to PUBREL, also while the device or the server is
// away.
func TestQoS2AcrossReconnects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, between := range map[string]func(c *wire){
		"line cut":          (*wire).Vanish,
		"server restarted":  func(*wire) { w.restart() },
		"device says leave": (*wire).Leave,
	} {
		t.Run(name, func(t *testing.T) {
			versions(t, func(t *testing.T, v byte) {
				alice, bob := w.user("alice"), w.user("bob")
				l := durable(v, alice, "phone")
				c := w.connect(t, l)
				p := publication{id: 7, qos: 2, topic: "inbox/" + bob, body: "exactly"}
				c.publish(p)
				first := c.Expect(packets.Pubrec)
				between(c)

				c, ack := w.login(t, l)
				if !ack.SessionPresent {
					t.Error("the session is gone")
				}
				for _, dup := range []bool{true, false} {
					p.dup = dup
					c.publish(p)
					checkDuplicate(t, v, first, c.Expect(packets.Pubrec))
				}
				between(c)

				c = w.connect(t, l)
				c.release(7)
				between(c)

				c = w.connect(t, l)
				c.release(7) // again: the PUBCOMP did not arrive
				p.dup = false
				c.publish(p)
				c.Expect(packets.Pubrec)
				c.release(7)
				if n := w.stored(alice, p.body); n != 2 {
					t.Errorf("stored %d times, want 2", n)
				}
			})
		})
	}
}

// A device that has given a QoS 2 publish up uses its packet id for something else,
// be it refused, at QoS 1, or a request. From then on the id is not open any more:
// the same message again is another one, also when the device or the server was away.
func TestQoS2GivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, use := range map[string]publication{
		"refused":      {id: 7, qos: 2, topic: "inbox/nobody", body: "lost"},
		"QoS 1":        {id: 7, qos: 1, body: "other"},
		"a request":    {id: 7, qos: 2, topic: "api/v1/me", body: "{}"},
		"other":        {id: 7, qos: 2, body: "other"},
		"refused at 1": {id: 7, qos: 1, topic: "inbox/nobody", body: "lost"},
		"request at 1": {id: 7, qos: 1, topic: "api/v1/me", body: "{}"},
	} {
		for _, restarts := range [][2]bool{{false, false}, {false, true}, {true, true}} {
			t.Run(fmt.Sprintf("%s, restarted %v", name, restarts), func(t *testing.T) {
				versions(t, func(t *testing.T, v byte) {
					alice := w.user("alice")
					l := durable(v, alice, "phone")
					c := w.connect(t, l)
					p := publication{id: 7, qos: 2, topic: "inbox/" + alice, body: "tick"}
					c.publish(p)
					c.Expect(packets.Pubrec)
					again := func(restart bool) {
						if restart {
							w.restart()
							c = w.connect(t, l)
						}
					}
					again(restarts[0])
					if use.topic == "" {
						use.topic = p.topic
					}
					c.publish(use)
					c.Expect(map[byte]byte{1: packets.Puback, 2: packets.Pubrec}[use.qos])
					again(restarts[1])
					p.dup = restarts[0] && (name == "QoS 1" || name == "other") // their rows tell
					c.publish(p)
					c.Expect(packets.Pubrec)
					if n := w.stored(alice, p.body); n != 2 {
						t.Errorf("stored %d times, want 2", n)
					}
				})
			})
		}
	}
}

// A re-send that is recognised by its row alone, since the session was lost, opens
// the id in the new session. It does not stay open either.
func TestQoS2GivenUpAfterALostSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice := w.user("alice")
		l := durable(v, alice, "phone")
		c := w.connect(t, l)
		p := publication{id: 7, qos: 2, topic: "inbox/" + alice, body: "tick"}
		c.publish(p)
		c.Expect(packets.Pubrec)
		c.Leave()
		w.exec(`DELETE FROM postbox.devices d USING postbox.users u WHERE u.id = d.user_id AND u.name = $1`, alice)
		c = w.connect(t, l)
		p.dup = true
		c.publish(p)
		c.Expect(packets.Pubrec)
		if n := w.stored(alice, p.body); n != 1 {
			t.Errorf("the re-send is stored, %d times in all", n)
		}
		c.publish(publication{id: 7, qos: 2, topic: "inbox/nobody", body: "lost"})
		c.Expect(packets.Pubrec)
		c.Leave()
		c = w.connect(t, l)
		p.dup = false
		c.publish(p)
		c.Expect(packets.Pubrec)
		if n := w.stored(alice, p.body); n != 2 {
			t.Errorf("stored %d times, want 2", n)
		}
	})
}

func TestPubcompFollowsCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice := w.user("alice")
		c := w.connect(t, durable(v, alice, "phone"))
		c.publish(publication{id: 7, qos: 2, topic: "inbox/" + alice, body: "x"})
		c.Expect(packets.Pubrec)
		release := w.holdCommits()
		c.pubrel(7)
		w.awaitBlocked(1)
		c.Quiet()
		release()
		c.Expect(packets.Pubcomp)
	})
}

// Without a session a QoS 2 publish works just so, but ends with the connection.
func TestQoS2WithoutSession(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice := w.user("alice")
		l := login{version: v, user: alice, id: "phone", clean: true}
		c := w.connect(t, l)
		p := publication{id: 7, qos: 2, topic: "inbox/" + alice, body: "x"}
		c.publish(p)
		first := c.Expect(packets.Pubrec)
		c.publish(p)
		checkDuplicate(t, v, first, c.Expect(packets.Pubrec))
		c.Vanish()
		c = w.connect(t, l)
		c.publish(p) // DUP 0, and no session: another one
		c.Expect(packets.Pubrec)
		c.release(7)
		if n := w.stored(alice, p.body); n != 2 {
			t.Errorf("stored %d times, want 2", n)
		}
	})
}

// A key is exact at QoS 2 as well, and its id is open like any other.
func TestQoS2WithKey(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	l := durable(5, alice, "phone")
	c := w.connect(t, l)
	p := publication{id: 7, qos: 2, topic: "inbox/" + bob + "/k1", body: "x"}
	c.publish(p)
	first := c.Expect(packets.Pubrec)
	c.release(7)
	p.id = 8
	c.publish(p)
	again := c.Expect(packets.Pubrec)
	again.PacketID = 7
	checkDuplicate(t, 5, first, again)
	c.Vanish()
	c = w.connect(t, l)
	p.dup = true
	c.publish(p)
	again = c.Expect(packets.Pubrec)
	again.PacketID = 7
	checkDuplicate(t, 5, first, again)
	c.release(8)
	if n := w.stored(alice, p.body); n != 1 {
		t.Errorf("stored %d times", n)
	}
}
