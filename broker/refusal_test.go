package broker_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// refused is a publish that is refused, with what it is refused with.
type refused struct {
	publication
	reason byte // to MQTT 5
	code   string
	key    string // in the error envelope
}

// refusedPublishes are all of them, from sender. blocker takes nothing from it.
func refusedPublishes(blocker, friend string) map[string]refused {
	return map[string]refused{
		"no such topic":     {publication{topic: "nowhere"}, 0x90, "invalid", ""},
		"no such user":      {publication{topic: "inbox/nobody"}, 0x90, "not_found", ""},
		"bad user":          {publication{topic: "inbox/NOT OK"}, 0x90, "invalid", ""},
		"no user":           {publication{topic: "inbox"}, 0x90, "invalid", ""},
		"too deep":          {publication{topic: "inbox/" + friend + strings.Repeat("/x", 9)}, 0x90, "invalid", ""},
		"bad key":           {publication{topic: "inbox/" + friend + "/a/b"}, 0x90, "invalid", ""},
		"empty key":         {publication{topic: "inbox/" + friend + "/"}, 0x90, "invalid", ""},
		"control filter":    {publication{topic: "inbox/" + friend + "/since/1"}, 0x87, "forbidden", ""},
		"the server's":      {publication{topic: "presence/" + friend}, 0x87, "forbidden", ""},
		"replies":           {publication{topic: "reply/" + friend + "/x"}, 0x87, "forbidden", ""},
		"$SYS":              {publication{topic: "$SYS/broker/x"}, 0x87, "forbidden", ""},
		"blocked":           {publication{topic: "inbox/" + blocker}, 0x87, "forbidden", ""},
		"blocked, with key": {publication{topic: "inbox/" + blocker + "/k1"}, 0x87, "forbidden", "k1"},
		"too large":         {publication{topic: "inbox/" + friend, body: strings.Repeat("x", 64<<10+1)}, 0x97, "too_large", ""},
	}
}

func (w *world) block(user, blocked string) {
	w.t.Helper()
	w.exec(`INSERT INTO postbox.blocks (user_id, blocked_id)
		SELECT a.id, b.id FROM postbox.users a, postbox.users b WHERE a.name = $1 AND b.name = $2`, user, blocked)
}

func TestRefusals5(t *testing.T) {
	w := sharedWorld(t)
	alice, bob, carol := w.user("alice"), w.user("bob"), w.user("carol")
	w.block(carol, alice)
	c := w.connect(t, login{version: 5, user: alice, id: "phone"})
	all := refusedPublishes(carol, bob)
	all["ref is no object"] = refused{publication{topic: "inbox/" + bob, props: withUser("ref", "[]")}, 0x90, "invalid", ""}
	all["ref is no JSON"] = refused{publication{topic: "inbox/" + bob, props: withUser("ref", "{")}, 0x90, "invalid", ""}
	all["ref too large"] = refused{publication{topic: "inbox/" + bob,
		props: withUser("ref", `{"a":"`+strings.Repeat("x", 4<<10)+`"}`)}, 0x97, "too_large", ""}
	all["two keys"] = refused{publication{topic: "inbox/" + bob + "/one", props: withUser("idempotency-key", "two")}, 0x90, "invalid", ""}
	all["bad key property"] = refused{publication{topic: "inbox/" + bob, props: withUser("idempotency-key", "a b")}, 0x90, "invalid", ""}
	for name, r := range all {
		for qos, kind := range map[byte]byte{1: packets.Puback, 2: packets.Pubrec} {
			p := r.publication
			c.id++
			p.id, p.qos = c.id, qos
			c.publish(p)
			ack := c.Expect(kind)
			if ack.PacketID != p.id || ack.ReasonCode != r.reason || properties(ack)["code"] != r.code {
				t.Errorf("%s, QoS %d: refused with %#x %v, want %#x %s", name, qos, ack.ReasonCode, properties(ack), r.reason, r.code)
			}
		}
	}
	if n := w.sent(alice); n != 0 {
		t.Errorf("%d messages stored", n)
	}
	// A refused id is free: the next message with it is one of its own.
	c.publish(publication{id: 1, qos: 2, topic: "inbox/" + bob, body: "good"})
	if ack := c.Expect(packets.Pubrec); ack.ReasonCode != 0 {
		t.Errorf("refused with %#x", ack.ReasonCode)
	}
}

