package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"
)

// The row is there when the acknowledgement is, and without a commit there is
// no acknowledgement, while the connection lives on.
func TestAckFollowsCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for qos, kind := range map[byte]byte{1: packets.Puback, 2: packets.Pubrec} {
		versions(t, func(t *testing.T, v byte) {
			alice, bob := w.user("alice"), w.user("bob")
			c := w.connect(t, login{version: v, user: alice, id: "phone"})
			p := publication{id: 1, qos: qos, topic: "inbox/" + bob, body: "at once"}
			c.publish(p)
			if ack := c.Expect(kind); ack.PacketID != 1 || ack.ReasonCode != 0 {
				t.Errorf("acknowledged %d with %#x", ack.PacketID, ack.ReasonCode)
			}
			if n := w.stored(alice, p.body); n != 1 {
				t.Errorf("%d rows when the acknowledgement arrived, want 1", n)
			}

			release := w.holdCommits()
			p.id, p.body = 2, "later"
			c.publish(p)
			w.awaitBlocked(1)
			c.Quiet()
			if n := w.stored(alice, p.body); n != 0 {
				t.Errorf("%d rows before the commit", n)
			}
			release()
			if ack := c.Expect(kind); ack.PacketID != 2 {
				t.Errorf("acknowledged %d, want 2", ack.PacketID)
			}
			if n := w.stored(alice, p.body); n != 1 {
				t.Errorf("%d rows when the acknowledgement arrived, want 1", n)
			}
		})
	}
}

// [MQTT-4.6.0-2], also for those that are refused, whoever refuses them.
func TestAcksKeepTheOrderOfPublishes(t *testing.T) {
	w := sharedWorld(t)
	versions(t, func(t *testing.T, v byte) {
		alice, bob := w.user("alice"), w.user("bob")
		c := w.connect(t, login{version: v, user: alice, id: "phone"})
		var all []publication
		var want, got []uint16
		topics := []string{"inbox/" + bob, "inbox/" + alice, "nowhere", "inbox/nobody", "inbox/" + bob}
		for id := uint16(1); id <= 200; id++ {
			all = append(all, publication{
				id: id, qos: 1 + byte(id%2), topic: topics[int(id)%len(topics)], body: fmt.Sprint(id),
			})
			want = append(want, id)
		}
		c.publish(all...)
		for range all {
			ack := c.Read()
			if k := ack.FixedHeader.Type; k != packets.Puback && k != packets.Pubrec {
				t.Fatalf("got a %s", packets.PacketNames[k])
			}
			got = append(got, ack.PacketID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("order of acknowledgements: -want +got:\n%s", diff)
		}
		c.Quiet()
	})
}

// One user's messages to one conversation are numbered in the order in which
// they were published, without a hole, and so is every inbox.
func TestNumbersAreDenseAndInOrder(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	c := w.connect(t, login{version: 5, user: alice, id: "phone"})
	var all []publication
	for id := uint16(1); id <= 200; id++ {
		all = append(all, publication{id: id, qos: 1, topic: "inbox/" + bob, body: fmt.Sprint(id)})
	}
	c.publish(all...)
	for id := range all {
		if got := properties(c.Expect(packets.Puback))["seq"]; got != fmt.Sprint(id+1) {
			t.Fatalf("message %d has seq %s", id+1, got)
		}
	}
	for _, user := range []string{alice, bob} {
		if n := w.number(`SELECT count(*) FROM postbox.inbox_entries i
			JOIN postbox.users u ON u.id = i.user_id
			JOIN postbox.messages m ON m.conversation_id = i.conversation_id AND m.seq = i.seq
			WHERE u.name = $1 AND i.inbox_seq = i.seq AND m.body = convert_to(i.inbox_seq::text, 'UTF8')`, user); n != 200 {
			t.Errorf("%s: %d entries in their place, want 200", user, n)
		}
	}
}

// A client that takes all of its Receive Maximum may go on as soon as it is
// given back, that is when the acknowledgement arrives.
func TestReceiveMaximumIsGivenBackWithTheAck(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.Inflight = 1 })
	alice := w.user("alice")
	c, ack := w.login(t, login{version: 5, user: alice, id: "phone"})
	if ack.Properties.ReceiveMaximum != 1 {
		t.Errorf("announced Receive Maximum %d, want 1", ack.Properties.ReceiveMaximum)
	}
	for range 600 {
		c.say("inbox/"+alice, "x")
	}
}

