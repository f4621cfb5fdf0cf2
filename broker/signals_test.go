package broker_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
)

// signalled reads the next packet, which must be a signal or the like.
func (c *wire) signalled() map[string]any {
	c.T.Helper()
	pk := c.Expect(packets.Publish)
	if pk.FixedHeader.Qos != 0 || pk.FixedHeader.Retain || !strings.HasPrefix(pk.TopicName, "signal/") {
		c.T.Errorf("%s comes with QoS %d, retain %t", pk.TopicName, pk.FixedHeader.Qos, pk.FixedHeader.Retain)
	}
	var v map[string]any
	if err := json.Unmarshal(pk.Payload, &v); err != nil {
		c.T.Fatalf("signal %.200q: %v", pk.Payload, err)
	}
	return v
}

// Signals come to the devices that are online, from their true sender, and leave
// nothing behind.
func TestSignals(t *testing.T) {
	w, h := roomWorld(t)
	alice, bob, carol := w.user("alice"), w.user("bob"), w.user("carol")
	h.must(alice, "room.create", `{"room":"dev"}`)
	h.must(alice, "room.add", `{"room":"dev","user":"`+bob+`"}`)
	entries := w.number(`SELECT count(*) FROM postbox.inbox_entries`)
	a := w.connect(t, login{version: 5, user: alice, id: "laptop", clean: true})
	a.subscribe("signal/" + alice)
	b := w.connect(t, durable(4, bob, "phone"))
	b.subscribe("signal/" + bob)
	for i, qos := range []byte{0, 1, 2} {
		body := fmt.Sprint("typing ", qos)
		a.publish(publication{id: uint16(i + 1), qos: qos, topic: "signal/" + bob, body: body})
		if want, got := (map[string]any{"type": "signal", "from": alice, "to": bob, "body": body}), b.signalled(); !cmp.Equal(want, got) {
			t.Errorf("bob gets %v, want %v", got, want)
		}
	}
	a.Until(packets.Pubrec)
	b.publish(publication{topic: "signal/room/dev", body: "\xff"})
	if want, got := (map[string]any{"type": "signal", "from": bob, "room": "dev", "body_base64": "/w=="}), a.signalled(); !cmp.Equal(want, got) {
		t.Errorf("alice gets %v, want %v", got, want)
	}
	h.must(bob, "signal", `{"to":"`+alice+`","body":"over HTTP"}`)
	if got := a.signalled(); got["from"] != bob || got["body"] != "over HTTP" {
		t.Errorf("alice gets %v", got)
	}
	// A session that returns listens on, and gets nothing of what was before.
	b.Vanish()
	h.must(alice, "signal", `{"to":"`+bob+`","body":"into the void"}`)
	b = w.connect(t, durable(4, bob, "phone"))
	h.must(alice, "signal", `{"room":"dev","body":"back"}`)
	if got := b.signalled(); got["body"] != "back" || got["room"] != "dev" {
		t.Errorf("bob gets %v", got)
	}
	// To oneself, on the other devices.
	h.must(bob, "signal", `{"to":"`+bob+`","body":"to me"}`)
	if got := b.signalled(); got["body"] != "to me" {
		t.Errorf("bob gets %v", got)
	}
	if n := w.number(`SELECT count(*) FROM postbox.inbox_entries`); n != entries {
		t.Errorf("%d entries more", n-entries)
	}

	// Who may not write may not signal, and is told as for a message.
	h.must(bob, "block", `{"user":"`+carol+`"}`)
	h.must(alice, "room.role", `{"room":"dev","user":"`+bob+`","role":"reader"}`)
	c := w.connect(t, login{version: 5, user: carol, id: "x", clean: true})
	c.listen(carol)
	for i, test := range []struct {
		topic, body string
		reason      byte
		code        string
	}{
		{"signal/" + bob, "x", 0x87, "forbidden"}, {"signal/nobody-here", "x", 0x90, "not_found"}, {"signal/room/dev", "x", 0x90, "not_found"},
		{"signal/" + alice, strings.Repeat("x", postbox.MaxSignal+1), 0x97, "too_large"},
	} {
		c.publish(publication{id: uint16(i + 1), qos: 1, topic: test.topic, body: test.body})
		if _, ack := c.Until(packets.Puback); ack.ReasonCode != test.reason || properties(ack)["code"] != test.code {
			t.Errorf("%s: %#x %v", test.topic, ack.ReasonCode, properties(ack))
		}
		c.publish(publication{topic: test.topic, body: test.body})
		if _, e := c.receive(); e.Type != "error" || e.Code != test.code || e.Topic != test.topic {
			t.Errorf("%s at QoS 0: %+v", test.topic, e)
		}
	}
	await(t, "a reader who may not signal any more", func() bool {
		status, _ := h.ask(bob, "signal", `{"room":"dev","body":"x"}`)
		return status == http.StatusForbidden
	})
	// Who was removed hears no more of the room, though online.
	h.must(alice, "room.remove", `{"room":"dev","user":"`+bob+`"}`)
	await(t, "a removal that signals know of", func() bool {
		status, _ := h.ask(bob, "signal", `{"room":"dev","body":"x"}`)
		return status == http.StatusNotFound
	})
	h.must(alice, "signal", `{"room":"dev","body":"without bob"}`)
	h.must(alice, "signal", `{"to":"`+bob+`","body":"to bob"}`)
	if got := b.signalled(); got["body"] != "to bob" {
		t.Errorf("bob gets %v", got)
	}
}

