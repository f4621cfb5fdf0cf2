package proof

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// sender is one way to publish as alice. send returns once the client is done
// with the message.
type sender struct {
	id      string // client id
	version string // of MQTT
	errors  *Ledger
	send    func(*testing.T, Publication)
}

// sample is a body and what a receiver must see of it.
type sample struct {
	name, body, contentType string
}

const bodyLimit = 64 << 10

var samples = []sample{
	{"text", "Grüße, \"世界\" \\ \u0000 \u2028 </script> 👋🏽\n", ""},
	{"binary", "\xff\xfe\x00\x80 \xc3\x28 \xed\xa0\x80", ""},
	{"empty", "", ""},
	{"limit", strings.Repeat("x", bodyLimit-1) + "\xff", ""},
	{"typed", "# title", "text/markdown; charset=utf-8"},
}

var (
	uuidV7   = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	sentForm = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
)

// Every client sends at every QoS, and every client receives it: on nine
// devices of the recipient and on two other devices of the sender, beside the
// sending one.
func TestEveryClient(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	if a, err := s.AddressesFile(); err != nil || a != s.Addresses {
		t.Errorf("addresses.json: %+v, %v; want %+v", a, err, s.Addresses)
	}
	s.AddUser("alice", "alice's secret")
	s.AddUser("bob", "bob's secret")
	tap := StartTap(t, s.MQTT, s.HTTP)
	goDriver, node := StartGoDriver(t), StartNodeDriver(t)

	devices := map[string][]*Ledger{}
	subscribe := func(user, id string, connect func(id string, l *Ledger)) {
		l := NewLedger(user+"/"+id, 0)
		l.Keep = true
		connect(id, l)
		devices[user] = append(devices[user], l)
	}
	library := func(d *Driver, user string, o ClientOptions) func(string, *Ledger) {
		return func(id string, l *Ledger) {
			o.ID, o.User, o.Password, o.Clean = id, user, user+"'s secret", true
			o.OnMessage, o.Subscribe = l.Add, []Subscription{{"inbox/" + user, 1}}
			if codes := d.Connect(o).WaitUp(t); !slices.Equal(codes, []int{1}) {
				t.Fatalf("%s: granted %v, want [1]", l.Name, codes)
			}
		}
	}
	mosquitto := func(user, version string) func(string, *Ledger) {
		return func(id string, l *Ledger) {
			Mosquitto{s.MQTT, version, id, user, user + "'s secret"}.Subscribe(t, "inbox/"+user, l.Add, "-q", "1")
		}
	}
	tcp, ws := "mqtt://"+s.MQTT, "ws://"+s.HTTP+"/mqtt"
	for _, version := range []string{"31", "311", "5"} {
		subscribe("bob", "mosquitto-"+version, mosquitto("bob", version))
	}
	subscribe("bob", "paho3", library(goDriver, "bob", ClientOptions{Library: Paho3, URL: tcp}))
	subscribe("bob", "paho5", library(goDriver, "bob", ClientOptions{Library: Paho5, URL: tcp}))
	for _, version := range []int{4, 5} {
		subscribe("bob", fmt.Sprintf("js-tcp-%d", version), library(node, "bob", ClientOptions{Library: MQTTJS, URL: tcp, Version: version}))
		subscribe("bob", fmt.Sprintf("js-ws-%d", version), library(node, "bob", ClientOptions{Library: MQTTJS, URL: ws, Version: version}))
	}
	subscribe("alice", "phone", library(goDriver, "alice", ClientOptions{Library: Paho3, URL: tcp}))
	subscribe("alice", "page", library(node, "alice", ClientOptions{Library: MQTTJS, URL: ws, Version: 5}))

	var senders []sender
	for _, version := range []string{"31", "311", "5"} {
		m := Mosquitto{tap.Addr, version, "pub-" + version, "alice", "alice's secret"}
		senders = append(senders, sender{id: m.ID, version: version, send: func(t *testing.T, p Publication) {
			if out := m.Publish(t, p); out.Code != 0 && len(p.Body) <= bodyLimit {
				t.Errorf("mosquitto_pub: %+v", out)
			}
		}})
	}
	for _, l := range []struct {
		id string
		d  *Driver
		o  ClientOptions
	}{
		{"s-paho3", goDriver, ClientOptions{Library: Paho3, URL: "mqtt://" + tap.Addr}},
		{"s-paho5", goDriver, ClientOptions{Library: Paho5, URL: "mqtt://" + tap.Addr, Version: 5}},
		{"s-js-tcp-4", node, ClientOptions{Library: MQTTJS, URL: "mqtt://" + tap.Addr, Version: 4}},
		{"s-js-tcp-5", node, ClientOptions{Library: MQTTJS, URL: "mqtt://" + tap.Addr, Version: 5}},
		{"s-js-ws-4", node, ClientOptions{Library: MQTTJS, URL: tap.WebSocketURL, Version: 4}},
		{"s-js-ws-5", node, ClientOptions{Library: MQTTJS, URL: tap.WebSocketURL, Version: 5}},
	} {
		ledger := NewLedger("alice/"+l.id, 0)
		ledger.Keep = true
		l.o.ID, l.o.User, l.o.Password, l.o.Clean = l.id, "alice", "alice's secret", true
		l.o.OnMessage, l.o.Subscribe = ledger.Add, []Subscription{{"inbox/alice", 1}}
		c := l.d.Connect(l.o)
		c.WaitUp(t)
		devices["alice"] = append(devices["alice"], ledger)
		version := "311"
		if l.o.Version == 5 {
			version = "5"
		}
		senders = append(senders, sender{id: l.id, version: version, errors: ledger, send: func(t *testing.T, p Publication) {
			if a := c.Send(t, p); a.Error != "" && len(p.Body) <= bodyLimit {
				t.Errorf("library: %s", a.Error)
			}
		}})
	}

	db := s.DB()
	defer db.Close()
	p := exchange{t: t, tap: tap, devices: devices, stored: func() []Row { return Messages(t, db, time.Time{}) }}
	for _, from := range senders {
		for qos := range byte(3) {
			for _, what := range samples {
				if what.contentType != "" && from.version != "5" {
					continue
				}
				t.Run(fmt.Sprintf("%s/qos%d/%s", from.id, qos, what.name), func(t *testing.T) {
					p.send(t, from, qos, what, "")
				})
			}
			t.Run(fmt.Sprintf("%s/qos%d/key", from.id, qos), func(t *testing.T) {
				p.send(t, from, qos, sample{name: "key", body: "with a key"}, fmt.Sprintf("k-%s-%d", from.id, qos))
			})
			t.Run(fmt.Sprintf("%s/qos%d/too large", from.id, qos), func(t *testing.T) { p.refuse(t, from, qos) })
		}
	}
	t.Run("mosquitto_rr gets the error envelope", func(t *testing.T) {
		m := Mosquitto{tap.Addr, "311", "rr", "alice", "alice's secret"}
		out := m.Request(t, "inbox/alice", Publication{Topic: "inbox/bob", QoS: 1, Body: bytes.Repeat([]byte{'z'}, bodyLimit+1)})
		if !strings.Contains(out.Stdout, `"type":"error"`) || !strings.Contains(out.Stdout, `"code":"too_large"`) {
			t.Errorf("mosquitto_rr: %+v, want an error envelope with too_large", out)
		}
	})
	p.compareAll()
	for _, h := range Holes(t, db) {
		t.Error(h)
	}
	for _, f := range tap.Log.Faults() {
		t.Error(f)
	}
}

