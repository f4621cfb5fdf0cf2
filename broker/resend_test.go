package broker_test

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// What was acknowledged is recognised when it is sent again with DUP, on the
// same connection, the next, or after the server has gone down in between.
// With DUP 0 it is another message.
func TestResendRule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, between := range map[string]func(c *wire){
		"same connection":  nil,
		"line cut":         (*wire).Vanish,
		"server restarted": func(*wire) { w.restart() },
	} {
		t.Run(name, func(t *testing.T) {
			versions(t, func(t *testing.T, v byte) {
				alice, bob := w.user("alice"), w.user("bob")
				l := durable(v, alice, "phone")
				again := func(c *wire) *wire {
					if between == nil {
						return c
					}
					between(c)
					return w.connect(t, l)
				}
				c := w.connect(t, l)
				p := publication{id: 7, qos: 1, topic: "inbox/" + bob, body: "once"}
				c.publish(p)
				first := c.Expect(packets.Puback)

				c = again(c)
				p.dup = true
				for range 2 {
					c.publish(p)
					checkDuplicate(t, v, first, c.Expect(packets.Puback))
				}
				if n := w.stored(alice, p.body); n != 1 {
					t.Errorf("stored %d times after re-sends", n)
				}

				// Not the same: another body, id, QoS, or destination.
				for _, other := range []publication{
					{id: 7, qos: 1, dup: true, topic: p.topic, body: "other"},
					{id: 8, qos: 1, dup: true, topic: p.topic, body: p.body},
					{id: 7, qos: 2, dup: true, topic: p.topic, body: p.body},
					{id: 7, qos: 1, dup: true, topic: "inbox/" + alice, body: p.body},
				} {
					c.publish(other)
					if ack := properties(c.Read()); ack["duplicate"] != "" {
						t.Errorf("%+v was taken for a re-send", other)
					}
				}
				if n := w.stored(alice, p.body); n != 4 {
					t.Errorf("stored %d times, want 4", n)
				}

				c = again(c)
				p.dup = false
				c.publish(p)
				if ack := properties(c.Expect(packets.Puback)); ack["duplicate"] != "" {
					t.Error("a publish with DUP 0 was taken for a re-send")
				}
				if n := w.stored(alice, p.body); n != 5 {
					t.Errorf("stored %d times, want 5", n)
				}
			})
		})
	}
}

// With DUP 0 the same under the same id is another message.
func TestSamePublishWithoutDup(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice := w.user("alice")
		c := w.connect(t, durable(v, alice, "phone"))
		p := publication{id: 7, qos: 1, topic: "inbox/" + alice, body: "ok"}
		for n := int64(1); n <= 3; n++ {
			c.publish(p)
			if ack := properties(c.Expect(packets.Puback)); ack["duplicate"] != "" {
				t.Error("taken for a re-send")
			}
			if got := w.stored(alice, "ok"); got != n {
				t.Errorf("stored %d times, want %d", got, n)
			}
		}
	})
}

// MQTT 5 properties are part of what is compared.
func TestResendComparesProperties(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	c := w.connect(t, durable(5, alice, "phone"))
	ref := withUser("ref", `{"a":1}`)
	for i, props := range []packets.Properties{{}, ref, {ContentType: "text/x"}, {MessageExpiryInterval: 60}} {
		p := publication{id: 7, qos: 1, dup: i > 0, topic: "inbox/" + alice, body: "x", props: props}
		c.publish(p)
		if ack := properties(c.Expect(packets.Puback)); ack["duplicate"] != "" {
			t.Errorf("publish %d was taken for the one before", i)
		}
		p.dup = true
		c.publish(p)
		if ack := properties(c.Expect(packets.Puback)); ack["duplicate"] != "true" {
			t.Errorf("the re-send of %d was not recognised", i)
		}
	}
}

// Others' packet ids are their own.
func TestResendIsPerDevice(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	p := publication{id: 7, qos: 1, dup: true, topic: "inbox/" + alice, body: "x"}
	for _, l := range []login{durable(4, alice, "phone"), durable(4, alice, "laptop"), durable(4, bob, "phone")} {
		c := w.connect(t, l)
		c.publish(p)
		c.Expect(packets.Puback)
	}
	if a, b := w.stored(alice, "x"), w.stored(bob, "x"); a != 2 || b != 1 {
		t.Errorf("stored %d and %d times, want 2 and 1", a, b)
	}
}