// What became of signals is counted: for how many devices, and why not.
func TestSignalMetrics(t *testing.T) {
	w, h := roomWorld(t)
	alice, bob, carol := w.user("alice"), w.user("bob"), w.user("carol")
	for _, device := range []string{"phone", "laptop"} {
		w.connect(t, login{version: 5, user: bob, id: device, clean: true}).subscribe("signal/" + bob)
	}
	h.must(carol, "block", `{"user":"`+alice+`"}`)
	for range 3 {
		h.must(alice, "signal", `{"to":"`+bob+`","body":"typing"}`)
	}
	h.ask(alice, "signal", `{"to":"nobody-here","body":"typing"}`)
	h.ask(alice, "signal", `{"to":"`+carol+`","body":"typing"}`)
	families, got := w.scrape(t), map[string]float64{}
	for _, name := range []string{"sent", "delivered", "refused"} {
		for _, m := range families["postbox_signals_"+name+"_total"].GetMetric() {
			for _, l := range m.GetLabel() {
				name = l.GetValue()
			}
			got[name] = m.GetCounter().GetValue()
		}
	}
	want := map[string]float64{"sent": 3, "delivered": 6, "not_found": 1, "forbidden": 1, "rate_limited": 0, "unavailable": 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Signals have a rate of their own.
func TestSignalRate(t *testing.T) {
	w, h := roomWorld(t, func(w *world) { w.config.Limits.SignalRate = 3 })
	alice, bob := w.user("alice"), w.user("bob")
	c := w.connect(t, login{version: 5, user: alice, id: "x", clean: true})
	for i := range 30 {
		c.publish(publication{id: uint16(i + 1), qos: 1, topic: "signal/" + bob, body: "x"})
	}
	refused := 0
	for range 30 {
		ack := c.Expect(packets.Puback)
		if ack.ReasonCode == 0x97 && properties(ack)["code"] == "rate_limited" {
			refused++
		} else if ack.ReasonCode != 0 {
			t.Errorf("acknowledged with %#x", ack.ReasonCode)
		}
	}
	if refused == 0 || refused > 27 {
		t.Errorf("%d of 30 refused", refused)
	}
	await(t, "429", func() bool {
		status, _ := h.ask(alice, "signal", `{"to":"`+bob+`","body":"x"}`)
		return status == http.StatusTooManyRequests
	})
	if got := h.must(alice, "send", `{"to":"`+bob+`","body":"messages are not limited by that"}`); got["seq"] != 1.0 {
		t.Errorf("send: %v", got)
	}
}

// A stream of events has signals as events of their own kind, without an id.
func TestSignalsByStream(t *testing.T) {
	w, h := roomWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	s := h.stream(bob)
	h.must(alice, "send", `{"to":"`+bob+`","body":"first"}`)
	s.until("first")
	h.must(alice, "signal", `{"to":"`+bob+`","body":"typing"}`)
	var lines []string
	for len(lines) < 3 {
		line, err := s.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line = strings.TrimSpace(line); line != "" && line != ":" || len(lines) > 0 {
			lines = append(lines, line)
		}
	}
	if want := []string{"event: signal", `data: {"type":"signal","from":"` + alice + `","to":"` + bob + `","body":"typing"}`, ""}; !cmp.Equal(want, lines) {
		t.Errorf("the stream says %q, want %q", lines, want)
	}
}

// A sender who listens hears how far a message has got, if the other side shows it.
func TestDelivered(t *testing.T) {
	w, h := roomWorld(t)
	alice, bob := w.user("alice"), w.user("bob")
	h.must(bob, "send", `{"to":"`+alice+`","body":"so alice may see bob"}`)
	a := w.connect(t, login{version: 4, user: alice, id: "laptop", clean: true})
	a.subscribe("signal/" + alice)
	for i := range 3 {
		h.must(alice, "send", fmt.Sprintf(`{"to":"%s","body":"%d"}`, bob, i))
	}
	b := w.connect(t, durable(5, bob, "phone"))
	b.subscribeWith(withUser("since", "0"), packets.Subscription{Filter: "inbox/" + bob, Qos: 1})
	for range 4 {
		b.receive()
	}
	for seq := 0.0; seq < 4; {
		got := a.signalled()
		if got["type"] != "delivered" || got["from"] != bob || got["to"] != alice || got["seq"].(float64) <= seq {
			t.Fatalf("after %v alice gets %v", seq, got)
		}
		seq = got["seq"].(float64)
	}
	// Another device of bob's is no news; receipts that are off are none.
	second := w.connect(t, durable(5, bob, "tablet"))
	second.subscribeWith(withUser("since", "0"), packets.Subscription{Filter: "inbox/" + bob, Qos: 1})
	for range 4 {
		second.receive()
	}
	h.must(bob, "me.update", `{"receipts":false}`)
	h.must(alice, "send", `{"to":"`+bob+`","body":"hidden"}`)
	b.receive()
	await(t, "the cursor", func() bool { return w.cursor(bob, "phone") == 5 })
	h.must(alice, "signal", `{"to":"`+alice+`","body":"end"}`)
	if got := a.signalled(); got["body"] != "end" {
		t.Errorf("alice gets %v", got)
	}
}

// Who shares a room sees who is there, as long as they share it.
func TestPresenceInRooms(t *testing.T) {
	w, h := roomWorld(t)
	alice, bob, carol := w.user("alice"), w.user("bob"), w.user("carol")
	h.must(alice, "room.create", `{"room":"dev"}`)
	all := map[string]*wire{}
	for _, user := range []string{alice, bob, carol} {
		all[user] = w.connect(t, login{version: 4, user: user, id: "x", clean: true})
		all[user].subscribe("presence/+")
	}
	// sees reads until a user is seen in a state.
	sees := func(viewer, user string, online bool) {
		t.Helper()
		for {
			var p struct {
				User   string `json:"user"`
				Online bool   `json:"online"`
			}
			pk := all[viewer].Expect(packets.Publish)
			if err := json.Unmarshal(pk.Payload, &p); err != nil {
				t.Fatal(err)
			}
			if p.User == user && p.Online == online {
				return
			}
		}
	}
	h.must(alice, "room.add", `{"room":"dev","user":"`+bob+`"}`)
	sees(alice, bob, true)
	sees(bob, alice, true)
	h.must(alice, "room.add", `{"room":"dev","user":"`+carol+`"}`)
	sees(carol, alice, true)
	sees(bob, carol, true)
	h.must(alice, "room.remove", `{"room":"dev","user":"`+bob+`"}`)
	sees(bob, alice, false)
	sees(carol, bob, false)
	if got := h.must(bob, "presence", `{"users":["`+alice+`"]}`)["presence"].([]any); len(got) != 0 {
		t.Errorf("bob sees %v", got)
	}
	h.must(alice, "room.delete", `{"room":"dev"}`)
	sees(alice, carol, false)
	sees(carol, alice, false)
}
