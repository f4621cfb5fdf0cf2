package broker_test

import (
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// keyed are the two ways to give a key.
func keyed(way, user, key, body string) publication {
	p := publication{qos: 1, topic: "inbox/" + user, body: body}
	if way == "topic" {
		p.topic += "/" + key
	} else {
		p.props = withUser("idempotency-key", key)
	}
	return p
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, way := range []string{"topic", "property"} {
		t.Run(way, func(t *testing.T) {
			alice, bob := w.user("alice"), w.user("bob")
			send := func(l login, p publication) packets.Packet {
				t.Helper()
				c := w.connect(t, l)
				defer c.Leave()
				p.id = 1
				c.publish(p)
				return c.Expect(packets.Puback)
			}
			phone, laptop := durable(5, alice, "phone"), durable(5, alice, "laptop")
			p := keyed(way, bob, "k1", "x")
			first := send(phone, p)
			if first.ReasonCode != 0 || properties(first)["duplicate"] != "" {
				t.Errorf("first: %#x %v", first.ReasonCode, properties(first))
			}
			checkDuplicate(t, 5, first, send(phone, p))
			checkDuplicate(t, 5, first, send(laptop, p))
			checkDuplicate(t, 5, first, send(phone, keyed("topic", bob, "k1", "x")))
			w.restart()
			checkDuplicate(t, 5, first, send(laptop, p))
			if n := w.stored(alice, "x"); n != 1 {
				t.Errorf("stored %d times", n)
			}

			// The same key for something else is a conflict.
			for name, change := range map[string]func(*publication){
				"body":         func(p *publication) { p.body = "y" },
				"destination":  func(p *publication) { *p = keyed(way, alice, "k1", "x") },
				"content type": func(p *publication) { p.props.ContentType = "text/x" },
				"ref":          func(p *publication) { p.props.User = append(p.props.User, withUser("ref", "{}").User...) },
				"expiry":       func(p *publication) { p.props.MessageExpiryInterval = 60 },
			} {
				other := keyed(way, bob, "k1", "x")
				change(&other)
				if ack := send(phone, other); ack.ReasonCode != 0x83 || properties(ack)["code"] != "conflict" {
					t.Errorf("another %s: %#x %v, want 0x83 conflict", name, ack.ReasonCode, properties(ack))
				}
			}
			// Others have keys of their own, and so has the next message.
			for _, free := range []struct {
				l login
				p publication
			}{{durable(5, bob, "phone"), keyed(way, bob, "k1", "x")}, {phone, keyed(way, bob, "k2", "x")}} {
				if ack := send(free.l, free.p); ack.ReasonCode != 0 || properties(ack)["duplicate"] != "" {
					t.Errorf("%s: %#x %v", free.l.user, ack.ReasonCode, properties(ack))
				}
			}
		})
	}
}

// Within one batch too: the first counts, and numbers stay dense.
func TestIdempotencyKeyInOneBatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	c := w.connect(t, durable(5, alice, "phone"))
	release := w.holdCommits()
	c.publish(publication{id: 100, qos: 1, topic: "inbox/" + bob, body: "ahead"})
	w.awaitBlocked(1)
	var all []publication
	for i, p := range []publication{
		keyed("topic", bob, "k", "x"), keyed("property", bob, "k", "x"), keyed("topic", bob, "k", "other"), keyed("topic", bob, "l", "x"),
	} {
		p.id = uint16(i + 1)
		all = append(all, p)
	}
	c.publish(all...)
	c.Quiet()
	release()
	c.Expect(packets.Puback)
	first, second, third, last := c.Expect(packets.Puback), c.Expect(packets.Puback), c.Expect(packets.Puback), c.Expect(packets.Puback)
	second.PacketID = first.PacketID
	checkDuplicate(t, 5, first, second)
	if third.ReasonCode != 0x83 {
		t.Errorf("another body: %#x, want 0x83", third.ReasonCode)
	}
	if got := properties(last); got["seq"] != "3" || got["duplicate"] != "" {
		t.Errorf("the next message: %v, want seq 3", got)
	}
}

// 3.1.1 gives the key in the topic and learns of a conflict from its inbox.
func TestIdempotencyKey3(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	c := w.connect(t, durable(4, alice, "phone"))
	c.listen(alice)
	p := keyed("topic", alice, "k", "x")
	p.id = 1
	c.publish(p)
	c.Expect(packets.Puback)
	if _, e := c.receive(); e.IdempotencyKey != "k" {
		t.Errorf("own copy with key %q", e.IdempotencyKey)
	}
	c.publish(p)
	c.Expect(packets.Puback)
	p.body = "y"
	c.publish(p)
	checkError(t, "conflict", c.Expect(packets.Publish), refused{p, 0, "conflict", "k"}, alice)
	c.Expect(packets.Puback)
	c.Quiet()
}
