package broker_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
)

// atOnce is a second (docs/spec.md §8), and some more, because the machine may be
// busy with other tests.
const atOnce = 3 * time.Second

// within waits until what a request has changed is in force.
func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	began := time.Now()
	for !done() {
		if time.Since(began) > atOnce {
			t.Fatalf("%s: not in force after %v", what, atOnce)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// until reads deliveries up to the message with this body, and returns what came
// before it.
func (c *wire) until(body string) (before []envelope) {
	c.T.Helper()
	for {
		_, e := c.receive()
		if e.body() == body {
			return before
		}
		before = append(before, e)
	}
}

func reads(all []envelope) (seqs []int64) {
	for _, e := range all {
		if e.Type == "read" {
			seqs = append(seqs, e.Seq)
		}
	}
	return seqs
}

// pair is Alice, who watches her inbox in two ways, and Bob, whom she may see.
type pair struct {
	*callers
	w          *world
	t          *testing.T
	alice, bob string
	phone      *wire   // of Alice
	page, own  *events // Alice's inbox, and Bob's
	last       int64   // message between them
}

func newPair(t *testing.T, w *world) *pair {
	t.Helper()
	p := &pair{callers: w.overHTTP(t), w: w, t: t, alice: w.user("alice"), bob: w.user("bob")}
	p.phone = w.connect(t, login{version: 5, user: p.alice, id: "phone", clean: true})
	p.phone.listen(p.alice)
	p.page, p.own = p.stream(p.alice), p.stream(p.bob)
	p.say(p.bob, p.alice, "she may see him now")
	p.phone.until("she may see him now")
	p.page.until("she may see him now")
	return p
}

// say sends a message between the two and returns its id.
func (p *pair) say(from, to, body string) (id string) {
	p.t.Helper()
	stored := p.must(from, "send", fmt.Sprintf(`{"to":%q,"body":%q}`, to, body))
	p.last = int64(stored["seq"].(float64))
	return stored["id"].(string)
}

// read has Bob read what Alice writes, and returns what she learns of that in
// each way, and what his place is in her list.
func (p *pair) read() (byMQTT, byEvents []int64, listed float64) {
	p.t.Helper()
	p.say(p.alice, p.bob, fmt.Sprint("question ", p.last))
	p.must(p.bob, "read", fmt.Sprintf(`{"with":%q,"seq":%d}`, p.alice, p.last))
	for { // when his own devices know, hers would
		e, ok := p.own.next()
		if !ok {
			p.t.Fatal("bob's stream has ended")
		}
		if e.Type == "read" && e.Seq == p.last {
			break
		}
	}
	end := fmt.Sprint("end ", p.last)
	p.must(p.alice, "send", fmt.Sprintf(`{"to":%q,"body":%q}`, p.alice, end))
	for _, c := range p.must(p.alice, "conversations", `{}`)["conversations"].([]any) {
		if c := c.(map[string]any); c["with"] == p.bob {
			listed = c["peer"].(map[string]any)["read_seq"].(float64)
		}
	}
	return reads(p.phone.until(end)), reads(p.page.until(end)), listed
}

func (p *pair) mustLearn() {
	p.t.Helper()
	mqtt, events, listed := p.read()
	if want := []int64{p.last}; !slices.Equal(mqtt, want) || !slices.Equal(events, want) || int64(listed) != p.last {
		p.t.Errorf("bob has read %d: over MQTT %v, as events %v, listed %v", p.last, mqtt, events, listed)
	}
}

func (p *pair) mustNotLearn(why string) {
	p.t.Helper()
	if mqtt, events, listed := p.read(); mqtt != nil || events != nil || listed != 0 {
		p.t.Errorf("%s: told that bob has read, over MQTT %v, as events %v, listed %v", why, mqtt, events, listed)
	}
}

// Receipts that are turned off tell nobody anything from the next one on, over
// MQTT and over HTTP; and they never tell those who may not see the reader.
func TestReceiptsOff(t *testing.T) {
	w := sharedWorld(t)
	p := newPair(t, w)
	p.mustLearn()
	p.must(p.bob, "me.update", `{"receipts":false}`)
	p.mustNotLearn("receipts off")
	p.must(p.bob, "me.update", `{"receipts":true}`)
	p.mustLearn()

	carol := w.user("carol") // to whom he has never written
	page := p.stream(carol)
	p.must(carol, "send", fmt.Sprintf(`{"to":%q,"body":"hello"}`, p.bob))
	p.must(p.bob, "read", fmt.Sprintf(`{"with":%q,"seq":1}`, carol))
	for {
		if e, ok := p.own.next(); !ok || e.Type == "read" && e.To == carol {
			break
		}
	}
	p.must(carol, "send", fmt.Sprintf(`{"to":%q,"body":"end"}`, carol))
	if got := reads(page.until("end")); got != nil {
		t.Errorf("carol is told that bob has read %v", got)
	}
}

// trySend sends to Bob in one way and reports whether it was refused, with the
// code of docs/spec.md §9.
func (p *pair) trySend(by string) (refused bool) {
	p.t.Helper()
	if by == "HTTP" {
		status, reply := p.ask(p.alice, "send", fmt.Sprintf(`{"to":%q,"body":"x"}`, p.bob))
		if status == http.StatusCreated {
			return false
		}
		e, _ := reply["error"].(map[string]any)
		if status != http.StatusForbidden || e["code"] != "forbidden" {
			p.t.Fatalf("over HTTP: %d %v", status, reply)
		}
		return true
	}
	p.phone.id++
	p.phone.publish(publication{id: p.phone.id, qos: 1, topic: "inbox/" + p.bob, body: "x"})
	for {
		pk := p.phone.Read()
		switch {
		case pk.FixedHeader.Type == packets.Publish && pk.FixedHeader.Qos > 0:
			p.phone.puback(pk.PacketID)
		case pk.FixedHeader.Type == packets.Puback && pk.ReasonCode == 0:
			return false
		case pk.FixedHeader.Type == packets.Puback:
			if pk.ReasonCode != packets.ErrNotAuthorized.Code || properties(pk)["code"] != "forbidden" {
				p.t.Fatalf("PUBACK %#x, %v", pk.ReasonCode, properties(pk))
			}
			return true
		}
	}
}

// What Bob accepts counts for the next message of a connection that has written
// to him before.
func TestAccept(t *testing.T) {
	w := sharedWorld(t)
	for _, by := range []string{"MQTT", "HTTP"} {
		t.Run(by, func(t *testing.T) {
			p := &pair{callers: w.overHTTP(t), w: w, t: t, alice: w.user("alice"), bob: w.user("bob")}
			p.phone = w.connect(t, login{version: 5, user: p.alice, id: "phone", clean: true})
			if p.trySend(by) {
				t.Fatal("everyone may write at first")
			}
			for _, step := range []struct {
				accept  string
				refused bool
			}{{"known", true}, {"everyone", false}, {"nobody", true}, {"known", true}} {
				p.must(p.bob, "me.update", fmt.Sprintf(`{"accept":%q}`, step.accept))
				within(t, step.accept, func() bool { return p.trySend(by) == step.refused })
			}
			p.say(p.bob, p.alice, "now they know each other")
			within(t, "known, after he has written", func() bool { return !p.trySend(by) })
			p.must(p.bob, "me.update", `{"accept":"nobody"}`)
			within(t, "nobody, known or not", func() bool { return p.trySend(by) })
		})
	}
}

// Who is blocked is refused on the connections that there are, and sees neither
// presence nor receipts any more; with the end of the block all is as before.
func TestBlockOnLiveConnections(t *testing.T) {
	w := sharedWorld(t)
	p := newPair(t, w)
	bobs := w.connect(t, login{version: 5, user: p.bob, id: "phone", clean: true})
	watch := w.connect(t, login{version: 5, user: p.alice, id: "watch", clean: true})
	if codes := watch.subscribe("presence/" + p.bob); codes[0] != 0 {
		t.Fatalf("SUBACK %#x", codes[0])
	}
	online := func() bool {
		t.Helper()
		var state struct{ Online bool }
		pk := watch.Expect(packets.Publish)
		if err := json.Unmarshal(pk.Payload, &state); err != nil || pk.TopicName != "presence/"+p.bob {
			t.Fatalf("%s: %.100q", pk.TopicName, pk.Payload)
		}
		return state.Online
	}
	if !online() {
		t.Fatal("bob is not shown as online")
	}
	asked := func() int {
		t.Helper()
		return len(p.must(p.alice, "presence", fmt.Sprintf(`{"users":[%q]}`, p.bob))["presence"].([]any))
	}
	if asked() != 1 {
		t.Fatal("alice may not see bob")
	}
	p.mustLearn()
	edit := fmt.Sprintf(`{"id":%q,"body":"edited"}`, p.say(p.alice, p.bob, "to be edited"))
	p.must(p.alice, "edit", edit)

	began := time.Now()
	p.must(p.bob, "block", fmt.Sprintf(`{"user":%q}`, p.alice))
	within(t, "sending over MQTT", func() bool { return p.trySend("MQTT") })
	within(t, "sending over HTTP", func() bool { return p.trySend("HTTP") })
	if status, reply := p.ask(p.alice, "edit", edit); status != http.StatusForbidden {
		t.Errorf("an edit by who is blocked: %d %v", status, reply)
	}
	if online() || time.Since(began) > atOnce {
		t.Errorf("after %v bob is still shown as online", time.Since(began))
	}
	if asked() != 0 {
		t.Error("who is blocked may ask for the presence of who blocks")
	}
	bobs.Leave()
	w.connect(t, login{version: 5, user: p.bob, id: "phone", clean: true})
	p.must(p.bob, "send", fmt.Sprintf(`{"to":%q,"body":"he may write all the same"}`, p.alice))
	p.page.until("he may write all the same")
	p.phone.until("he may write all the same")
	watch.Quiet() // nothing of his comings and goings

	began = time.Now()
	p.must(p.bob, "unblock", fmt.Sprintf(`{"user":%q}`, p.alice))
	within(t, "sending again over MQTT", func() bool { return !p.trySend("MQTT") })
	if !online() || time.Since(began) > atOnce {
		t.Errorf("after %v bob is not shown as online again", time.Since(began))
	}
	if asked() != 1 {
		t.Error("alice may not ask for bob's presence again")
	}
}

// Receipts stop with a block: what he reads of what she wrote before it.
func TestBlockStopsReceipts(t *testing.T) {
	w := sharedWorld(t)
	p := newPair(t, w)
	p.say(p.alice, p.bob, "one")
	p.say(p.alice, p.bob, "two")
	p.must(p.bob, "block", fmt.Sprintf(`{"user":%q}`, p.alice))
	p.must(p.bob, "read", fmt.Sprintf(`{"with":%q,"seq":%d}`, p.alice, p.last))
	for {
		if e, ok := p.own.next(); !ok || e.Type == "read" {
			break
		}
	}
	p.must(p.alice, "send", fmt.Sprintf(`{"to":%q,"body":"end"}`, p.alice))
	if mqtt, events := reads(p.phone.until("end")), reads(p.page.until("end")); mqtt != nil || events != nil {
		t.Errorf("who is blocked is told of reading, over MQTT %v, as events %v", mqtt, events)
	}
	for _, c := range p.must(p.alice, "conversations", `{}`)["conversations"].([]any) {
		if c := c.(map[string]any); c["with"] == p.bob {
			if peer := c["peer"].(map[string]any); peer["read_seq"] != 0.0 || peer["delivered_seq"] != 0.0 {
				t.Errorf("who is blocked sees %v", peer)
			}
		}
	}
}

// A device that is revoked by a request is ended at once and is no device any
// more. The user's streams and requests that wait belong to no device: they go on.
func TestRevokeByRequest(t *testing.T) {
	w := sharedWorld(t)
	h := w.overHTTP(t)
	versions(t, func(t *testing.T, v byte) {
		alice := w.user("alice")
		page := h.stream(alice)
		waits := make(chan map[string]any, 1)
		go func() {
			_, reply := h.ask(alice, "sync", `{"after":0,"wait":60}`)
			waits <- reply
		}()
		phone := w.connect(t, durable(v, alice, "phone"))
		laptop := w.connect(t, durable(5, alice, "laptop"))
		began := time.Now()
		laptop.publish(publication{id: 1, qos: 1, topic: "api/v1/device.revoke", body: `{"device":"phone"}`})
		if reason := phone.Ended(); v == 5 && reason != packets.ErrAdministrativeAction.Code {
			t.Errorf("ended with %#x, want 0x98", reason)
		}
		if took := time.Since(began); took > atOnce {
			t.Errorf("it took effect after %v", took)
		}
		laptop.Expect(packets.Puback)
		laptop.Quiet()
		devices := h.must(alice, "devices", `{}`)["devices"].([]any)
		if len(devices) != 1 || devices[0].(map[string]any)["device"] != "laptop" {
			t.Errorf("the devices are %v", devices)
		}
		h.must(alice, "send", fmt.Sprintf(`{"to":%q,"body":"still here"}`, alice))
		page.until("still here")
		if reply := <-waits; len(reply["entries"].([]any)) != 1 {
			t.Errorf("the request that waited: %v", reply)
		}
		if _, ack := w.login(t, durable(v, alice, "phone")); ack.ReasonCode != 0 || ack.SessionPresent {
			t.Errorf("then CONNACK %#x, session present %v", ack.ReasonCode, ack.SessionPresent)
		}
	})
}

// What another process does to an account ends its streams and the requests that
// wait, and nobody else's.
func TestControlEndsWhatIsOpenOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.StreamsPerUser, w.config.Limits.RequestRate = 2, 0 })
	h := w.overHTTP(t)
	for name, do := range w.dismissals(t) {
		alice, bob := w.user("alice"), w.user("bob")
		h.must(alice, "send", fmt.Sprintf(`{"to":%q,"body":"a note"}`, alice))
		page, other := h.stream(alice), h.stream(bob)
		waits := make(chan int, 1)
		go func() {
			status := http.StatusTooManyRequests
			for status == http.StatusTooManyRequests { // the look below may have taken its place
				status, _ = h.ask(alice, "sync", `{"after":1,"wait":60}`)
			}
			waits <- status
		}()
		within(t, "the bound of two, which shows that the request waits", func() bool {
			status, _ := h.ask(alice, "sync", `{"after":0,"wait":1}`)
			return status == http.StatusTooManyRequests
		})
		began := time.Now()
		if err := do(postbox.User(alice)); err != nil {
			t.Fatal(err)
		}
		if e, ok := page.next(); ok {
			t.Errorf("%s: %+v came", name, e)
		}
		if status := <-waits; status != http.StatusUnauthorized {
			t.Errorf("%s: the request that waited has %d", name, status)
		}
		if took := time.Since(began); took > atOnce {
			t.Errorf("%s took effect after %v", name, took)
		}
		h.must(bob, "send", fmt.Sprintf(`{"to":%q,"body":"still here"}`, bob))
		other.until("still here")
	}
}
