package broker_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
)

// wills is how many wills of a user are stored, waiting how many of them are
// those of connections that have ended.
func (w *world) wills(user string) int64 {
	w.t.Helper()
	return w.number(`SELECT count(*) FROM postbox.wills w JOIN postbox.users u ON u.id = w.user_id WHERE u.name = $1`, user)
}

func (w *world) waiting(user string) int64 {
	w.t.Helper()
	return w.number(`SELECT count(*) FROM postbox.wills w JOIN postbox.users u ON u.id = w.user_id
		WHERE u.name = $1 AND w.due_at IS NOT NULL`, user)
}

// delayed gives a durable device of MQTT 5 a will to its own user.
func delayed(user, id, body string, seconds uint32) login {
	l := durable(5, user, id)
	l.will = &will{topic: "inbox/" + user, body: body, props: packets.Properties{WillDelayInterval: seconds}}
	return l
}

// A will is stored and delivered like every message, with its sender, when the
// connection ends without DISCONNECT; and only then.
func TestWill(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice, bob := w.user("alice"), w.user("bob")
		c := w.connect(t, login{version: v, user: bob, id: "phone"})
		c.listen(bob)
		l := login{version: v, user: alice, id: "phone", will: &will{topic: "inbox/" + bob, body: "line cut"}}
		w.connect(t, l).Vanish()
		pk, e := c.receive()
		if e.From != alice || e.body() != "line cut" || e.Seq != 1 || e.ID == "" || pk.FixedHeader.Retain {
			t.Errorf("received %s", pk.Payload)
		}
		if n := w.stored(alice, "line cut"); n != 1 {
			t.Errorf("stored %d times", n)
		}

		l.will.body = "left"
		w.connect(t, l).Leave()
		l.will.body = "with a protocol error"
		at := w.connect(t, l)
		at.Write([]byte{0x36, 5, 0, 1, 'a', 0, 1}) // QoS 3
		at.Ended()
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
		c.Quiet()
		if n := w.wills(alice); n != 0 {
			t.Errorf("%d wills are left", n)
		}
	})
}

// A DISCONNECT takes the will back before the connection is closed: whatever
// comes over the server then.
func TestWillTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, v := range []byte{4, 5} {
		alice := w.user("alice")
		w.connect(t, login{version: v, user: alice, id: "phone", will: &will{topic: "inbox/" + alice, body: "x"}}).Leave()
		if n := w.wills(alice); n != 0 {
			t.Errorf("version %d: %d wills are left", v, n)
		}
		w.crash()
		w.connect(t, login{version: v, user: alice, id: "phone"}).say("inbox/"+alice, "next")
		if n := w.stored(alice, "x"); n != 0 {
			t.Errorf("version %d: sent %d times", v, n)
		}
	}
}

// DISCONNECT with reason 4 asks for the will, in both of its forms.
// [MQTT-3.14.2-1]
func TestWillAskedForAtDisconnect(t *testing.T) {
	w := sharedWorld(t)
	for name, disconnect := range map[string][]byte{"reason": {0xe0, 1, 4}, "reason and length": {0xe0, 2, 4, 0}} {
		t.Run(name, func(t *testing.T) {
			alice := w.user("alice")
			c := w.connect(t, login{version: 5, user: alice, id: "phone", will: &will{topic: "inbox/" + alice, body: name}})
			c.Write(disconnect)
			c.Ended()
			await(t, "the will", func() bool { return w.stored(alice, name) == 1 })
		})
	}
}

