package broker_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"
)

// The envelope is the same for every version, from memory and from the
// database.
func TestEnvelope(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	epoch, _ := w.store.Epoch(t.Context())
	s := w.connect(t, durable(5, alice, "phone"))
	const ref = `{"a": [1, "é", "<&>"]}`
	text, binary := publication{
		id: 1, qos: 1, topic: "inbox/" + bob + "/k1", body: "he said \"hi\"\n\u2028é",
		props: withUser("ref", ref, "other", "lost"),
	}, publication{id: 2, qos: 1, topic: "inbox/" + bob, body: "\xff\x00\x01"}
	binary.props.ContentType = "image/png"

	type reader struct {
		version byte
		user    string
	}
	live := map[reader]*wire{}
	for _, v := range []byte{3, 4, 5} {
		for _, user := range []string{alice, bob} {
			c := w.connect(t, login{version: v, user: user, id: fmt.Sprintf("live%d", v), clean: true})
			c.listen(user)
			live[reader{v, user}] = c
		}
	}
	var acks []map[string]string
	for _, p := range []publication{text, binary} {
		s.publish(p)
		acks = append(acks, properties(s.Expect(packets.Puback)))
	}
	type got struct {
		reader
		envelope
		catchUp bool
	}
	var all []got
	for r, c := range live {
		late := w.connect(t, login{version: r.version, user: r.user, id: fmt.Sprintf("late%d", r.version), clean: true})
		late.subscribe("inbox/"+r.user+"/since/0", "inbox/"+r.user)
		for range acks {
			_, now := c.receive()
			_, later := late.receive()
			all = append(all, got{r, now, false}, got{r, later, true})
		}
	}
	for _, g := range all {
		n := g.InboxSeq
		want := envelope{
			InboxSeq: n, Epoch: string(epoch), Type: "message", ID: acks[n-1]["id"], From: alice, To: bob, Seq: n,
			SentAt: g.SentAt, ContentType: "text/plain", Ref: json.RawMessage(ref), Body: &text.body,
		}
		if n == 2 {
			want.ContentType, want.Ref, want.Body, want.BodyBase64 = "image/png", nil, nil, "/wAB"
		}
		if g.user == alice { // the sender's own devices
			want.Device = "phone"
			if n == 1 {
				want.IdempotencyKey = "k1"
			}
		}
		if diff := cmp.Diff(want, g.envelope); diff != "" {
			t.Errorf("version %d, %s, catching up %v: -want +got:\n%s", g.version, g.user, g.catchUp, diff)
		}
		if at, err := time.Parse("2006-01-02T15:04:05.000Z", g.SentAt); err != nil || time.Since(at).Abs() > time.Minute {
			t.Errorf("sent_at %q", g.SentAt)
		}
	}
}

// MQTT 5 gets all fields but the body as properties too.
func TestDeliveryProperties(t *testing.T) {
	w := sharedWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	s := w.connect(t, durable(5, alice, "phone"))
	own, c := w.connect(t, login{version: 5, user: alice, id: "own"}), w.connect(t, login{version: 5, user: bob, id: "other"})
	own.subscribeWith(packets.Properties{}, packets.Subscription{Filter: "inbox/" + alice, Qos: 1})
	c.subscribeWith(packets.Properties{SubscriptionIdentifier: []int{300}}, packets.Subscription{Filter: "inbox/" + bob, Qos: 1, Identifier: 300})
	props := withUser("ref", `{"a":1}`, "idempotency-key", "k1", "mine", "lost")
	props.ContentType, props.MessageExpiryInterval = "text/x", 100
	props.ResponseTopic, props.CorrelationData = "reply/x", []byte("lost")
	s.publish(publication{id: 1, qos: 1, topic: "inbox/" + bob, body: "x", props: props})
	ack := properties(s.Expect(packets.Puback))

	for _, at := range []*wire{c, own} {
		pk, e := at.receive()
		want := map[string]string{
			"inbox-seq": "1", "epoch": e.Epoch, "type": "message", "id": ack["id"], "from": alice, "to": bob, "seq": "1",
			"sent-at": e.SentAt, "content-type": "text/x", "ref": `{"a":1}`,
		}
		var identifiers []int
		if at == own {
			want["idempotency-key"], want["device"] = "k1", "phone"
		} else {
			identifiers = []int{300}
		}
		if diff := cmp.Diff(want, properties(pk)); diff != "" {
			t.Errorf("user properties: -want +got:\n%s", diff)
		}
		p := pk.Properties
		if p.ContentType != "application/json" || !p.PayloadFormatFlag || p.PayloadFormat != 1 {
			t.Errorf("content type %q, payload format %d", p.ContentType, p.PayloadFormat)
		}
		if p.MessageExpiryInterval < 90 || p.MessageExpiryInterval > 100 {
			t.Errorf("message expiry %d, want what remains of 100", p.MessageExpiryInterval)
		}
		if diff := cmp.Diff(identifiers, p.SubscriptionIdentifier); diff != "" {
			t.Errorf("subscription identifier: -want +got:\n%s", diff)
		}
		if p.ResponseTopic != "" || p.CorrelationData != nil || p.TopicAliasFlag {
			t.Errorf("the sender's own properties came along: %+v", p)
		}
		if pk.TopicName != "inbox/"+e.To && pk.TopicName != "inbox/"+e.From || pk.FixedHeader.Retain || pk.FixedHeader.Dup {
			t.Errorf("delivered on %s, header %+v", pk.TopicName, pk.FixedHeader)
		}
	}
}