// 3.1 and 3.1.1 know no refusal: the publish is acknowledged, and the device
// is told on its inbox.
func TestRefusals3(t *testing.T) {
	w := sharedWorld(t)
	alice, bob, carol := w.user("alice"), w.user("bob"), w.user("carol")
	w.block(carol, alice)
	for _, v := range []byte{3, 4} {
		c := w.connect(t, login{version: v, user: alice, id: "phone", clean: true})
		deaf := w.connect(t, login{version: v, user: alice, id: "deaf", clean: true})
		c.listen(alice)
		for name, r := range refusedPublishes(carol, bob) {
			for _, qos := range []byte{0, 1, 2} {
				for _, at := range []*wire{c, deaf} {
					p := r.publication
					p.qos = qos
					if qos > 0 {
						at.id++
						p.id = at.id
					}
					at.publish(p)
					// The telling comes first: an acknowledgement without one means stored.
					if at == c {
						checkError(t, name, at.Expect(packets.Publish), r, alice)
					}
					if qos > 0 {
						if ack := at.Read(); ack.PacketID != p.id || ack.FixedHeader.Type != packets.Puback+qos-1 {
							t.Errorf("%s: got a %s of %d", name, packets.PacketNames[ack.FixedHeader.Type], ack.PacketID)
						}
					}
					if qos == 2 {
						at.pubrel(p.id)
						at.Expect(packets.Pubcomp)
					}
				}
			}
		}
		deaf.Quiet()
		c.Leave()
		deaf.Leave()
	}
	if n := w.sent(alice); n != 0 {
		t.Errorf("%d messages stored", n)
	}
}

func checkError(t *testing.T, name string, pk packets.Packet, r refused, me string) {
	t.Helper()
	e := open(t, pk)
	if pk.TopicName != "inbox/"+me || pk.FixedHeader.Qos != 0 {
		t.Errorf("%s: told on %s at QoS %d", name, pk.TopicName, pk.FixedHeader.Qos)
	}
	if e.Type != "error" || e.Code != r.code || e.Topic != r.topic || e.IdempotencyKey != r.key || e.Message == "" || e.InboxSeq != 0 {
		t.Errorf("%s: told %s, want %s for %s", name, pk.Payload, r.code, r.topic)
	}
}

// QoS 0 has no acknowledgement in MQTT 5 either.
func TestRefusedAtQoS0(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	c := w.connect(t, login{version: 5, user: alice, id: "phone"})
	c.listen(alice)
	c.publish(publication{topic: "inbox/nobody", body: "x"})
	pk := c.Expect(packets.Publish)
	checkError(t, "QoS 0", pk, refused{publication{topic: "inbox/nobody"}, 0, "not_found", ""}, alice)
	if got := properties(pk); got["type"] != "error" || got["code"] != "not_found" {
		t.Errorf("properties %v", got)
	}
}

// Refusals of one sender do not hold up or harm the messages around them.
func TestRefusalAmongMessages(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	c := w.connect(t, login{version: 5, user: alice, id: "phone"})
	c.publish(
		publication{id: 1, qos: 1, topic: "inbox/" + bob, body: "a"},
		publication{id: 2, qos: 1, topic: "inbox/nobody", body: "b"},
		publication{id: 3, qos: 1, topic: "inbox/" + bob, body: "c"},
	)
	for i, want := range []byte{0, 0x90, 0} {
		if ack := c.Expect(packets.Puback); ack.ReasonCode != want {
			t.Errorf("publish %d: %#x, want %#x", i+1, ack.ReasonCode, want)
		}
	}
	if a, b, c := w.stored(alice, "a"), w.stored(alice, "b"), w.stored(alice, "c"); a != 1 || b != 0 || c != 1 {
		t.Errorf("stored %d, %d, %d", a, b, c)
	}
}

// A message that MQTT itself forbids ends the connection.
func TestMalformedPublishEnds(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	for name, b := range map[string][]byte{
		"no packet id":  {0x32, 5, 0, 1, 'a', 0, 0},
		"QoS 3":         {0x36, 5, 0, 1, 'a', 0, 1},
		"NUL in topic":  {0x30, 5, 0, 3, 'a', 0, 'b'},
		"bad UTF-8":     {0x30, 4, 0, 2, 0xc3, 0x28},
		"topic too far": {0x30, 3, 0, 200, 'a'},
		"over limit":    {0x30, 0xff, 0xff, 0x7f},
		"wildcard +":    {0x30, 3, 0, 1, '+'}, // [MQTT-3.3.2-2]
		"wildcard #":    {0x30, 3, 0, 1, '#'},
	} {
		c := w.connect(t, login{user: alice, id: "phone", clean: true})
		c.Write(b)
		if _, err := c.Next(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection goes on (%v)", name, err)
		}
	}
	alias := w.connect(t, login{version: 5, user: alice, id: "phone"})
	alias.publish(publication{id: 1, qos: 1, topic: "inbox/" + alice, body: "x",
		props: packets.Properties{TopicAlias: 1, TopicAliasFlag: true}})
	if reason := alias.Ended(); reason != packets.ErrTopicAliasInvalid.Code {
		t.Errorf("topic alias: ended with %#x, want 0x94", reason)
	}
}