// A re-send may overtake the commit of what it repeats, on its own connection.
func TestResendOfOneOnItsWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for qos, kind := range map[byte]byte{1: packets.Puback, 2: packets.Pubrec} {
		alice, bob := w.user("alice"), w.user("bob")
		c := w.connect(t, durable(5, alice, "phone"))
		release := w.holdCommits()
		p := publication{id: 7, qos: qos, topic: "inbox/" + bob, body: "x"}
		c.publish(p)
		w.awaitBlocked(1)
		p.dup = true
		c.publish(p)
		c.Quiet()
		release()
		first := c.Expect(kind)
		checkDuplicate(t, 5, first, c.Expect(kind))
		if n := w.stored(alice, "x"); n != 1 {
			t.Errorf("QoS %d: stored %d times", qos, n)
		}
	}
}

// A device that comes back while what it published is not committed yet waits
// for that: else its re-sends would be taken for new.
func TestResendWaitsForTheEarlierConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, end := range map[string]func(c *wire){
		"taken over": func(*wire) {},
		"line cut": func(c *wire) {
			c.Vanish()
			await(t, "the end of the connection", func() bool {
				return w.number(`SELECT count(*) FROM postbox.devices WHERE disconnected_at IS NOT NULL`) == 1
			})
		},
	} {
		for qos, kind := range map[byte]byte{1: packets.Puback, 2: packets.Pubrec} {
			t.Run(name+" at QoS "+string('0'+rune(qos)), func(t *testing.T) {
				w.exec(`DELETE FROM postbox.devices`)
				alice, bob := w.user("alice"), w.user("bob")
				l := durable(5, alice, "phone")
				c := w.connect(t, l)
				c.say("inbox/"+bob, "before")
				release := w.holdCommits()
				p := publication{id: 7, qos: qos, topic: "inbox/" + bob, body: "once"}
				c.publish(p)
				w.awaitBlocked(1)
				end(c)

				next := w.dial(t)
				next.Version = 5
				p.dup = true
				next.Send(l.packet(), p.packet())
				// It may or may not be let in before the commit; either is right.
				time.AfterFunc(500*time.Millisecond, release)
				next.Expect(packets.Connack)
				ack := next.Expect(kind)
				if got := properties(ack); got["duplicate"] != "true" {
					t.Errorf("the re-send is answered with %v", got)
				}
				if n := w.stored(alice, p.body); n != 1 {
					t.Errorf("stored %d times", n)
				}
			})
		}
	}
}

// A record leaves when a DUP=0 publish uses its id, also one that is refused:
// what follows with DUP is a message of its own.
func TestResendRecordLeavesWithARefusedPublish(t *testing.T) {
	w := sharedWorld(t)
	for name, topic := range map[string]string{"by its topic": "nowhere", "by the database": "inbox/nobody"} {
		alice := w.user("alice")
		c := w.connect(t, durable(5, alice, "phone"))
		p := publication{id: 7, qos: 1, topic: "inbox/" + alice, body: "ok"}
		c.publish(p)
		c.Expect(packets.Puback)
		c.publish(publication{id: 7, qos: 1, topic: topic, body: "x"})
		if ack := c.Expect(packets.Puback); ack.ReasonCode != 0x90 {
			t.Errorf("%s: refused with %#x", name, ack.ReasonCode)
		}
		p.dup = true // its first sending never arrived
		c.publish(p)
		if got := properties(c.Expect(packets.Puback)); got["duplicate"] != "" {
			t.Errorf("%s: a new message was taken for a re-send", name)
		}
	}
}

