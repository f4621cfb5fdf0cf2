package broker_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// request is a publish to api/v1/{operation} with a response topic.
func request(id uint16, operation, body, response string) publication {
	p := publication{id: id, qos: 1, topic: "api/v1/" + operation, body: body}
	p.props.ResponseTopic, p.props.CorrelationData = response, []byte(operation)
	return p
}

// sort reads packets until there are so many PUBACKs, deliveries and replies.
type sorted struct {
	acks       []packets.Packet
	deliveries []envelope
	replies    []packets.Packet
}

func (c *wire) sort(acks, deliveries, replies int) (s sorted) {
	c.T.Helper()
	for len(s.acks) < acks || len(s.deliveries) < deliveries || len(s.replies) < replies {
		switch pk := c.Read(); {
		case pk.FixedHeader.Type == packets.Puback:
			s.acks = append(s.acks, pk)
		case pk.FixedHeader.Type != packets.Publish:
			c.T.Fatalf("packet of type %d", pk.FixedHeader.Type)
		case strings.HasPrefix(pk.TopicName, "reply/"):
			s.replies = append(s.replies, pk)
		default:
			if pk.FixedHeader.Qos > 0 {
				c.puback(pk.PacketID)
			}
			s.deliveries = append(s.deliveries, open(c.T, pk))
		}
	}
	return s
}

// What a connection publishes keeps its order, requests among it: in the
// acknowledgements, and in the inboxes.
func TestRequestsKeepTheirPlace(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	to, reply := "inbox/"+bob, "reply/"+alice+"/laptop"
	c := w.connect(t, login{version: 5, user: alice, id: "laptop", clean: true})
	c.subscribe("reply/" + alice + "/#")
	phone := w.connect(t, login{version: 4, user: bob, id: "phone", clean: true})
	phone.listen(bob)
	first := properties(c.say(to, "one"))["id"]

	c.publish(
		publication{id: 10, qos: 1, topic: to, body: "two"},
		request(11, "edit", `{"id":"`+first+`","body":"one, edited"}`, reply),
		publication{id: 12, qos: 1, topic: to, body: "three"},
		request(13, "send", `{"to":"`+bob+`","body":"four"}`, reply),
		request(14, "history", `{"with":"`+bob+`"}`, reply),
		publication{id: 15, qos: 1, topic: to, body: "five"},
		request(16, "retract", `{"id":"`+first+`"}`, reply),
		request(17, "retract", `{"id":"0198c1d2-0123-7abc-8def-0123456789ab"}`, reply),
	)
	got := c.sort(8, 0, 5)
	for i, ack := range got.acks {
		if ack.PacketID != uint16(10+i) || ack.ReasonCode != 0 {
			t.Errorf("acknowledgement %d is of %d, with %#x", i, ack.PacketID, ack.ReasonCode)
		}
	}
	replies := map[string]bool{}
	for _, r := range got.replies {
		var v map[string]any
		if err := json.Unmarshal(r.Payload, &v); err != nil {
			t.Errorf("reply %.200q: %v", r.Payload, err)
		}
		refused := v["error"] != nil
		replies[fmt.Sprint(string(r.Properties.CorrelationData), " ", refused)] = true
		if r.Properties.ContentType != "application/json" {
			t.Errorf("a reply is %q", r.Properties.ContentType)
		}
	}
	for _, want := range []string{"edit false", "send false", "history false", "retract false", "retract true"} {
		if !replies[want] {
			t.Errorf("no reply to %s; there are %v", want, replies)
		}
	}
	var order []string
	for _, e := range phone.sort(0, 7, 0).deliveries {
		order = append(order, e.Type+" "+e.body())
	}
	want := "message one|message two|edit one, edited|message three|message four|message five|retract "
	if got := strings.Join(order, "|"); got != want {
		t.Errorf("bob got %s, want %s", got, want)
	}
	// Who comes later sees the present state.
	late := w.connect(t, login{version: 5, user: bob, id: "tablet", clean: true})
	late.subscribe("inbox/"+bob+"/since/0", "inbox/"+bob)
	for i, e := range late.sort(0, 7, 0).deliveries {
		if (i == 0 || i == 2) && e.Body != nil {
			t.Errorf("entry %d still has %q", e.InboxSeq, e.body())
		}
	}
}

