package broker_test

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// In somebody else's Mochi server, whoever's the listener: stored before
// acknowledged, once, in order, resumed where the device was, across a restart.
func TestAttachedKeepsMessages(t *testing.T) {
	t.Parallel()
	listenerKinds(t, func(t *testing.T, kind string) {
		a := attach(t, kind, nil)
		for _, v := range []byte{4, 5} {
			alice, bob := a.user("alice"), a.user("bob")
			s := a.enter(t, durable(v, alice, "phone"))
			c := a.enter(t, durable(v, bob, "phone"))
			c.listen(bob)

			release := a.holdCommits()
			for id := uint16(1); id <= 20; id++ {
				s.publish(publication{id: id, qos: 1 + byte(id%2), topic: "inbox/" + bob, body: "early"})
			}
			a.awaitBlocked(1)
			s.Quiet()
			c.Quiet()
			release()
			for id := uint16(1); id <= 20; id++ {
				if ack := s.Read(); ack.PacketID != id || ack.ReasonCode != 0 {
					t.Fatalf("acknowledged %d with %#x, want %d", ack.PacketID, ack.ReasonCode, id)
				}
				c.next(int64(id))
			}
			if n := a.stored(alice, "early"); n != 20 {
				t.Errorf("%d rows, want 20", n)
			}

			once := publication{id: 99, qos: 1, topic: "inbox/" + bob, body: "once"}
			s.publish(once)
			first := s.Expect(packets.Puback)
			c.Expect(packets.Publish) // and not acknowledged
			c.Quiet()                 // what was acknowledged before has been read
			a.restart()
			once.dup = true
			s = a.enter(t, durable(v, alice, "phone"))
			s.publish(once)
			checkDuplicate(t, v, first, s.Expect(packets.Puback))
			if n := a.stored(alice, "once"); n != 1 {
				t.Errorf("stored %d times", n)
			}
			a.send(t, bob, 100)
			c = a.open(t)
			if ack := c.login(durable(v, bob, "phone")); !ack.SessionPresent {
				t.Error("the session is gone")
			}
			for n := int64(21); n <= 121; n++ {
				c.next(n)
			}
		}
	})
}

// The same for takeover and wills.
func TestAttachedConnections(t *testing.T) {
	t.Parallel()
	listenerKinds(t, func(t *testing.T, kind string) {
		a := attach(t, kind, nil)
		for _, v := range []byte{4, 5} {
			alice, bob := a.user("alice"), a.user("bob")
			l := durable(v, alice, "phone")
			l.will = &will{topic: "inbox/" + bob, body: "gone"}
			old := a.enter(t, l)
			old.listen(alice)
			c := a.enter(t, l)
			if reason := old.Ended(); v == 5 && reason != packets.ErrSessionTakenOver.Code {
				t.Errorf("the old connection ended with %#x, want 0x8e", reason)
			}
			a.send(t, alice, 1)
			c.next(1)
			await(t, "the will of the connection that was taken over", func() bool { return a.stored(alice, "gone") == 1 })
			c.Vanish()
			await(t, "the will", func() bool { return a.stored(alice, "gone") == 2 })
			a.enter(t, l).Leave()
			a.enter(t, l).Leave()
			if n := a.stored(alice, "gone"); n != 2 {
				t.Errorf("%d wills, want 2: one was taken back by DISCONNECT", n)
			}
			if v < 5 {
				continue
			}
			// Mochi overlooks a reason without properties; only our listener sees it.
			c = a.enter(t, l)
			c.Write([]byte{0xe0, 1, 4})
			c.Ended()
			a.enter(t, l).Leave()
			want := int64(3)
			if kind == mochiTCP || kind == mochiWS {
				want = 2
			}
			// It is stored once the connection has ended, which the new one does not wait for.
			await(t, "the will after a DISCONNECT that asks for one", func() bool { return a.stored(alice, "gone") >= want })
			if n := a.stored(alice, "gone"); n != want {
				t.Errorf("%d wills after a DISCONNECT that asks for one, want %d", n, want)
			}
		}
	})
}