// A subscription with form=raw gets the sender's bytes, and the fields as
// properties only.
func TestRawForm(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	l := durable(5, alice, "phone")
	c := w.connect(t, l)
	if code := c.subscribeWith(withUser("form", "raw"), packets.Subscription{Filter: "inbox/" + alice, Qos: 1}); code[0] != 1 {
		t.Fatalf("SUBACK %#x", code)
	}
	check := func(body, contentType string) {
		t.Helper()
		pk := c.Expect(packets.Publish)
		c.puback(pk.PacketID)
		if string(pk.Payload) != body || pk.Properties.ContentType != contentType {
			t.Errorf("payload %q of %s, want %q of %s", pk.Payload, pk.Properties.ContentType, body, contentType)
		}
		if text := pk.Properties.PayloadFormatFlag && pk.Properties.PayloadFormat == 1; text != (contentType != "application/octet-stream") {
			t.Errorf("%q: payload format %d", body, pk.Properties.PayloadFormat)
		}
		if got := properties(pk); got["from"] != alice || got["inbox-seq"] == "" || got["sent-at"] == "" {
			t.Errorf("properties %v", got)
		}
	}
	for _, b := range [][2]string{{"plain", "text/plain"}, {"\xff\xfe", "application/octet-stream"}, {"", "text/plain"}} {
		c.publish(publication{id: 1, qos: 1, topic: "inbox/" + alice, body: b[0]})
		c.Expect(packets.Puback)
		check(b[0], b[1])
	}
	// It is part of the session.
	c.Leave()
	other := w.connect(t, login{user: alice, id: "other", clean: true})
	other.say("inbox/"+alice, "meanwhile")
	c = w.connect(t, l)
	check("meanwhile", "text/plain")
}

// No Local spares what the device itself sent, and says so in `after`.
func TestNoLocal(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	l := durable(5, alice, "phone")
	noLocal := packets.Subscription{Filter: "inbox/" + alice, Qos: 1, NoLocal: true}
	c, other := w.connect(t, l), w.connect(t, login{user: alice, id: "laptop"})
	c.subscribeWith(packets.Properties{}, noLocal)
	expect := func(seq int64, after string, body string) {
		t.Helper()
		pk, e := c.receive()
		if e.InboxSeq != seq || e.body() != body || properties(pk)["after"] != after {
			t.Errorf("got %s, property after %q, want entry %d", pk.Payload, properties(pk)["after"], seq)
		}
		if (e.After != nil) != (after != "") || e.After != nil && fmt.Sprint(*e.After) != after {
			t.Errorf("envelope %s, want after %q", pk.Payload, after)
		}
	}
	other.say("inbox/"+alice, "1")
	expect(1, "", "1")
	c.say("inbox/"+alice, "2")
	c.say("inbox/"+alice, "3")
	c.Quiet()
	other.say("inbox/"+alice, "4")
	expect(4, "1", "4")
	c.say("inbox/"+alice, "5")
	// The cursor passes what is spared by itself.
	await(t, "the cursor", func() bool { return w.cursor(alice, "phone") == 5 })
	c.Leave()
	other.say("inbox/"+alice, "6")
	c = w.connect(t, l)
	expect(6, "", "6")
	// So it is when it is read from the database.
	late := w.connect(t, login{version: 5, user: alice, id: "phone", clean: true})
	late.subscribeWith(withUser("since", "0"), noLocal)
	c = late
	expect(1, "", "1")
	expect(4, "1", "4")
	expect(6, "4", "6")
	c.Quiet()
}