// Replies go to the user's own topics only, and what asks too much is told so.
func TestResponseTopics(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	c := w.connect(t, login{version: 5, user: alice, id: "laptop", clean: true})
	other := w.connect(t, login{version: 5, user: bob, id: "phone", clean: true})
	other.subscribe("reply/"+bob+"/#", "inbox/"+bob)
	for i, topic := range []string{
		"reply/" + bob + "/x", "inbox/" + bob, "inbox/" + alice, "reply/" + alice, // wildcards the encoder leaves out
		"presence/" + alice, "$SYS/x", "reply/" + alice + "/a/b/c/d/e/f/g/h",
	} {
		c.publish(request(uint16(i+1), "me", `{}`, topic))
		if ack := c.Expect(packets.Puback); ack.ReasonCode != packets.ErrNotAuthorized.Code {
			t.Errorf("a reply to %s: PUBACK %#x", topic, ack.ReasonCode)
		}
	}
	other.Quiet()
}

// A request that shares its reply's name with another connection, and one that
// does not say where.
func TestReplyWithoutResponseTopic(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	ear := w.connect(t, login{version: 4, user: alice, id: "ear", clean: true})
	ear.subscribe("reply/" + alice + "/+")
	c := w.connect(t, login{version: 4, user: alice, id: "a b/c", clean: true})
	for i, test := range []struct{ body, topic string }{
		{`{}`, "a%20b%2Fc"}, {`{"reply":"here"}`, "here"}, {`{"reply":"+"}`, "a%20b%2Fc"}, {`broken`, "a%20b%2Fc"},
	} {
		c.publish(publication{id: uint16(i + 1), qos: 1, topic: "api/v1/me", body: test.body})
		if pk := ear.Expect(packets.Publish); pk.TopicName != "reply/"+alice+"/"+test.topic {
			t.Errorf("%s is answered at %s", test.body, pk.TopicName)
		}
		c.Expect(packets.Puback)
	}
}

// Who may see somebody is shown the present state and what changes; nobody else
// is shown anything.
func TestPresence(t *testing.T) {
	w := sharedWorld(t)
	alice, bob, carol := w.user("alice"), w.user("bob"), w.user("carol")
	phone := w.connect(t, login{version: 4, user: bob, id: "phone", clean: true})
	phone.say("inbox/"+alice, "hello") // from now on she may see him
	watch := func(user, id string, version byte, filter string) *wire {
		c := w.connect(t, login{version: version, user: user, id: id, clean: true})
		if codes := c.subscribe(filter); codes[0] != 0 {
			t.Fatalf("%s: SUBACK %#x", filter, codes[0])
		}
		return c
	}
	all := watch(alice, "all", 5, "presence/+")
	one := watch(alice, "one", 4, "presence/"+bob)
	stranger := watch(carol, "phone", 5, "presence/"+bob)
	state := func(c *wire, of string, online, retained bool) {
		t.Helper()
		for {
			pk := c.Expect(packets.Publish)
			var p struct {
				Type, User string
				Online     bool
			}
			if err := json.Unmarshal(pk.Payload, &p); err != nil || p.Type != "presence" {
				t.Fatalf("%.100q: %v", pk.Payload, err)
			}
			if p.User != of { // alice watches herself, too
				continue
			}
			if pk.TopicName != "presence/"+of || p.Online != online || pk.FixedHeader.Retain != retained {
				t.Errorf("%s: %s, retained %v; want online %v, retained %v", pk.TopicName, pk.Payload, pk.FixedHeader.Retain, online, retained)
			}
			return
		}
	}
	state(all, bob, true, true)
	state(one, bob, true, true)
	phone.Leave()
	state(all, bob, false, false) // after the grace
	state(one, bob, false, false)
	phone = w.connect(t, login{version: 4, user: bob, id: "phone", clean: true})
	state(all, bob, true, false)
	state(one, bob, true, false)
	phone.publish(publication{id: 9, qos: 1, topic: "api/v1/block", body: `{"user":"` + alice + `"}`})
	state(one, bob, false, false)
	stranger.Quiet()
}