// A client that has acknowledged something sent after an acknowledgement has
// seen that one: it does not send again what was acknowledged.
func TestResendRecordLeavesWithALaterAck(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	c := w.connect(t, durable(5, alice, "phone"))
	c.listen(alice)
	p := publication{id: 7, qos: 1, topic: "inbox/" + bob, body: "ok"}
	c.publish(p)
	c.Expect(packets.Puback)
	c.receive()
	p.dup = true // its first sending never arrived
	c.publish(p)
	_, ack := c.Until(packets.Puback)
	if properties(ack)["duplicate"] != "" {
		t.Error("a new message was taken for a re-send")
	}
	if n := w.stored(alice, "ok"); n != 2 {
		t.Errorf("stored %d times, want 2", n)
	}
}

// Acknowledgements that were on their way before the client read anything say
// nothing of what it has read.
func TestResendAfterALateAck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice, bob := w.user("alice"), w.user("bob")
		l := durable(v, alice, "phone")
		c := w.connect(t, l)
		c.listen(alice)
		w.fill(alice, 3)
		var ids []uint16
		for n := int64(1); n <= 3; n++ {
			ids = append(ids, c.entry(n).PacketID)
		}
		c.Vanish()

		// The client does not read any more. What it sends fits what it had before.
		l.props.ReceiveMaximum = 1
		c = w.connect(t, l)
		p := publication{id: 7, qos: 1, topic: "inbox/" + bob, body: "once"}
		c.publish(p)
		await(t, "the message is stored", func() bool { return w.stored(alice, p.body) == 1 })
		time.Sleep(50 * time.Millisecond) // its acknowledgement has left
		for _, id := range ids {
			c.puback(id)
			time.Sleep(20 * time.Millisecond)
		}
		c.Vanish()

		l.props.ReceiveMaximum = 0
		c = w.connect(t, l)
		p.dup = true
		c.publish(p)
		c.Until(packets.Puback)
		if n := w.stored(alice, p.body); n != 1 {
			t.Errorf("stored %d times", n)
		}
		c.Leave()
	})
}

// A record is good for 24 hours.
func TestResendRecordsAge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	l := durable(4, alice, "phone")
	c := w.connect(t, l)
	p := publication{id: 7, qos: 1, topic: "inbox/" + alice, body: "x"}
	c.publish(p)
	c.Expect(packets.Puback)
	p.dup = true
	for _, test := range []struct{ hours, stored int64 }{{23, 1}, {25, 2}} {
		w.exec(`UPDATE postbox.messages SET sent_at = now() - $1 * interval '1 hour'`, test.hours)
		c.Vanish()
		c = w.connect(t, l)
		c.publish(p)
		c.Expect(packets.Puback)
		if n := w.stored(alice, "x"); n != test.stored {
			t.Errorf("after %d hours: stored %d times, want %d", test.hours, n, test.stored)
		}
	}
}

// However much a device has published under ids like it since, what it sends again is
// recognised; and what it has never sent is stored.
func TestResendFarBack(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	l := durable(4, alice, "phone")
	c := w.connect(t, l)
	far := publication{id: 7, qos: 1, topic: "inbox/" + bob, body: "far"}
	c.publish(far)
	c.Expect(packets.Puback)
	c.publish(publication{id: 8, qos: 1, topic: "inbox/" + bob, body: "between"})
	c.Expect(packets.Puback)
	c.Leave()
	w.exec(`INSERT INTO postbox.inbox (user_id, inbox_seq, conversation_id, seq, publisher, packets)
		SELECT i.user_id, i.inbox_seq + n, i.conversation_id, i.seq, i.publisher, i.packets
		  FROM postbox.inbox i JOIN postbox.users u ON u.id = i.user_id, generate_series(1, 4001) AS n
		 WHERE u.name = $1 AND i.inbox_seq = 2`, alice)
	c = w.connect(t, l)
	far.dup = true
	c.publish(far, publication{id: 9, qos: 1, dup: true, topic: "inbox/" + bob, body: "never seen"})
	c.Expect(packets.Puback)
	c.Expect(packets.Puback)
	var stored string
	err := w.db.QueryRow(`SELECT string_agg(convert_from(m.body, 'UTF8'), ', ' ORDER BY m.seq)
		FROM postbox.messages m JOIN postbox.users u ON u.id = m.sender_id WHERE u.name = $1`, alice).Scan(&stored)
	if want := "far, between, never seen"; err != nil || stored != want {
		t.Errorf("stored %q (%v), want %q", stored, err, want)
	}
}
