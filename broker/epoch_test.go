package broker_test

import (
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// gap reads the news of a changed epoch and returns its packet id.
func (c *wire) gap(t *testing.T, after, next int64) uint16 {
	t.Helper()
	pk := c.Expect(packets.Publish)
	e := open(t, pk)
	if e.Type != "gap" || e.Code != "epoch_changed" || e.After == nil || *e.After != after || e.Next != next {
		t.Fatalf("told %s, want a gap from %d to %d", pk.Payload, after, next)
	}
	if pk.PacketID <= 60000 || pk.FixedHeader.Qos != 1 {
		t.Errorf("the gap has packet id %d at QoS %d", pk.PacketID, pk.FixedHeader.Qos)
	}
	return pk.PacketID
}

// older gives a user's sessions to another epoch, as a restored database has
// them.
func (w *world) older(user string) {
	w.t.Helper()
	w.exec(`UPDATE postbox.devices d SET epoch = 'older' FROM postbox.users u WHERE u.id = d.user_id AND u.name = $1`, user)
}

// A session of another epoch is told so, again and again until it has
// acknowledged that, and misses nothing that came meanwhile.
func TestSessionOfAnotherEpoch(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		bob := w.user("bob")
		l := durable(v, bob, "phone")
		c := w.connect(t, l)
		c.listen(bob)
		w.fill(bob, 3)
		for n := int64(1); n <= 3; n++ {
			c.puback(c.entry(n).PacketID)
		}
		c.Flush()
		c.Leave()
		await(t, "the cursor", func() bool { return w.cursor(bob, "phone") == 3 })
		w.older(bob)
		w.fill(bob, 2)

		for range 2 { // told, and cut off before it acknowledges that
			c = w.connect(t, l)
			c.gap(t, 3, 4)
			c.puback(c.entry(4).PacketID)
			c.puback(c.entry(5).PacketID)
			c.Flush()
			c.Leave()
		}
		c = w.connect(t, l)
		c.gap(t, 3, 4)
		// Subscribing anew does not take the news away.
		c.unsubscribe("inbox/" + bob)
		c.subscribe("inbox/" + bob)
		c.puback(c.gap(t, 3, 4))
		c.Flush()
		c.Leave()

		c = w.connect(t, l)
		c.puback(c.entry(4).PacketID)
		c.puback(c.entry(5).PacketID)
		c.Flush()
		c.Quiet()
		c.Leave()
	})
}

// The news comes to a device that has seen nothing yet as well, and to one at
// the beginning of its inbox.
func TestSessionOfAnotherEpochAtZero(t *testing.T) {
	w := sharedWorld(t)
	bob := w.user("bob")
	l := durable(5, bob, "phone")
	c := w.connect(t, l)
	c.listen(bob)
	c.Leave()
	w.older(bob)
	c = w.connect(t, l)
	id := c.gap(t, 0, 1)
	w.fill(bob, 1)
	c.puback(c.entry(1).PacketID)
	c.puback(id)
	c.Flush()
	c.Leave()
	w.fill(bob, 1)
	c = w.connect(t, l)
	c.puback(c.entry(2).PacketID)
	c.Leave()
}