// What is larger than the client takes comes without its body.
func TestMaximumPacketSize(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	s := w.connect(t, login{user: alice, id: "sender"})
	for name, props := range map[string]packets.Properties{"envelope": {}, "raw": withUser("form", "raw")} {
		const limit = 1000
		c := w.connect(t, login{version: 5, user: alice, id: "small", clean: true, props: packets.Properties{MaximumPacketSize: limit}})
		c.subscribeWith(props, packets.Subscription{Filter: "inbox/" + alice, Qos: 1})
		s.say("inbox/"+alice, "small")
		s.say("inbox/"+alice, string(make([]byte, 2000)))
		s.say("inbox/"+alice, "small again")
		for n, want := range []bool{false, true, false} {
			pk := c.Expect(packets.Publish)
			c.puback(pk.PacketID)
			if size := pk.FixedHeader.Remaining + 3; size > limit {
				t.Errorf("%s: a packet of %d bytes, at most %d are allowed", name, size, limit)
			}
			tooLarge := properties(pk)["too-large"]
			if (tooLarge != "") != want {
				t.Errorf("%s, entry %d: too-large %q", name, n+1, tooLarge)
			}
			switch {
			case name == "raw" && want && len(pk.Payload) != 0:
				t.Errorf("raw: a payload of %d bytes", len(pk.Payload))
			case name == "envelope":
				if e := open(t, pk); (e.Body == nil) != want || fmt.Sprint(e.TooLarge) != "0"+tooLarge && fmt.Sprint(e.TooLarge) != tooLarge || e.TooLarge > 0 && e.TooLarge < 2000 {
					t.Errorf("entry %d: %s", n+1, pk.Payload)
				}
			}
		}
	}
}

// A client that takes next to nothing is sent nothing larger; what does not
// fit even without its body is spared. [MQTT-3.1.2-24]
func TestMaximumPacketSizeBelowTheEnvelope(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	const limit = 100
	c := w.connect(t, login{version: 5, user: alice, id: "small", props: packets.Properties{MaximumPacketSize: limit, SessionExpiryInterval: 100, SessionExpiryIntervalFlag: true}})
	c.listen(alice)
	s := w.connect(t, login{user: alice, id: "sender"})
	s.say("inbox/"+alice, "x")
	await(t, "the cursor", func() bool { return w.cursor(alice, "small") == 1 })
	for _, pk := range c.Flush() {
		if size := pk.FixedHeader.Remaining + 2; size > limit {
			t.Errorf("a packet of %d bytes, at most %d are allowed", size, limit)
		}
	}
}

// What has expired is not shown: a device that comes later does not get the
// body.
func TestExpiredMessageHasNoBody(t *testing.T) {
	w := sharedWorld(t)
	alice := w.user("alice")
	c := w.connect(t, login{version: 5, user: alice, id: "phone"})
	c.publish(publication{id: 1, qos: 1, topic: "inbox/" + alice, body: "gone", props: packets.Properties{MessageExpiryInterval: 3600}})
	c.Expect(packets.Puback)
	c.say("inbox/"+alice, "stays")
	w.exec(`UPDATE postbox.messages SET expires_at = now() - interval '1 second' WHERE body = 'gone'`)
	late := w.connect(t, login{version: 5, user: alice, id: "late"})
	late.subscribe("inbox/"+alice+"/since/0", "inbox/"+alice)
	for {
		pk, e := late.receive()
		if e.InboxSeq == 1 && (e.Body != nil || !e.Expired || pk.Properties.MessageExpiryInterval != 0) {
			t.Errorf("expired, and delivered as %s", pk.Payload)
		}
		if e.InboxSeq == 2 {
			break
		}
	}
}