// exchange counts what was sent, and compares it with what was received and
// stored.
type exchange struct {
	t       *testing.T
	tap     *Tap
	devices map[string][]*Ledger
	stored  func() []Row
	sent    []expected
}

// expected is an accepted message.
type expected struct {
	sample
	from, key string
}

// send sends one message and waits until it is on every device; the messages
// of this test go one after another, so its number is known.
func (p *exchange) send(t *testing.T, from sender, qos byte, what sample, key string) {
	pub := Publication{Topic: "inbox/bob", QoS: qos, Body: []byte(what.body), ContentType: what.contentType}
	if key != "" {
		pub.Topic += "/" + key
	}
	before := p.acks(from.id)
	from.send(t, pub)
	if qos > 0 {
		after := p.acks(from.id)
		if len(after) != len(before)+1 || after[len(after)-1].Reason >= 0x80 {
			t.Fatalf("acknowledgements on the wire: %d, then %d, the last %+v", len(before), len(after), last(after))
		}
	}
	p.sent = append(p.sent, expected{what, from.id, key})
	for _, ledgers := range p.devices {
		for _, l := range ledgers {
			l.WaitFor(t, int64(len(p.sent)))
		}
	}
	if qos > 0 && from.version == "5" {
		a := last(p.acks(from.id))
		got := p.devices["bob"][0].Entries()[len(p.sent)-1]
		if fmt.Sprint(a.User["id"], a.User["seq"]) != fmt.Sprint([]string{got.ID}, []string{fmt.Sprint(got.Seq)}) {
			t.Errorf("acknowledgement has the properties %v, want id %s and seq %d", a.User, got.ID, got.Seq)
		}
	}
}

func last(s []Sent) Sent {
	if len(s) == 0 {
		return Sent{}
	}
	return s[len(s)-1]
}

// acks are the publishes of alice's device that were acknowledged.
func (p *exchange) acks(device string) []Sent {
	var all []Sent
	for _, c := range p.tap.Log.Conns() {
		if c.Device != "alice/"+device {
			continue
		}
		for _, s := range c.Sends {
			if !s.Answered.IsZero() {
				all = append(all, *s)
			}
		}
	}
	return all
}