// The will is a publish of the user: what that may not do is refused at
// CONNECT.
func TestWillIsCheckedAtConnect(t *testing.T) {
	w := sharedWorld(t)
	alice, carol, bob := w.user("alice"), w.user("carol"), w.user("bob")
	w.block(carol, alice)
	for name, r := range refusedPublishes(carol, bob) {
		for _, v := range []byte{3, 4, 5} {
			if name == "too large" {
				continue // no CONNECT has room for it
			}
			l := login{version: v, user: alice, id: "phone", will: &will{topic: r.topic, body: r.body}}
			c, ack := w.login(t, l)
			want := map[string]byte{"invalid": code(v, 2, 0x85), "not_found": code(v, 5, 0x90), "forbidden": code(v, 5, 0x87)}[r.code]
			if ack.ReasonCode != want {
				t.Errorf("%s, version %d: CONNACK %#x %s, want %#x", name, v, ack.ReasonCode, ack.Properties.ReasonString, want)
			}
			c.Ended()
		}
	}
	l := login{version: 5, user: alice, id: "phone", will: &will{topic: "inbox/" + bob, props: withUser("ref", "[]")}}
	if _, ack := w.login(t, l); ack.ReasonCode != 0x85 {
		t.Errorf("a ref that is none: CONNACK %#x", ack.ReasonCode)
	}
	if n := w.wills(alice) + w.sent(alice); n != 0 {
		t.Errorf("%d wills and messages of refused connections", n)
	}
}

// It is checked again when it is sent: what has changed meanwhile counts, and
// what is refused then is only logged, without its body.
func TestWillIsCheckedWhenSent(t *testing.T) {
	t.Parallel()
	log := new(logged)
	w := newWorld(t, func(w *world) { w.log = slog.NewTextHandler(log, nil) })
	alice, bob := w.user("alice"), w.user("bob")
	v5 := login{version: 5, user: alice, id: "phone", will: &will{topic: "inbox/" + bob, body: "secret one"}}
	c := w.connect(t, v5)
	w.block(bob, alice)
	c.Vanish()
	await(t, "the end of the will", func() bool { return w.wills(alice) == 0 })

	// A delayed one, of a user who may send nothing any more.
	l := durable(5, bob, "phone")
	l.will = &will{topic: "inbox/" + alice, body: "secret two", props: packets.Properties{WillDelayInterval: 2}}
	w.connect(t, l).Vanish()
	await(t, "the end of the connection", func() bool { return w.waiting(bob) == 1 })
	if err := w.store.SetDisabled(t.Context(), postbox.User(bob), true); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of the will", func() bool { return w.wills(bob) == 0 })
	if n := w.sent(alice) + w.sent(bob); n != 0 {
		t.Errorf("%d messages", n)
	}
	text := log.String()
	if n := strings.Count(text, "a will was refused"); n != 2 || strings.Contains(text, "secret") {
		t.Errorf("%d of 2 refusals logged, or a body: %s", n, text)
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
		w.connect(t, login{version: 5, user: alice, id: "phone", will: &will{topic: "inbox/" + bob, body: "bye", props: props}}).Vanish()
	}
	if _, e := c.receive(); string(e.Ref) != `{"a":1}` || e.ContentType != "text/x" {
		t.Errorf("received %+v", e)
	}
	w.connect(t, login{version: 5, user: alice, id: "phone"}).say("inbox/"+bob, "next")
	if _, e := c.receive(); e.body() != "next" {
		t.Errorf("received %q, want the message after one will", e.body())
	}
}

// A delayed will waits, and is forgotten if the device comes back meanwhile to
// its session. [MQTT-3.1.3-9]
func TestDelayedWill(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	w.connect(t, delayed(alice, "back", "came back", 2)).Vanish()
	await(t, "the end of the connection", func() bool { return w.waiting(alice) == 1 })
	if _, ack := w.login(t, durable(5, alice, "back")); !ack.SessionPresent || w.wills(alice) != 0 {
		t.Errorf("session present %v, %d wills", ack.SessionPresent, w.wills(alice))
	}
	cut := time.Now()
	w.connect(t, delayed(alice, "gone", "gone", 2)).Vanish()
	await(t, "the will", func() bool { return w.stored(alice, "gone") == 1 })
	if took := time.Since(cut); took < 1900*time.Millisecond {
		t.Errorf("a will with a delay of 2 s came after %v", took)
	}
	if n := w.sent(alice); n != 1 {
		t.Errorf("%d messages, want the will of the device that is gone", n)
	}
}