// A position of an earlier epoch of this database counts as far as both have
// the same entries; one of a strange epoch, nothing.
func TestSinceAnotherEpoch(t *testing.T) {
	w := sharedWorld(t)
	epoch, err := w.store.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	old := fmt.Sprintf("old%d", w.named.Add(1))
	w.exec(`INSERT INTO postbox.epochs SELECT $1, system_identifier, timeline, database_oid, table_oid, began_at - interval '1 day'
		  FROM postbox.epochs WHERE epoch = $2`, old, epoch)
	t.Cleanup(func() { w.exec(`DELETE FROM postbox.epochs WHERE epoch = $1`, old) })
	versions(t, func(t *testing.T, v byte) {
		for at, want := range map[string]struct{ after, next int64 }{
			old + ":2": {2, 3}, old + ":4": {4, 5}, old + ":7": {4, 5}, old + ":0": {0, 1}, "strange:2": {0, 8},
		} {
			bob := w.user("bob")
			w.fill(bob, 7)
			// Four of them are from before this epoch.
			w.exec(`UPDATE postbox.messages m SET sent_at = sent_at - interval '1 hour' FROM postbox.inbox_entries i, postbox.users u
				 WHERE u.name = $1 AND i.user_id = u.id AND i.inbox_seq <= 4
				   AND m.conversation_id = i.conversation_id AND m.seq = i.seq`, bob)
			l := durable(v, bob, "phone")
			for i := range 2 { // told again, since it has not acknowledged that
				c := w.connect(t, l)
				if i == 0 {
					c.subscribe("inbox/"+bob+"/since/"+at, "inbox/"+bob)
				} else {
					want.after = want.next - 1
				}
				c.gap(t, want.after, want.next)
				for n := want.next; n <= 7; n++ {
					c.puback(c.entry(n).PacketID)
				}
				c.Quiet()
				c.Leave()
			}
		}
	})
}

// A client that is ahead of its inbox shows that the database was put back to
// an older state, if that can be: PostgreSQL was started since the epoch began.
// Else its word counts for nobody but itself.
func TestClientAheadOfItsInbox(t *testing.T) {
	w := newWorld(t)
	bob := w.user("bob")
	w.fill(bob, 3)
	epoch, err := w.store.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ahead := func() {
		c := w.connect(t, login{user: bob, id: "phone", clean: true})
		c.subscribe("inbox/"+bob+"/since/"+string(epoch)+":9", "inbox/"+bob)
		c.gap(t, 3, 4)
		c.Flush()
		c.Leave()
	}
	epochs := func() int64 { return w.number(`SELECT count(*) FROM postbox.epochs`) }
	ahead()
	if n := w.replaced.Load(); n != 0 || epochs() != 1 {
		t.Errorf("asked %d times to be replaced, %d epochs: any client can end an epoch", n, epochs())
	}
	w.exec(`UPDATE postbox.epochs SET began_at = began_at - interval '1 year'`)
	alice := w.user("alice")
	sender := w.connect(t, login{user: alice, id: "desk", clean: true})
	ahead()
	if n := w.replaced.Load(); n != 1 || epochs() != 2 {
		t.Errorf("asked %d times to be replaced, %d epochs, want 1 and 2", n, epochs())
	}
	// Who was told may have somebody write: not in the epoch that is over.
	sender.publish(publication{id: 1, qos: 1, topic: "inbox/" + bob, body: "late"})
	sender.Ended()
	if w.stored(alice, "late") != 0 {
		t.Error("a message was stored in an epoch that is over")
	}
	w.restart()
	if epoch, err = w.store.Epoch(t.Context()); err != nil {
		t.Fatal(err)
	}
	ahead()
	if n := w.replaced.Load(); n != 1 || epochs() != 2 {
		t.Errorf("asked %d times to be replaced, %d epochs: once is enough", n, epochs())
	}
}

// A new epoch by hand takes effect at once, on a server that runs.
func TestNewEpochWhileRunning(t *testing.T) {
	w := newWorld(t)
	bob := w.user("bob")
	l := durable(4, bob, "phone")
	c := w.connect(t, l)
	c.listen(bob)
	w.fill(bob, 1)
	c.puback(c.entry(1).PacketID)
	c.Flush()
	c.Leave()
	await(t, "the cursor", func() bool { return w.cursor(bob, "phone") == 1 })
	begun, err := w.store.NewEpoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the server to notice", func() bool { return w.replaced.Load() > 0 })
	w.restart()
	c = w.connect(t, l)
	pk := c.Expect(packets.Publish)
	if e := open(t, pk); e.Type != "gap" || e.Epoch != string(begun) || e.Next != 2 {
		t.Errorf("told %s, want a gap to 2 in epoch %s", pk.Payload, begun)
	}
}
