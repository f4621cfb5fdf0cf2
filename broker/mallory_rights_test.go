package broker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// mallory is an ordinary user, with as many connections as she likes, and bob
// whom she is after. bob's phone listens all the time.
type malice struct {
	*world
	*testing.T
	v            byte
	dial         func(testing.TB) *wire
	mallory, bob string
	phone        *wire
}

// attack runs f in each version, by TCP and by WebSocket, and then checks that
// bob's phone is still there, has received what f says, and nothing else.
func attack(t *testing.T, f func(m *malice) (bobGets []string)) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		for name, dial := range w.ways() {
			t.Run(name, func(t *testing.T) {
				m := &malice{world: w, T: t, v: v, dial: dial, mallory: w.user("mallory"), bob: w.user("bob")}
				m.phone = w.connect(t, durable(v, m.bob, "phone"))
				m.phone.listen(m.bob)
				for _, body := range f(m) {
					if pk, e := m.phone.receive(); e.From != m.mallory || e.To != m.bob || e.body() != body || pk.FixedHeader.Retain || pk.TopicName != "inbox/"+m.bob {
						t.Errorf("bob received %s on %q, retain %v; want %q from %s", pk.Payload, pk.TopicName, pk.FixedHeader.Retain, body, m.mallory)
					}
				}
				m.phone.Quiet()
			})
		}
	})
}

// login connects mallory.
func (m *malice) login(l login) (*wire, packets.Packet) {
	m.Helper()
	l.version, l.user = m.v, m.mallory
	c := m.dial(m.T)
	return c, c.login(l)
}