// A device that takes itself over is back: its will is sent if it has no delay,
// or if the session ends, and then before anything of the new connection.
func TestWillAtTakeover(t *testing.T) {
	w := sharedWorld(t)
	for name, c := range map[string]struct {
		delay uint32
		clean bool
		sent  bool
	}{"delayed": {60, false, false}, "at once": {0, false, true}, "delayed, clean": {60, true, true}, "at once, clean": {0, true, true}} {
		for _, cut := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, cut %v", name, cut), func(t *testing.T) {
				alice := w.user("alice")
				listener := w.connect(t, login{user: alice, id: "listener"})
				listener.listen(alice)
				old := w.connect(t, delayed(alice, "phone", "will", c.delay))
				old.publish(publication{id: 1, qos: 1, topic: "inbox/" + alice, body: "first"})
				old.Expect(packets.Puback) // what the server has not read when it cuts the connection is lost
				if cut {
					old.Vanish()
				}
				l := durable(5, alice, "phone")
				l.clean = c.clean
				w.connect(t, l).say("inbox/"+alice, "last")
				want := []string{"first", "last"}
				if c.sent {
					want = []string{"first", "will", "last"}
				}
				for _, body := range want {
					if _, e := listener.receive(); e.body() != body || e.From != alice {
						t.Errorf("received %q, want %q", e.body(), body)
					}
				}
				listener.Quiet()
				if n := w.wills(alice); n != 0 {
					t.Errorf("%d wills are left", n)
				}
			})
		}
	}
}

// A will does not wait for longer than the session lives. [MQTT-3.1.2-8]
func TestDelayedWillOfASessionThatEnds(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	w.connect(t, login{version: 5, user: alice, id: "phone",
		will: &will{topic: "inbox/" + alice, body: "x", props: packets.Properties{WillDelayInterval: 3600}}}).Vanish()
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

// A delayed will is stored: it is sent, once, whatever became of the server
// meanwhile.
func TestDelayedWillAcrossRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, again := range map[string]func(){"stopped": w.restart, "killed": w.crash} {
		alice := w.user("alice")
		for _, c := range []struct {
			id    string
			delay uint32
			cut   bool
		}{{"soon", 1, true}, {"late", 600, true}, {"back", 600, true}, {"alive", 1, false}, {"alive and back", 600, false}} {
			l := w.connect(t, delayed(alice, c.id, c.id, c.delay))
			if c.cut {
				l.Vanish()
			}
		}
		await(t, "the ends of the connections", func() bool { return w.waiting(alice) == 3 || w.stored(alice, "soon") == 1 })
		again()
		for _, id := range []string{"back", "alive and back"} {
			if _, ack := w.login(t, durable(5, alice, id)); !ack.SessionPresent {
				t.Errorf("%s: the session of %s is gone", name, id)
			}
		}
		await(t, "the wills", func() bool { return w.stored(alice, "soon") == 1 && w.stored(alice, "alive") == 1 })
		again()
		if sent, left := w.sent(alice), w.wills(alice); sent != 2 || left != 1 {
			t.Errorf("%s: %d sent, want 2; %d left, want 1", name, sent, left)
		}
	}
}

