package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
)

// The will of a user who is disabled is dropped, though it needed no delay; that
// of one whose password was changed is sent.
func TestWillOfAUserWhoIsSentAway(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	hash, err := passwordHash()
	if err != nil {
		t.Fatal(err)
	}
	for user, do := range map[string]func() error{
		alice: func() error { return w.store.SetDisabled(t.Context(), postbox.User(alice), true) },
		bob:   func() error { return w.store.SetPassword(t.Context(), postbox.User(bob), hash) },
	} {
		c := w.connect(t, login{user: user, id: "phone", will: &will{topic: "inbox/" + user, body: "x"}})
		if err := do(); err != nil {
			t.Fatal(err)
		}
		c.Ended()
		await(t, "the end of the will", func() bool { return w.wills(user) == 0 })
	}
	if n := w.sent(alice); n != 0 {
		t.Errorf("%d messages of a disabled user", n)
	}
	if n := w.stored(bob, "x"); n != 1 {
		t.Errorf("the will of a user with a new password was stored %d times", n)
	}
}

// Wills count for the publish rate: who has used it up connects later, or is
// told to, and loses none.
func TestWillsCountAsPublishes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.PublishRate, w.config.Limits.PublishBurst = 1, 3 })
	alice := w.user("alice")
	const tries = 5
	began := time.Now()
	for n := range tries {
		l := login{version: 5, user: alice, id: "phone", will: &will{topic: "inbox/" + alice, body: fmt.Sprint(n)}}
		w.connect(t, l).Vanish()
	}
	if took := time.Since(began); took < 1900*time.Millisecond {
		t.Errorf("%d wills at 1 per second after 3 at once took %v, want 2 s", tries, took)
	}
	await(t, "the wills", func() bool { return w.sent(alice) == tries && w.wills(alice) == 0 })
	w.connect(t, login{version: 5, user: alice, id: "other"}) // without one: it waits for nothing
}

// A publish with the key of a will is judged by what became of the will, also
// when both wait for the same commit.
func TestPublishWithTheKeyOfAWill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, gone := range map[string]bool{"stored": false, "gone": true} {
		t.Run(name, func(t *testing.T) {
			alice, bob := w.user("alice"), w.user("bob")
			l := durable(5, alice, "phone")
			l.will = &will{topic: "inbox/" + bob + "/k", body: "x"}
			w.connect(t, l)
			release := w.holdCommits()
			defer release()
			other := w.connect(t, login{user: alice, id: "laptop"})
			other.publish(publication{id: 1, qos: 1, topic: "inbox/" + bob, body: "ahead"})
			w.awaitBlocked(1)
			c := w.connect(t, durable(5, alice, "phone")) // the will is in its lane now
			if gone {
				w.exec(`DELETE FROM postbox.wills`)
			}
			c.publish(publication{id: 1, qos: 1, topic: "inbox/" + bob + "/k", body: "x"},
				publication{id: 2, qos: 1, topic: "inbox/" + bob, body: "last"})
			c.Quiet()
			release()
			first, last := c.Expect(packets.Puback), c.Expect(packets.Puback)
			if first.ReasonCode != 0 || (properties(first)["duplicate"] == "") != gone {
				t.Errorf("PUBACK %#x %v", first.ReasonCode, properties(first))
			}
			if got := properties(last); got["seq"] != "3" {
				t.Errorf("the next message: %v, want seq 3", got)
			}
			if n := w.stored(alice, "x"); n != 1 {
				t.Errorf("stored %d times", n)
			}
		})
	}
}
