package broker_test

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A will is stored and delivered like every message, with its sender, when the
// connection ends without DISCONNECT; and only then.
func TestWill(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice, bob := w.user("alice"), w.user("bob")
		c := w.connect(t, login{version: v, user: bob, id: "phone"})
		c.listen(bob)
		l := login{version: v, user: alice, id: "phone", will: &will{topic: "inbox/" + bob, body: "line cut"}}
		w.connect(t, l).vanish()
		pk, e := c.receive()
		if e.From != alice || e.body() != "line cut" || e.Seq != 1 || e.ID == "" || pk.FixedHeader.Retain {
			t.Errorf("received %s", pk.Payload)
		}
		if n := w.stored(alice, "line cut"); n != 1 {
			t.Errorf("stored %d times", n)
		}

		l.will.body = "left"
		w.connect(t, l).leave()
		l.will.body = "with a protocol error"
		at := w.connect(t, l)
		at.write([]byte{0x36, 5, 0, 1, 'a', 0, 1}) // QoS 3
		at.ended()
		if _, e := c.receive(); e.body() != "with a protocol error" {
			t.Errorf("received %q", e.body())
		}

		l.will.body = "taken over"
		w.connect(t, l)
		bare := l
		bare.will = nil
		w.connect(t, bare)
		if _, e := c.receive(); e.body() != "taken over" {
			t.Errorf("received %q", e.body())
		}
		c.quiet()
	})
}

// DISCONNECT with reason 4 asks for the will, in both of its forms.
// [MQTT-3.14.2-1]
func TestWillAskedForAtDisconnect(t *testing.T) {
	w := sharedWorld(t)
	for name, disconnect := range map[string][]byte{"reason": {0xe0, 1, 4}, "reason and length": {0xe0, 2, 4, 0}} {
		t.Run(name, func(t *testing.T) {
			alice := w.user("alice")
			c := w.connect(t, login{version: 5, user: alice, id: "phone", will: &will{topic: "inbox/" + alice, body: name}})
			c.write(disconnect)
			c.ended()
			await(t, "the will", func() bool { return w.stored(alice, name) == 1 })
		})
	}
}

// The will is a publish of the user: what that may not do, it may not.
func TestWillIsChecked(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	w.block(bob, alice)
	for _, v := range []byte{4, 5} {
		// Blocked: refused at CONNECT, or not stored when it fires.
		c, ack := w.login(t, login{version: v, user: alice, id: "phone", will: &will{topic: "inbox/" + bob, body: "x"}})
		if ack.ReasonCode == 0 {
			c.vanish()
		}
		// It has gone by when the next publish of the user is settled.
		w.connect(t, login{version: v, user: alice, id: "phone"}).say("inbox/"+alice, "next")
	}
	if n := w.stored(alice, "x"); n != 0 {
		t.Errorf("stored %d times", n)
	}
}

// It has the properties of a publish: its key makes it one message, however
// often the line is cut.
func TestWillProperties(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	c := w.connect(t, login{version: 5, user: bob, id: "phone"})
	c.listen(bob)
	props := withUser("ref", `{"a":1}`, "idempotency-key", "bye")
	props.ContentType = "text/x"
	for range 2 {
		w.connect(t, login{version: 5, user: alice, id: "phone", will: &will{topic: "inbox/" + bob, body: "bye", props: props}}).vanish()
	}
	if _, e := c.receive(); string(e.Ref) != `{"a":1}` || e.ContentType != "text/x" {
		t.Errorf("received %+v", e)
	}
	w.connect(t, login{version: 5, user: alice, id: "phone"}).say("inbox/"+bob, "next")
	if _, e := c.receive(); e.body() != "next" {
		t.Errorf("received %q, want the message after one will", e.body())
	}
}

// A delayed will waits, and is forgotten if the device comes back meanwhile.
// [MQTT-3.1.3-9]
func TestDelayedWill(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	l := durable(5, alice, "back")
	l.will = &will{topic: "inbox/" + bob, body: "came back", props: packets.Properties{WillDelayInterval: 1}}
	w.connect(t, l).vanish()
	w.connect(t, durable(5, alice, "back"))
	l.id, l.will = "gone", &will{topic: "inbox/" + bob, body: "gone", props: packets.Properties{WillDelayInterval: 1}}
	cut := time.Now()
	w.connect(t, l).vanish()
	await(t, "the will", func() bool { return w.stored(alice, "gone") == 1 })
	if took := time.Since(cut); took < 900*time.Millisecond {
		t.Errorf("a will with a delay of 1 s came after %v", took)
	}
	if n := w.stored(alice, "came back"); n != 0 {
		t.Error("the will of a device that came back was sent")
	}
}

// A will does not wait for longer than the session lives. [MQTT-3.1.2-8]
func TestDelayedWillOfASessionThatEnds(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	w.connect(t, login{version: 5, user: alice, id: "phone",
		will: &will{topic: "inbox/" + alice, body: "x", props: packets.Properties{WillDelayInterval: 3600}}}).vanish()
	await(t, "the will", func() bool { return w.stored(alice, "x") == 1 })
}

// The will of a connection that the server ends is stored too.
func TestWillAtShutdown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	w.connect(t, login{user: alice, id: "phone", will: &will{topic: "inbox/" + alice, body: "x"}})
	w.restart()
	if n := w.stored(alice, "x"); n != 1 {
		t.Errorf("stored %d times", n)
	}
}