// A killed server leaves connections of which nobody has noted the end: their
// wills are sent after the next start, before anything else of their devices;
// of devices without a session, too.
func TestWillsOfAKilledServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	versions(t, func(t *testing.T, v byte) {
		for name, l := range map[string]login{"session": durable(v, "", "phone"), "none": {version: v, id: "phone", clean: v < 5}} {
			l.user = w.user("alice")
			l.will = &will{topic: "inbox/" + l.user, body: "will"}
			listener := w.connect(t, durable(4, l.user, "listener"))
			listener.listen(l.user)
			old := w.connect(t, l)
			old.say("inbox/"+l.user, "first")
			w.crash()
			listener = w.connect(t, durable(4, l.user, "listener"))
			l.will = nil
			w.connect(t, l).say("inbox/"+l.user, "last")
			for n, want := range []string{"first", "will", "last"} {
				if _, e := listener.receive(); e.body() != want || e.InboxSeq != int64(n+1) {
					t.Errorf("%s: received %d %q, want %q", name, e.InboxSeq, e.body(), want)
				}
			}
			if n := w.wills(l.user); n != 0 {
				t.Errorf("%s: %d wills are left", name, n)
			}
		}
	})
}

// A server that is killed while a will is being stored has stored it or not:
// the next sends it, or does not.
func TestKilledWhileAWillIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	const rounds = 4
	for n := range rounds {
		release := func() {}
		if n%2 == 0 {
			release = w.holdCommits()
		}
		w.connect(t, delayed(alice, "phone", fmt.Sprint(n), 0)).Vanish()
		if n%2 == 0 {
			w.awaitBlocked(1)
		} else {
			await(t, "the will", func() bool { return w.stored(alice, fmt.Sprint(n)) == 1 })
		}
		w.crashWith(release)
		await(t, "the will", func() bool { return w.stored(alice, fmt.Sprint(n)) == 1 })
	}
	w.restart()
	if sent, left := w.sent(alice), w.wills(alice); sent != rounds || left != 0 {
		t.Errorf("%d sent, want %d; %d left", sent, rounds, left)
	}
}

// A will that is due while the database is away is sent when it is back; so is
// one whose connection ends meanwhile.
func TestWillWhileAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	w.connect(t, delayed(alice, "before", "before", 1)).Vanish()
	await(t, "the end of the connection", func() bool { return w.waiting(alice)+w.sent(alice) == 1 })
	var late []*wire
	for _, delay := range []uint32{0, 1} {
		id := fmt.Sprint("meanwhile ", delay)
		late = append(late, w.connect(t, delayed(alice, id, id, delay)))
	}
	left := w.connect(t, delayed(alice, "left", "left", 0))
	back := w.databaseAway()
	for _, c := range late {
		c.Vanish()
	}
	left.Leave()
	back()
	for _, body := range []string{"before", "meanwhile 0", "meanwhile 1"} {
		await(t, "the will "+body, func() bool { return w.stored(alice, body) == 1 })
	}
	await(t, "the end of all wills", func() bool { return w.wills(alice) == 0 })
	if n := w.sent(alice); n != 3 {
		t.Errorf("%d sent, want 3", n)
	}
}

// The life of its message counts from when it is sent.
func TestWillExpiry(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	l := delayed(alice, "phone", "x", 1)
	l.will.props.MessageExpiryInterval, l.will.props.WillDelayInterval = 100, 1
	w.connect(t, l).Vanish()
	await(t, "the will", func() bool { return w.stored(alice, "x") == 1 })
	if n := w.number(`SELECT count(*) FROM postbox.messages m JOIN postbox.users u ON u.id = m.sender_id
		WHERE u.name = $1 AND m.expires_at = m.sent_at + interval '100 seconds'`, alice); n != 1 {
		t.Error("the message does not expire 100 s after it was sent")
	}
}

// A page in a browser has a will like every other client.
func TestWillOverWebSocket(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice := w.user("alice")
		c := w.overWebSocket(t)
		if ack := c.login(login{version: v, user: alice, id: "page", will: &will{topic: "inbox/" + alice, body: "x"}}); ack.ReasonCode != 0 {
			t.Fatalf("CONNACK %#x", ack.ReasonCode)
		}
		c.Vanish()
		await(t, "the will", func() bool { return w.stored(alice, "x") == 1 })
	})
}
