package broker_test

import (
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/internal/pgtest"
)

// A device says where it is with a control filter, in the same SUBSCRIBE or an
// earlier one, or in MQTT 5 with a property.
func TestSince(t *testing.T) {
	w := sharedWorld(t)
	epoch, _ := w.store.Epoch(t.Context())
	bob := w.user("bob")
	w.fill(bob, 10)
	inbox := "inbox/" + bob
	sub := packets.Subscription{Filter: inbox, Qos: 1}
	ways := map[string]func(c *wire, at string){
		"after the filter":  func(c *wire, at string) { c.subscribe(inbox, inbox+"/since/"+at) },
		"before the filter": func(c *wire, at string) { c.subscribe(inbox+"/since/"+at, inbox) },
		"earlier":           func(c *wire, at string) { c.subscribe(inbox + "/since/" + at); c.Quiet(); c.subscribe(inbox) },
		"property":          func(c *wire, at string) { c.subscribeWith(withUser("since", at), sub) },
	}
	versions(t, func(t *testing.T, v byte) {
		for name, subscribe := range ways {
			if name == "property" && v < 5 {
				continue
			}
			for at, from := range map[string]int64{"7": 7, string(epoch) + ":7": 7, "10": 10, "0": 0} {
				for _, kept := range []bool{false, true} {
					l := login{version: v, user: bob, id: "phone", clean: true}
					if kept {
						w.exec(`DELETE FROM postbox.devices d USING postbox.users u WHERE u.id = d.user_id AND u.name = $1`, bob)
						l = durable(v, bob, "phone")
					}
					c := w.connect(t, l)
					subscribe(c, at)
					for n := from + 1; n <= 10; n++ {
						if pk := c.entry(n); pk.FixedHeader.Dup {
							t.Errorf("%s %s: entry %d with DUP", name, at, n)
						}
						c.puback(uint16(n))
					}
					c.Quiet()
					c.Leave()
				}
			}
		}
	})
}

// Backlog first, then live, without a gap or a repeat between them.
func TestSinceMeetsTheHead(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	w.fill(bob, 500)
	c, s := w.connect(t, login{user: bob, id: "phone", clean: true}), w.connect(t, login{user: alice, id: "phone"})
	c.subscribe("inbox/"+bob+"/since/0", "inbox/"+bob)
	sent := int64(500)
	for n := int64(1); n <= 1500; n++ {
		c.puback(c.entry(n).PacketID)
		if sent < 1500 { // twice as fast as it is read
			for range 2 {
				sent++
				s.publish(publication{id: uint16(sent), qos: 1, topic: "inbox/" + bob, body: fmt.Sprint(sent)})
				s.Expect(packets.Puback)
			}
		}
	}
	c.Quiet()
}

// since replaces the cursor, backwards too, but not when a library repeats it
// on a session that is resumed.
func TestSinceAndSession(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		bob := w.user("bob")
		inbox := "inbox/" + bob
		l := durable(v, bob, "phone")
		c := w.connect(t, l)
		c.listen(bob)
		w.fill(bob, 5)
		for n := int64(1); n <= 5; n++ {
			c.puback(c.entry(n).PacketID)
		}
		c.subscribe(inbox+"/since/2", inbox) // backwards
		for n := int64(3); n <= 5; n++ {
			c.puback(c.entry(n).PacketID)
		}
		c.Flush()
		c.Leave()

		c = w.connect(t, l)
		c.subscribe(inbox+"/since/2", inbox) // the library's own idea
		c.Quiet()
		w.fill(bob, 1)
		c.puback(c.entry(6).PacketID)
		c.unsubscribe(inbox)
		c.subscribe(inbox+"/since/4", inbox) // this is nobody's but the application's
		for n := int64(5); n <= 6; n++ {
			c.puback(c.entry(n).PacketID)
		}
		c.Leave()

		// A cursor that was set backwards is kept, though nothing was
		// acknowledged after it.
		c = w.connect(t, durable(v, bob, "other"))
		c.subscribe(inbox+"/since/4", inbox)
		c.entry(5)
		c.entry(6)
		c.Leave()
		c = w.connect(t, durable(v, bob, "other"))
		c.entry(5)
		c.entry(6)
		c.Leave()
	})
}

// A device that knows another lineage, or is ahead of its inbox, is told that
// there is a gap; its acknowledgement sets the cursor.
func TestGap(t *testing.T) {
	w := sharedWorld(t)
	epoch, _ := w.store.Epoch(t.Context())
	versions(t, func(t *testing.T, v byte) {
		for name, at := range map[string]string{
			"another epoch": "older:2", "another epoch, ahead": "older:99", "ahead": "99", "ahead in this epoch": string(epoch) + ":99",
		} {
			bob := w.user("bob")
			w.fill(bob, 5)
			l := durable(v, bob, "phone")
			c := w.connect(t, l)
			c.subscribe("inbox/"+bob+"/since/"+at, "inbox/"+bob)
			pk := c.Expect(packets.Publish)
			e := open(t, pk)
			if e.Type != "gap" || e.Code != "epoch_changed" || e.Epoch != string(epoch) || e.After == nil || e.Next != 6 || pk.FixedHeader.Qos != 1 {
				t.Errorf("%s: told %s at QoS %d", name, pk.Payload, pk.FixedHeader.Qos)
			}
			if v == 5 && properties(pk)["code"] != "epoch_changed" {
				t.Errorf("%s: properties %v", name, properties(pk))
			}
			c.puback(pk.PacketID)
			w.fill(bob, 1)
			c.puback(c.entry(6).PacketID)
			c.Flush()
			c.Leave()
			w.fill(bob, 1)
			c = w.connect(t, l)
			c.puback(c.entry(7).PacketID)
			c.Quiet()
			c.Leave()
		}
	})
}

// What retention has taken away is announced, and what is left follows.
func TestGapOfRetention(t *testing.T) {
	w := sharedWorld(t)
	bob := w.user("bob")
	w.fill(bob, 10)
	w.exec(pgtest.RemoveEntries, bob, 7)
	l := durable(4, bob, "phone")
	c := w.connect(t, l)
	c.subscribe("inbox/"+bob+"/since/2", "inbox/"+bob)
	pk, e := c.receive()
	if e.Type != "gap" || e.Code != "expired" || e.After == nil || *e.After != 2 || e.Next != 8 {
		t.Errorf("told %s", pk.Payload)
	}
	for n := int64(8); n <= 10; n++ {
		c.puback(c.entry(n).PacketID)
	}
	c.Quiet()
}