func TestTooManyUnacknowledged(t *testing.T) {
	t.Parallel()
	const limit = 4
	w := newWorld(t, func(w *world) { w.config.Limits.Inflight = limit })
	alice, bob := w.user("alice"), w.user("bob")
	burst := func(qos byte, n int) (all []publication) {
		for i := range n {
			all = append(all, publication{id: uint16(i + 1), qos: qos, topic: "inbox/" + bob, body: fmt.Sprint(i)})
		}
		return all
	}

	t.Run("5 is ended", func(t *testing.T) {
		c := w.connect(t, login{version: 5, user: alice, id: "five"})
		release := w.holdCommits()
		c.publish(burst(1, limit)...)
		c.Quiet() // all that is allowed is taken
		c.publish(burst(1, 1)...)
		if reason := c.Ended(); reason != packets.ErrReceiveMaximum.Code {
			t.Errorf("ended with %#x, want 0x93", reason)
		}
		release()
	})
	other := w.connect(t, login{user: alice, id: "other"})
	for _, qos := range []byte{1, 2} {
		t.Run(fmt.Sprintf("3.1.1 is read no further, QoS %d", qos), func(t *testing.T) {
			c := w.connect(t, login{user: alice, id: "three"})
			release := w.holdCommits()
			c.publish(burst(qos, 5*limit)...)
			c.Write([]byte{0xc0, 0}) // PINGREQ, behind what is not read
			w.awaitBlocked(1)
			for range 20 {
				other.Quiet()
			}
			release()
			acked := 0
			for pings := 0; acked < 5*limit || pings < 1; {
				ack := c.Read()
				switch {
				case ack.FixedHeader.Type != packets.Pingresp:
					if acked++; int(ack.PacketID) != acked {
						t.Fatalf("acknowledged %d, want %d", ack.PacketID, acked)
					}
				case acked < 3*limit:
					t.Fatalf("it was read on with %d unacknowledged", 5*limit-acked)
				default:
					pings++
				}
			}
			c.Quiet()
		})
	}
}

func TestAckProperties(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	for name, props := range map[string]packets.Properties{
		"too small":  {MaximumPacketSize: 30},
		"not wanted": {RequestProblemInfo: 0, RequestProblemInfoFlag: true},
	} {
		c := w.connect(t, login{version: 5, user: alice, id: "phone", props: props})
		if ack := c.say("inbox/"+bob, name); ack.ReasonCode != 0 || len(ack.Properties.User) != 0 {
			t.Errorf("%s: PUBACK %#x with %v", name, ack.ReasonCode, ack.Properties.User)
		}
	}
	c := w.connect(t, login{version: 5, user: alice, id: "phone", props: packets.Properties{RequestProblemInfoFlag: true}})
	if ack := c.say("inbox/nobody", "x"); ack.ReasonCode != 0x90 || len(ack.Properties.User) != 0 {
		t.Errorf("PUBACK %#x with %v", ack.ReasonCode, ack.Properties.User)
	}

	c = w.connect(t, login{version: 5, user: alice, id: "phone"})
	// What the sender sets is not given back: MQTT.js takes such an
	// acknowledgement for a failure.
	c.publish(publication{id: 9, qos: 1, topic: "inbox/" + bob, body: "mine", props: withUser("mine", "1", "ref", "{}")})
	ack := c.Expect(packets.Puback)
	got := properties(ack)
	if ack.ReasonCode != 0 || len(got) != 2 || got["seq"] == "" {
		t.Errorf("PUBACK %#x with %v, want id and seq", ack.ReasonCode, got)
	}
	if n := w.number(`SELECT count(*) FROM postbox.messages WHERE id = $1 AND seq = $2`, got["id"], got["seq"]); n != 1 {
		t.Errorf("PUBACK names a message %v that is not there", got)
	}
}

// A sender who is too fast is slowed down, and loses nothing.
func TestPublishRateSlows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.PublishRate, w.config.Limits.PublishBurst = 20, 5 })
	alice := w.user("alice")
	c := w.connect(t, login{version: 5, user: alice, id: "phone"})
	began := time.Now()
	for range 15 {
		if ack := c.say("inbox/"+alice, "x"); ack.ReasonCode != 0 {
			t.Fatalf("refused with %#x", ack.ReasonCode)
		}
	}
	if took := time.Since(began); took < 450*time.Millisecond {
		t.Errorf("15 publishes took %v, want half a second", took)
	}
}

func TestBodiesAreKeptByteForByte(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	c := w.connect(t, login{user: alice, id: "phone"})
	c.listen(alice)
	for _, body := range []string{"", "\x00", "\xff\xfe", `"\ `, "日本語 \U0001f4ee", strings.Repeat("x", 64<<10)} {
		c.publish(publication{id: 1, qos: 1, topic: "inbox/" + alice, body: body})
		c.Expect(packets.Puback)
		if n := w.stored(alice, body); n != 1 {
			t.Errorf("%.20q: %d rows", body, n)
		}
		if _, e := c.receive(); e.body() != body && string(e.bytes(t)) != body {
			t.Errorf("%.20q came as %.20q / %.20q", body, e.body(), e.BodyBase64)
		}
	}
}