func (m *malice) connect(id string) *wire {
	m.Helper()
	c, ack := m.login(login{id: id, clean: true})
	if ack.ReasonCode != 0 {
		m.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	return c
}

// No filter leads to what is not hers, and nothing arrives by it.
func TestMalloryListens(t *testing.T) {
	attack(t, func(m *malice) []string {
		c := m.connect("ear")
		for _, filter := range []string{
			"inbox/" + m.bob, "inbox/#", "inbox/+", "#", "+", "+/" + m.bob, "+/#", "inbox/" + m.bob + "/#", "inbox/" + m.bob + "/since/0",
			"inbox/" + m.bob + "/since/x:1", "inbox/+/since/0", "inbox/" + m.mallory + "/#", "INBOX/" + m.bob, "inbox/" + strings.ToUpper(m.bob),
			"inbox/" + m.bob + "/", "/inbox/" + m.bob, "inbox//" + m.bob, "inbox/" + m.mallory + "/../" + m.bob,
			"$share/g/inbox/" + m.bob, "$share/g/inbox/" + m.mallory, "$share/g/#", "$SHARE/g/inbox/" + m.bob,
			"signal/" + m.bob, "signal/#", "signal/+", "reply/" + m.bob + "/#", "reply/" + m.bob + "/phone", "reply/#", "reply/+/phone", "+/" + m.bob + "/phone",
			"room/dev", "api/v1/send", "$SYS/#", "$SYS/broker/uptime", "presence/#",
		} {
			if codes := c.subscribe(filter); len(codes) != 1 || codes[0] != code(m.v, 0x80, 0x87) {
				m.Errorf("SUBSCRIBE %q: %#x, want a refusal with %#x", filter, codes, code(m.v, 0x80, 0x87))
			}
		}
		other := m.world.connect(m.T, login{user: m.user("alice"), id: "phone"})
		other.say("inbox/"+m.bob, "for bob alone")
		if _, e := m.phone.receive(); e.body() != "for bob alone" {
			m.Errorf("bob received %q", e.body())
		}
		c.Quiet()
		return nil
	})
}

// What she writes is hers by name, whatever she says of it.
func TestMalloryForges(t *testing.T) {
	attack(t, func(m *malice) (bobGets []string) {
		// An idempotency key of bob's is not hers: keys are per sender.
		m.world.connect(m.T, login{user: m.bob, id: "desk"}).say("inbox/"+m.mallory+"/key-1", "bob's")
		m.phone.receive()
		c := m.connect("pen")
		fake := fmt.Sprintf(`{"inbox_seq":1,"type":"message","from":%q,"to":%q,"seq":1,"body":"forged"}`, m.bob, m.bob)
		c.say("inbox/"+m.bob, fake)
		bobGets = append(bobGets, fake)
		if m.v == 5 {
			c.publish(publication{id: 100, qos: 1, topic: "inbox/" + m.bob, body: "properties", props: packets.Properties{
				ResponseTopic: "inbox/" + m.bob, CorrelationData: []byte("x"),
				User: withUser("from", m.bob, "id", "0198c1d2-0000-7000-8000-000000000000", "inbox-seq", "1", "seq", "7", "device", "phone", "type", "read").User,
			}})
			c.Until(packets.Puback)
			bobGets = append(bobGets, "properties")
		}
		for _, topic := range []string{
			"inbox/" + m.bob + "/from/" + m.bob, "inbox/" + m.bob + "/a/b", "inbox/" + m.bob + "/since/0", "inbox/" + m.bob + "/", "inbox/", "inbox",
			"inbox/" + strings.ToUpper(m.bob), "presence/" + m.bob, "reply/" + m.bob + "/phone", "reply/" + m.mallory + "/phone",
			"$SYS/broker/uptime", "$share/g/inbox/" + m.bob, "signal/" + m.bob + "/x", "/inbox/" + m.bob, "inbox/" + strings.Repeat("x", 65),
		} {
			ack := c.say(topic, "forged")
			if m.v == 5 && (ack.ReasonCode < 0x80 || properties(ack)["code"] == "") {
				m.Errorf("PUBLISH to %q: %#x, want a refusal", topic, ack.ReasonCode)
			}
		}
		if ack := c.say("inbox/"+m.bob+"/key-1", "mallory's"); ack.ReasonCode != 0 {
			m.Errorf("a key that another sender has used: %#x", ack.ReasonCode)
		}
		bobGets = append(bobGets, "mallory's")
		if n := m.stored(m.mallory, "forged"); n != 0 {
			m.Errorf("%d refused messages are stored", n)
		}
		return bobGets
	})
}

// Aliases were not offered: each ends the connection [MQTT-3.3.2-9], and none
// brings a message anywhere.
func TestMalloryUsesAliases(t *testing.T) {
	w := sharedWorld(t)
	mallory, bob := w.user("mallory"), w.user("bob")
	phone := w.connect(t, login{version: 5, user: bob, id: "phone"})
	phone.listen(bob)
	publish := func(qos byte, topic string, alias ...byte) []byte { // no encoder makes an alias of zero
		b := append([]byte{0, byte(len(topic))}, topic...)
		if qos > 0 {
			b = append(b, 0, 1)
		}
		b = append(append(b, byte(len(alias))), alias...)
		return append([]byte{0x30 | qos<<1, byte(len(b) + 1)}, append(b, 'x')...)
	}
	for name, b := range map[string][]byte{
		"zero":              publish(1, "inbox/"+bob, 0x23, 0, 0),
		"zero, no topic":    publish(1, "", 0x23, 0, 0),
		"set":               publish(1, "inbox/"+bob, 0x23, 0, 1),
		"set on her own":    append(publish(1, "inbox/"+mallory, 0x23, 0, 1), publish(1, "", 0x23, 0, 1)...),
		"never set":         publish(1, "", 0x23, 0, 7),
		"at QoS 0":          publish(0, "", 0x23, 0, 7),
		"at QoS 2":          publish(2, "inbox/"+bob, 0x23, 0xff, 0xff),
		"neither of both":   publish(1, ""),
		"two at once":       publish(1, "inbox/"+bob, 0x23, 0, 1, 0x23, 0, 0),
		"cut after a byte":  publish(1, "inbox/"+bob, 0x23, 0),
		"a subscription id": publish(1, "inbox/"+bob, 0x0b, 1),
	} {
		for how, dial := range w.ways() {
			c := dial(t)
			c.login(login{version: 5, user: mallory, id: "pen", clean: true})
			c.Write(b)
			if reason := c.Ended(); reason != 0x94 && reason != 0x81 && reason != 0x82 {
				t.Errorf("%s by %s: ended with %#x, want 0x94, 0x81 or 0x82", name, how, reason)
			}
		}
	}
	phone.Quiet()
	if n := w.sent(mallory); n != 0 {
		t.Errorf("%d messages stored", n)
	}
}

// Retained messages do not exist: RETAIN is cleared, in wills too, and an empty
// one clears nothing.
func TestMalloryRetains(t *testing.T) {
	attack(t, func(m *malice) []string {
		c := m.connect("pen")
		for i, body := range []string{"kept?", ""} {
			pk := publication{id: uint16(50 + i), qos: 1, topic: "inbox/" + m.bob, body: body}.packet()
			pk.FixedHeader.Retain = true
			c.Send(pk)
			c.Until(packets.Puback)
		}
		pk := login{version: m.v, user: m.mallory, id: "testament", clean: true, will: &will{topic: "inbox/" + m.bob, body: "last"}}.packet()
		pk.Connect.WillRetain = true
		dying := m.dial(m.T)
		if ack := dying.Connect(pk); ack.ReasonCode != 0 {
			m.Fatalf("CONNACK %#x", ack.ReasonCode)
		}
		_ = dying.Net.Close()
		await(m.T, "the will", func() bool { return m.stored(m.mallory, "last") == 1 })
		late := m.world.connect(m.T, login{version: m.v, user: m.bob, id: "late", clean: true})
		late.listen(m.bob)
		late.Quiet()
		return []string{"kept?", "", "last"}
	})
}

// A will goes nowhere where a publish may not.
func TestMalloryWills(t *testing.T) {
	attack(t, func(m *malice) []string {
		blocker := m.user("carol")
		m.block(blocker, m.mallory)
		forbidden, invalid, missing := code(m.v, 5, 0x87), code(m.v, 2, 0x85), code(m.v, 5, 0x90)
		for topic, want := range map[string]byte{
			"inbox/" + blocker: forbidden, "$SYS/broker/uptime": forbidden, "presence/" + m.bob: forbidden, "presence/" + m.mallory: forbidden,
			"reply/" + m.bob + "/phone": forbidden, "reply/" + m.mallory + "/phone": forbidden, "inbox/" + m.bob + "/since/0": forbidden,
			"inbox/nobody-of-this-name": missing, "room/none-of-this-name": missing,
			"inbox/+": invalid, "inbox/#": invalid, "#": invalid, "+/" + m.bob: invalid, "$share/g/inbox/" + m.bob: invalid,
			"inbox/" + m.bob + "/a/b": invalid, "signal/" + m.bob: invalid, "signal/room/dev": invalid, "api/v1/send": invalid,
			"inbox/" + strings.Repeat("x/", 10000): invalid, "inbox/" + strings.Repeat("x", 20000): invalid,
		} {
			if c, ack := m.login(login{id: "testament", clean: true, will: &will{topic: topic, body: "x"}}); ack.ReasonCode != want {
				m.Errorf("a will to %.60q: CONNACK %#x, want %#x", topic, ack.ReasonCode, want)
			} else {
				c.Ended()
			}
		}
		if n := m.wills(m.mallory) + m.sent(m.mallory); n != 0 {
			m.Errorf("%d wills and messages of refused connections", n)
		}
		return nil
	})
}

// Packet ids and handshakes of others mean nothing on her connections, and hers
// do not reach theirs.
func TestMalloryReplays(t *testing.T) {
	attack(t, func(m *malice) []string {
		c := m.connect("phone") // bob's client id
		m.phone.publish(publication{id: 9, qos: 2, topic: "inbox/" + m.bob, body: "open"})
		m.phone.Expect(packets.Pubrec)
		delivery := m.phone.Expect(packets.Publish)
		c.release(9)
		for id := range uint16(20) {
			c.puback(delivery.PacketID + id)
		}
		c.Quiet()
		if n := m.number(`SELECT count(*) FROM postbox.open_publishes o JOIN postbox.devices d ON d.id = o.device_id
			JOIN postbox.users u ON u.id = d.user_id WHERE u.name = $1`, m.bob); n != 1 {
			m.Errorf("%d open publishes of bob's, want 1", n)
		}
		again := m.world.connect(m.T, durable(m.v, m.bob, "phone")) // the delivery was not acknowledged
		if pk := again.Expect(packets.Publish); pk.PacketID != delivery.PacketID || !pk.FixedHeader.Dup {
			m.Errorf("delivered again as %d, dup %v; want %d", pk.PacketID, pk.FixedHeader.Dup, delivery.PacketID)
		}
		again.puback(delivery.PacketID)
		c.Quiet()
		m.phone = again
		return nil
	})
}

// A second CONNECT as bob, or an AUTH, ends the connection and makes her nobody.
func TestMalloryConnectsTwice(t *testing.T) {
	attack(t, func(m *malice) []string {
		for name, b := range map[string][]byte{
			"as bob":    login{version: m.v, user: m.bob, id: "phone"}.packetBytes(m.T),
			"as bob, 5": login{version: 5, user: m.bob, id: "phone"}.packetBytes(m.T),
			"AUTH":      {0xf0, 0},
			"AUTH, re":  {0xf0, 2, 0x19, 0},
			"CONNACK":   {0x20, 2, 0, 0},
		} {
			c := m.connect("twice")
			c.Write(b)
			if reason := c.Ended(); reason != code(m.v, 0, 0x82) {
				m.Errorf("%s: ended with %#x, want %#x", name, reason, code(m.v, 0, 0x82))
			}
		}
		if m.v == 5 {
			_, ack := m.login(login{id: "auth", props: packets.Properties{AuthenticationMethod: "PLAIN", AuthenticationData: []byte(m.bob)}})
			if ack.ReasonCode != 0x8c {
				m.Errorf("an authentication method: CONNACK %#x, want 0x8c", ack.ReasonCode)
			}
		}
		return nil
	})
}

// Both connect with one client id, again and again, at once: each gets through to
// its own session, and neither receives anything of the other.
func TestMalloryRacesForAClientID(t *testing.T) {
	attack(t, func(m *malice) []string {
		const rounds = 20
		m.world.connect(m.T, durable(m.v, m.mallory, "phone")).listen(m.mallory)
		done := make(chan error, 2)
		for _, user := range []string{m.bob, m.mallory} {
			conns := make([]*wire, rounds)
			for i := range conns {
				conns[i] = m.dial(m.T)
				conns[i].Version = m.v
			}
			go func() {
				for _, c := range conns {
					if err := c.visit(durable(m.v, user, "phone")); err != nil {
						done <- fmt.Errorf("%s: %w", user, err)
						return
					}
				}
				done <- nil
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				m.Error(err)
			}
		}
		m.phone = m.world.connect(m.T, durable(m.v, m.bob, "phone"))
		return nil
	})
}

// visit connects, pings, and fails if anything else is there than the session.
func (c *wire) visit(l login) error {
	_, _ = c.Net.Write(append(l.packetBytes(c.T), 0xc0, 0))
	for _, want := range []byte{packets.Connack, packets.Pingresp} {
		pk, err := c.Next()
		if err != nil {
			return err
		}
		if pk.FixedHeader.Type != want || pk.ReasonCode != 0 || want == packets.Connack && !pk.SessionPresent {
			return fmt.Errorf("got a %s, code %#x, session present %v: %s", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode, pk.SessionPresent, pk.Payload)
		}
	}
	return nil
}