// refuse sends a body over the limit: it is refused by the rules of the
// version, and the connection stays.
func (p *exchange) refuse(t *testing.T, from sender, qos byte) {
	before, errors := p.acks(from.id), 0
	if from.errors != nil {
		errors = len(from.errors.Others())
	}
	body := bytes.Repeat([]byte{'z'}, bodyLimit+1)
	from.send(t, Publication{Topic: "inbox/bob", QoS: qos, Body: body})
	if qos > 0 {
		after := p.acks(from.id)
		if len(after) != len(before)+1 {
			t.Fatalf("acknowledgements on the wire: %d, then %d, want one more", len(before), len(after))
		}
		a := last(after)
		if from.version != "5" && a.Reason != 0 {
			t.Errorf("3.1.1 acknowledgement with reason 0x%02x", a.Reason)
		}
		if from.version == "5" && (a.Reason != 0x97 || !slices.Equal(a.User["code"], []string{"too_large"})) {
			t.Errorf("acknowledgement 0x%02x %v, want 0x97 with code too_large", a.Reason, a.User)
		}
	}
	if from.errors != nil && (qos == 0 || from.version != "5") {
		e := from.errors.WaitOther(t, errors+1)
		if e.Type != "error" || e.Code != "too_large" || e.Topic != "inbox/bob" || e.Message == "" {
			t.Errorf("got %+v, want the error envelope too_large for inbox/bob", e)
		}
	}
}

// compareAll compares every device and the database with what was sent.
func (p *exchange) compareAll() {
	t := p.t
	rows := p.stored()
	if len(rows) != len(p.sent) {
		t.Fatalf("%d messages are stored, want %d", len(rows), len(p.sent))
	}
	for user, ledgers := range p.devices {
		for _, l := range ledgers {
			l.Check(t)
			entries, raw := l.Entries(), l.Deliveries()
			if len(entries) != len(p.sent) {
				t.Errorf("%s: %d entries, want %d", l.Name, len(entries), len(p.sent))
				continue
			}
			for i, e := range entries {
				if err := p.compare(user, l.Name, e, raw[i], p.sent[i], rows[i]); err != nil {
					t.Errorf("%s, entry %d (%s from %s): %v", l.Name, i+1, p.sent[i].name, p.sent[i].from, err)
				}
			}
		}
	}
}

func (p *exchange) compare(user, device string, e Envelope, d Delivery, want expected, row Row) error {
	body, err := e.Payload()
	if err != nil {
		return err
	}
	if string(body) != want.body || row.Body != want.body {
		return fmt.Errorf("body %.80q, stored %.80q, want %.80q", body, row.Body, want.body)
	}
	if text := utf8.ValidString(want.body); (e.Body != nil) != text {
		return fmt.Errorf("body given as text: %v, want %v", e.Body != nil, text)
	}
	contentType := want.contentType
	switch {
	case contentType != "":
	case utf8.ValidString(want.body):
		contentType = "text/plain"
	default:
		contentType = "application/octet-stream"
	}
	sentAt, err := time.Parse(time.RFC3339, e.SentAt)
	switch {
	case err != nil || !sentForm.MatchString(e.SentAt) || time.Since(sentAt).Abs() > time.Hour:
		return fmt.Errorf("sent_at %q", e.SentAt)
	case !uuidV7.MatchString(e.ID) || e.ID != row.ID:
		return fmt.Errorf("id %s, stored %s, want the same UUIDv7", e.ID, row.ID)
	case e.From != "alice" || e.To != "bob" || row.Sender != "alice" || row.Device != want.from:
		return fmt.Errorf("from %q to %q, stored %q on %q; want alice to bob on %q", e.From, e.To, row.Sender, row.Device, want.from)
	case e.Seq != row.Seq || e.Epoch == "":
		return fmt.Errorf("seq %d, stored %d; epoch %q", e.Seq, row.Seq, e.Epoch)
	case e.ContentType != contentType:
		return fmt.Errorf("content_type %q, want %q", e.ContentType, contentType)
	case d.Topic != "inbox/"+user || d.QoS != 1:
		return fmt.Errorf("delivered on %s with QoS %d", d.Topic, d.QoS)
	case user == "bob" && (e.Device != "" || e.IdempotencyKey != ""):
		return fmt.Errorf("the recipient sees device %q and key %q", e.Device, e.IdempotencyKey)
	case user == "alice" && (e.Device != want.from || e.IdempotencyKey != want.key):
		return fmt.Errorf("the sender's copy has device %q and key %q, want %q and %q", e.Device, e.IdempotencyKey, want.from, want.key)
	}
	if strings.HasSuffix(device, "paho5") || strings.Contains(device, "js-") && strings.HasSuffix(device, "-5") {
		got := fmt.Sprint(d.User["inbox-seq"], d.User["type"], d.User["id"], d.User["from"])
		if want := fmt.Sprintf("[%d] [message] [%s] [alice]", e.InboxSeq, e.ID); got != want || !d.UTF8 {
			return fmt.Errorf("properties %s (format indicator %v), want %s (true)", got, d.UTF8, want)
		}
	}
	return nil
}
