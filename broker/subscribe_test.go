package broker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"
)

func TestSubackCodes(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice, bob := w.user("alice"), w.user("bob")
		refusal := byte(0x80)
		if v == 5 {
			refusal = 0x87
		}
		const malformed = 0xff // refused, in MQTT 5 also as 0x8f
		inbox := "inbox/" + alice
		for _, test := range []struct {
			filter    string
			ask, want byte
		}{
			{inbox, 0, 0},
			{inbox, 1, 1},
			{inbox, 2, 1},
			{inbox + "/since/0", 1, 1},
			{inbox + "/since/abc:7", 1, 1},
			{"signal/" + alice, 1, 0},
			{"presence/" + bob, 0, 0},
			{"presence/+", 0, 0},
			{"reply/" + alice + "/phone", 1, 0},
			{"reply/" + alice + "/#", 2, 0},
			{"reply/" + alice + "/+/x", 0, 0},

			{"inbox/" + bob, 1, refusal},
			{"inbox/" + bob + "/since/0", 1, refusal},
			{inbox + "/key", 1, refusal},
			{inbox + "/#", 1, refusal},
			{"inbox/+", 1, refusal},
			{"+/" + alice, 1, refusal},
			{"#", 1, refusal},
			{"+/#", 1, refusal},
			{"$share/g/" + inbox, 1, refusal},
			{"$SHARE/g/" + inbox, 1, refusal},
			{"$share/g/inbox/" + bob, 1, refusal},
			{"$share//" + inbox, 1, refusal},
			{"$SYS/#", 1, refusal},
			{"signal/" + bob, 0, refusal},
			{"signal/+", 0, refusal},
			{"reply/" + bob + "/phone", 0, refusal},
			{"reply/+/phone", 0, refusal},
			{"presence/#", 0, refusal},
			{"room/dev", 0, refusal},
			{"api/v1/send", 0, refusal},
			{"/" + inbox, 1, refusal},
			{"reply/" + alice + strings.Repeat("/x", 7), 0, malformed},
			{"reply/" + alice + "/" + strings.Repeat("x", 512), 0, malformed},
			{"reply/" + alice + strings.Repeat("/", 30000), 0, malformed},
			{inbox + "/since/", 1, malformed},
			{inbox + "/since/abc:x", 1, malformed},
			{inbox + "/since/-1", 1, malformed},
		} {
			c := w.connect(t, login{version: v, user: alice, id: "phone", clean: true})
			codes := c.subscribeWith(packets.Properties{}, packets.Subscription{Filter: test.filter, Qos: test.ask})
			if len(codes) == 1 && test.want == malformed && codes[0] == 0x8f {
				codes[0] = refusal // either says so
			}
			if test.want == malformed {
				test.want = refusal
			}
			if len(codes) != 1 || codes[0] != test.want {
				t.Errorf("%.60q at QoS %d: codes %#x, want %#x", test.filter, test.ask, codes, test.want)
			}
			if strings.HasPrefix(test.filter, "presence/") && test.want == 0 {
				c.Flush() // who is there is told
			} else {
				c.Quiet() // it lives
			}
			c.Leave()
		}
	})
}

// No Local on a filter that is refused changes nothing about the refusal.
func TestRefusedWithNoLocal(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	c := w.connect(t, login{version: 5, user: alice, id: "phone"})
	codes := c.subscribeWith(packets.Properties{}, packets.Subscription{Filter: "inbox/" + bob, Qos: 1, NoLocal: true})
	if diff := cmp.Diff([]byte{0x87}, codes); diff != "" {
		t.Errorf("codes: -want +got:\n%s", diff)
	}
}

// Codes are in the order of the filters, and a refusal is of its filter alone.
func TestSubackOfManyFilters(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice, bob := w.user("alice"), w.user("bob")
		c := w.connect(t, durable(v, alice, "phone"))
		codes := c.subscribe("#", "signal/"+alice, "inbox/"+bob, "inbox/"+alice)
		if len(codes) != 4 || codes[0] < 0x80 || codes[1] != 0 || codes[2] < 0x80 || codes[3] != 1 {
			t.Errorf("codes %#x", codes)
		}
		// What was refused is nowhere.
		var kept string
		if err := w.db.QueryRow(`SELECT string_agg(s.filter, ' ' ORDER BY s.filter) FROM postbox.subscriptions s
			JOIN postbox.devices d ON d.id = s.device_id JOIN postbox.users u ON u.id = d.user_id
			WHERE u.name = $1`, alice).Scan(&kept); err != nil || kept != "inbox/"+alice+" signal/"+alice {
			t.Errorf("kept %q, %v", kept, err)
		}
		s := w.connect(t, login{version: v, user: bob, id: "phone"})
		s.say("inbox/"+bob, "for bob")
		s.say("inbox/"+alice, "for alice")
		if _, e := c.receive(); e.body() != "for alice" {
			t.Errorf("received %q", e.body())
		}
		c.Quiet()
	})
}