// A device that does not read holds up nobody: not its sender, nor its own
// return, nor the end of the server.
func TestAttachedStalledReader(t *testing.T) {
	t.Parallel()
	listenerKinds(t, func(t *testing.T, kind string) {
		a := attach(t, kind, nil)
		alice, bob := a.user("alice"), a.user("bob")
		stalled := a.enter(t, durable(5, bob, "phone"))
		stalled.listen(bob)
		s := a.enter(t, login{version: 5, user: alice, id: "laptop"})
		big := string(make([]byte, 60<<10))
		for range 200 {
			s.say("inbox/"+bob, big)
		}
		c := a.enter(t, durable(5, bob, "phone"))
		c.next(1)
		second := a.enter(t, durable(5, bob, "laptop"))
		second.listen(bob)
		began := time.Now()
		a.stop()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the end took %v", took)
		}
	})
}

// A connection whose reader panics in Mochi's decoder ends alone where something
// recovers: in ours, and in net/http under Mochi's WebSocket listener. Its
// device returns. (Under Mochi's TCP listener the process ends.)
func TestAttachedSurvivesAPanic(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{mochiWS, oursTCP, oursWS} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			a := attach(t, kind, nil)
			alice := a.user("alice")
			other := a.enter(t, login{version: 5, user: alice, id: "laptop"})
			c := a.enter(t, durable(5, alice, "phone"))
			c.listen(alice)
			c.Write([]byte{0x82, 6, 0, 1, 0, 0, 1, 'a'})
			c.Ended()
			other.say("inbox/"+alice, "still here")
			again := a.enter(t, durable(5, alice, "phone"))
			again.next(1)
		})
	}
}

// With our listener a connection has a deadline and a size before CONNECT, and
// the end of the server does not wait for one.
func TestAttachedBeforeConnect(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{oursTCP, oursWS} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			a := attach(t, kind, nil, func(w *world) { w.config.Limits.ConnectTimeout = time.Second })
			silent := a.open(t)
			silent.Write([]byte{0x10})
			silent.Ended()
			large := a.open(t)
			large.Write([]byte{0x10, 0xff, 0xff, 0xff, 0x7f})
			large.Ended()
		})
		t.Run(kind+" at the end", func(t *testing.T) {
			t.Parallel()
			a := attach(t, kind, nil, func(w *world) { w.config.Limits.ConnectTimeout = time.Hour })
			half := a.open(t)
			half.Write([]byte{0x10})
			began := time.Now()
			a.stop()
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the end took %v", took)
			}
			half.Ended()
		})
	}
}

// Mochi's Close comes to its end though a connection of our listener has not sent
// CONNECT: also when it comes before that of the engine.
func TestAttachedServerClosedFirst(t *testing.T) {
	t.Parallel()
	a := attach(t, oursTCP, nil, func(w *world) { w.config.Limits.ConnectTimeout = time.Hour })
	alice := a.user("alice")
	c, half := a.enter(t, login{version: 5, user: alice, id: "phone"}), a.open(t)
	half.Write([]byte{0x10})
	began := time.Now()
	_ = a.mochi.Close()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	half.Ended()
	if reason := c.Ended(); reason != packets.ErrServerShuttingDown.Code {
		t.Errorf("ended with %#x, want 0x8b", reason)
	}
	a.mochi = nil
	if err := a.engine.Shutdown(t.Context()); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// The end commits and acknowledges what was received, tells everybody, and lets
// nobody in any more, though Mochi still listens.
func TestAttachedShutdown(t *testing.T) {
	t.Parallel()
	listenerKinds(t, func(t *testing.T, kind string) {
		a := attach(t, kind, nil)
		alice := a.user("alice")
		c := a.enter(t, durable(5, alice, "phone"))
		release := a.holdCommits()
		c.publish(publication{id: 7, qos: 1, topic: "inbox/" + alice, body: "last"})
		a.awaitBlocked(1)
		time.AfterFunc(200*time.Millisecond, release)
		if err := a.engine.Shutdown(t.Context()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if ack := c.Expect(packets.Puback); ack.PacketID != 7 {
			t.Errorf("acknowledged %d", ack.PacketID)
		}
		if reason := c.Ended(); reason != packets.ErrServerShuttingDown.Code {
			t.Errorf("ended with %#x, want 0x8b", reason)
		}
		if n := a.stored(alice, "last"); n != 1 {
			t.Errorf("%d rows", n)
		}
		if kind == mochiTCP || kind == mochiWS {
			late := a.open(t)
			if ack := late.login(durable(5, alice, "phone")); ack.ReasonCode != packets.ErrServerUnavailable.Code {
				t.Errorf("after the end: CONNACK %#x, want 0x88", ack.ReasonCode)
			}
		}
	})
}
