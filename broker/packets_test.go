package broker_test

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// publication is a PUBLISH.
type publication struct {
	id    uint16 // with a QoS above 0
	qos   byte
	dup   bool
	topic string
	body  string
	props packets.Properties // MQTT 5
}

func (p publication) packet() packets.Packet {
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: p.qos, Dup: p.dup},
		PacketID:    p.id, TopicName: p.topic, Payload: []byte(p.body), Properties: p.props,
	}
}

func (c *wire) publish(all ...publication) {
	c.T.Helper()
	pks := make([]packets.Packet, len(all))
	for i, p := range all {
		pks[i] = p.packet()
	}
	c.Send(pks...)
}

// say publishes at QoS 1 with the next packet id, and waits for the PUBACK,
// which it returns. Deliveries that come before it are lost to the test.
func (c *wire) say(topic, body string) packets.Packet {
	c.T.Helper()
	c.id++
	c.publish(publication{id: c.id, qos: 1, topic: topic, body: body})
	_, ack := c.Until(packets.Puback)
	if ack.PacketID != c.id {
		c.T.Fatalf("PUBACK of %d, want %d", ack.PacketID, c.id)
	}
	return ack
}

func (c *wire) puback(ids ...uint16) {
	c.T.Helper()
	for _, id := range ids {
		c.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: id})
	}
}

func (c *wire) pubrel(id uint16) {
	c.T.Helper()
	c.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: id})
}

// ask sends a SUBSCRIBE.
func (c *wire) ask(props packets.Properties, subs ...packets.Subscription) (id uint16) {
	c.T.Helper()
	c.id++
	c.Send(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1},
		PacketID:    c.id, Filters: subs, Properties: props,
	})
	return c.id
}

// subscribe asks for filters at QoS 1 and returns the codes of the SUBACK.
func (c *wire) subscribe(filters ...string) []byte {
	c.T.Helper()
	subs := make([]packets.Subscription, len(filters))
	for i, f := range filters {
		subs[i] = packets.Subscription{Filter: f, Qos: 1}
	}
	return c.subscribeWith(packets.Properties{}, subs...)
}

func (c *wire) subscribeWith(props packets.Properties, subs ...packets.Subscription) []byte {
	c.T.Helper()
	id := c.ask(props, subs...)
	_, ack := c.Until(packets.Suback)
	if ack.PacketID != id {
		c.T.Fatalf("SUBACK of %d, want %d", ack.PacketID, id)
	}
	return ack.ReasonCodes
}

// listen subscribes to the user's inbox, which must be granted.
func (c *wire) listen(user string) {
	c.T.Helper()
	if codes := c.subscribe("inbox/" + user); len(codes) != 1 || codes[0] != 1 {
		c.T.Fatalf("subscribe to the inbox of %s: codes %#x", user, codes)
	}
}

// envelope is what a delivery's payload says.
type envelope struct {
	InboxSeq       int64           `json:"inbox_seq"`
	After          *int64          `json:"after"`
	Epoch          string          `json:"epoch"`
	Type           string          `json:"type"`
	ID             string          `json:"id"`
	From           string          `json:"from"`
	To             string          `json:"to"`
	Room           string          `json:"room"`
	Event          string          `json:"event"`
	User           string          `json:"user"`
	Role           string          `json:"role"`
	Title          string          `json:"title"`
	Seq            int64           `json:"seq"`
	SentAt         string          `json:"sent_at"`
	ContentType    string          `json:"content_type"`
	Ref            json.RawMessage `json:"ref"`
	IdempotencyKey string          `json:"idempotency_key"`
	Device         string          `json:"device"`
	TooLarge       int             `json:"too_large"`
	Expired        bool            `json:"expired"`
	Body           *string         `json:"body"`
	BodyBase64     string          `json:"body_base64"`
	Code           string          `json:"code"`
	Topic          string          `json:"topic"`
	Next           int64           `json:"next"`
	Message        string          `json:"message"`
}

func open(t testing.TB, pk packets.Packet) envelope {
	t.Helper()
	var e envelope
	if err := json.Unmarshal(pk.Payload, &e); err != nil {
		t.Fatalf("payload %.200q: %v", pk.Payload, err)
	}
	return e
}

func (e envelope) body() string {
	if e.Body == nil {
		return ""
	}
	return *e.Body
}

// receive reads the next packet, which must be a delivery, and acknowledges it.
func (c *wire) receive() (packets.Packet, envelope) {
	c.T.Helper()
	pk := c.Expect(packets.Publish)
	if pk.FixedHeader.Qos > 0 {
		c.puback(pk.PacketID)
	}
	return pk, open(c.T, pk)
}

// properties are the user properties of a packet, by name.
func properties(pk packets.Packet) map[string]string {
	all := make(map[string]string)
	for _, p := range pk.Properties.User {
		all[p.Key] = p.Val
	}
	return all
}

func withUser(pairs ...string) packets.Properties {
	var p packets.Properties
	for i := 0; i < len(pairs); i += 2 {
		p.User = append(p.User, packets.UserProperty{Key: pairs[i], Val: pairs[i+1]})
	}
	return p
}

// versions runs a test for MQTT 3.1, 3.1.1 and 5, one after the other.
func versions(t *testing.T, f func(t *testing.T, version byte)) {
	t.Helper()
	for _, v := range []struct {
		name  string
		level byte
	}{{"3.1", 3}, {"3.1.1", 4}, {"5", 5}} {
		t.Run(v.name, func(t *testing.T) { f(t, v.level) })
	}
}

// bytes is the body of an envelope that is not text.
func (e envelope) bytes(t testing.TB) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(e.BodyBase64)
	if err != nil {
		t.Fatalf("body_base64: %v", err)
	}
	return b
}