func TestSubscriptionsPerDevice(t *testing.T) {
	t.Parallel()
	const limit = 3
	w := newWorld(t, func(w *world) { w.config.Limits.SubscriptionsPerDevice = limit })
	alice := w.user("alice")
	l := durable(5, alice, "phone")
	c := w.connect(t, l)
	filter := func(n int) string { return fmt.Sprintf("reply/%s/%d", alice, n) }
	for n := range 2 * limit { // an instruction, not a subscription
		if code := c.subscribe(fmt.Sprintf("inbox/%s/since/%d", alice, n))[0]; code >= 0x80 {
			t.Errorf("control filter %d: code %#x", n, code)
		}
	}
	for n := range limit + 2 {
		if code := c.subscribe(filter(n))[0]; (code == 0) != (n < limit) {
			t.Errorf("subscription %d: code %#x", n+1, code)
		}
	}
	if code := c.subscribe(filter(0))[0]; code != 0 {
		t.Errorf("one of those there are: code %#x", code)
	}
	c.Leave()
	c = w.connect(t, l) // they are those of the session
	if code := c.subscribe(filter(9))[0]; code < 0x80 {
		t.Errorf("one more after a reconnect: code %#x", code)
	}
	c.unsubscribe(filter(1))
	if code := c.subscribe(filter(9))[0]; code != 0 {
		t.Errorf("after an UNSUBSCRIBE: code %#x", code)
	}
}

func (c *wire) unsubscribe(filter string) (codes []byte) {
	c.T.Helper()
	c.id++
	c.Send(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1},
		PacketID:    c.id, Filters: packets.Subscriptions{{Filter: filter}},
	})
	_, ack := c.Until(packets.Unsuback)
	if ack.PacketID != c.id {
		c.T.Errorf("UNSUBACK of %d, want %d", ack.PacketID, c.id)
	}
	return ack.ReasonCodes
}

// UNSUBSCRIBE stops delivery and keeps the cursor.
func TestUnsubscribeKeepsTheCursor(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice, bob := w.user("alice"), w.user("bob")
		s := w.connect(t, login{version: v, user: bob, id: "phone"})
		l := durable(v, alice, "phone")
		c := w.connect(t, l)
		c.listen(alice)
		s.say("inbox/"+alice, "1")
		c.receive()
		c.unsubscribe("inbox/" + alice)
		s.say("inbox/"+alice, "2")
		c.Quiet()
		c.listen(alice)
		if _, e := c.receive(); e.InboxSeq != 2 {
			t.Errorf("after subscribing again: entry %d, want 2", e.InboxSeq)
		}
		c.unsubscribe("inbox/" + alice)
		c.Leave()
		s.say("inbox/"+alice, "3")
		c = w.connect(t, l)
		c.Quiet()
		c.listen(alice)
		if _, e := c.receive(); e.InboxSeq != 3 {
			t.Errorf("after a reconnect: entry %d, want 3", e.InboxSeq)
		}
	})
}

// The packet id of a SUBSCRIBE may be that of a delivery that is not
// acknowledged: every library that subscribes again after a reconnect does so.
func TestSubscribeWithTheIDOfADelivery(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice := w.user("alice")
		l := durable(v, alice, "phone")
		c := w.connect(t, l)
		c.listen(alice)
		c.publish(publication{id: 1, qos: 1, topic: "inbox/" + alice, body: "x"}) // its id too
		c.Expect(packets.Puback)
		if pk := c.Expect(packets.Publish); pk.PacketID != 1 {
			t.Errorf("delivered with id %d", pk.PacketID)
		}
		c.Vanish()
		c = w.connect(t, l)
		c.listen(alice) // id 1, among the re-sent
		before := c.Flush()
		if len(before) > 1 {
			t.Errorf("the entry came %d times more", len(before))
		}
	})
}
