package broker_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// body is what stands behind the header of a packet, put together by hand: no
// encoder makes what is malformed.
type body []byte

func (b body) text(s string) body   { return append(b.number(uint16(len(s))), s...) }
func (b body) number(n uint16) body { return binary.BigEndian.AppendUint16(b, n) }
func (b body) bytes(p ...byte) body { return append(b, p...) }

// props appends properties, which only MQTT 5 has.
func (b body) props(v byte, p ...byte) body {
	if v < 5 {
		return b
	}
	return append(append(b, byte(len(p))), p...)
}

// packet puts a header before it.
func (b body) packet(first byte) []byte {
	head := []byte{first}
	n := len(b)
	for ; n >= 0x80; n >>= 7 {
		head = append(head, byte(n)|0x80)
	}
	return append(append(head, byte(n)), b...)
}

// outcome sends bytes and a PINGREQ, and tells how it went on: what came before
// the answer, or that the connection ended, and with which reason.
func (c *wire) outcome(b []byte) (answers []packets.Packet, ended bool, reason byte) {
	c.T.Helper()
	_, _ = c.Net.Write(append(bytes.Clone(b), 0xc0, 0)) // it may end before all is written
	for {
		pk, err := c.Next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.T.Fatal("neither an answer nor an end")
		case err != nil:
			return answers, true, reason
		case pk.FixedHeader.Type == packets.Pingresp:
			return answers, false, 0
		case pk.FixedHeader.Type == packets.Disconnect:
			reason = pk.ReasonCode
		default:
			answers = append(answers, pk)
		}
	}
}

// What MQTT forbids ends the connection, and MQTT 5 is told why.
func TestMalformedEnds(t *testing.T) {
	w := sharedWorld(t)
	const malformed, protocol, large = 0x81, 0x82, 0x95
	w.byEachWay(t, func(t *testing.T, v byte, dial func(testing.TB) *wire) {
		mallory := w.user("mallory")
		own := "inbox/" + mallory
		publish := func(topic string, p ...byte) body { return body{}.text(topic).number(1).props(v, p...) }
		for name, test := range map[string]struct {
			b      []byte
			reason byte // of MQTT 5; several may fit: any of those that say whose fault it is
			only5  bool
		}{
			"a length of five bytes":      {[]byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x01}, malformed, false},
			"a length without end":        {bytes.Repeat([]byte{0x80}, 100), malformed, false},
			"256 MiB":                     {[]byte{0x32, 0xff, 0xff, 0xff, 0x7f, 0, 1, 'a'}, large, false},
			"one byte over the limit":     {[]byte{0x32, 0xfd, 0xff, 0x0f, 0, 1, 'a'}, large, false},
			"SUBSCRIBE over the limit":    {[]byte{0x82, 0xff, 0xff, 0x7f}, large, false},
			"type 0":                      {[]byte{0x00, 0}, malformed, false},
			"CONNACK":                     {[]byte{0x20, 2, 0, 0}, protocol, false},
			"SUBACK":                      {[]byte{0x90, 3, 0, 1, 0}, protocol, false},
			"UNSUBACK":                    {[]byte{0xb0, 2, 0, 1}, protocol, false},
			"PINGRESP":                    {[]byte{0xd0, 0}, protocol, false},
			"AUTH":                        {[]byte{0xf0, 0}, protocol, false},
			"PUBLISH at QoS 3":            {publish(own).packet(0x36), malformed, false},
			"PUBREL without its flags":    {body{}.number(1).packet(0x60), malformed, false},
			"SUBSCRIBE without its flags": {body{}.number(1).props(v).text(own).bytes(1).packet(0x80), malformed, false},
			"topic is no UTF-8":           {publish("inbox/\xc3\x28").packet(0x32), malformed, false},
			"topic with a surrogate":      {publish("inbox/\xed\xa0\x80").packet(0x32), malformed, false},
			"topic with NUL":              {publish("inbox/bob\x00").packet(0x32), malformed, false},
			"topic with a wildcard":       {publish("inbox/+").packet(0x32), protocol, false},
			"topic longer than packet":    {body{}.number(500).bytes('a').packet(0x32), malformed, false},
			"no topic":                    {publish("").packet(0x32), protocol, false},
			"PUBLISH, packet id 0":        {body{}.text(own).number(0).props(v).packet(0x32), protocol, false},
			"SUBSCRIBE, packet id 0":      {body{}.number(0).props(v).text(own).bytes(1).packet(0x82), protocol, false},
			"UNSUBSCRIBE, packet id 0":    {body{}.number(0).props(v).text(own).packet(0xa2), protocol, false},
			"SUBSCRIBE at QoS 3":          {body{}.number(1).props(v).text(own).bytes(3).packet(0x82), malformed, false},
			"SUBSCRIBE to nothing":        {body{}.number(1).props(v).packet(0x82), protocol, false},
			"UNSUBSCRIBE from nothing":    {body{}.number(1).props(v).packet(0xa2), protocol, false},
			"SUBSCRIBE without options":   {body{}.number(1).props(v).text(own).packet(0x82), malformed, false},
			"filter is no UTF-8":          {body{}.number(1).props(v).text("inbox/\xff").bytes(1).packet(0x82), malformed, false},
			"filter with NUL":             {body{}.number(1).props(v).text("inbox/\x00").bytes(1).packet(0x82), malformed, false},
			"UNSUBSCRIBE with NUL":        {body{}.number(1).props(v).text("inbox/\x00").packet(0xa2), malformed, false},
			"a property of CONNECT":       {publish(own, 0x11, 0, 0, 0, 1).packet(0x32), malformed, true},
			"a property of PUBLISH":       {body{}.number(1).props(v, 0x23, 0, 1).text(own).bytes(1).packet(0x82), malformed, true},
			"a property that is none":     {publish(own, 0x7f, 1).packet(0x32), malformed, true},
			"a property without a value":  {publish(own, 0x26, 0, 1, 'a').packet(0x32), malformed, true},
			"a property with NUL":         {publish(own, 0x26, 0, 1, 'a', 0, 1, 0).packet(0x32), malformed, true},
			"properties longer than all":  {body{}.text(own).number(1).bytes(200, 1).packet(0x32), malformed, true},
			"property length of 5 bytes":  {body{}.text(own).number(1).bytes(0x80, 0x80, 0x80, 0x80, 1).packet(0x32), malformed, true},
		} {
			if test.only5 && v < 5 {
				continue
			}
			c := dial(t)
			c.login(login{version: v, user: mallory, id: "phone", clean: true})
			answers, ended, reason := c.outcome(test.b)
			switch {
			case !ended || len(answers) > 0:
				t.Errorf("%s, version %d: goes on (%d answers)", name, v, len(answers))
			case v < 5 && reason != 0:
				t.Errorf("%s: a DISCONNECT that version %d does not have", name, v)
			case v == 5 && reason != test.reason && !(test.reason != large && (reason == malformed || reason == protocol)):
				t.Errorf("%s: ended with %#x, want %#x", name, reason, test.reason)
			}
		}
		if n := w.sent(mallory); n != 0 {
			t.Errorf("version %d: %d messages stored", v, n)
		}
		w.connect(t, login{version: v, user: mallory, id: "phone"}).say(own, "still here")
	})
}

// Every packet, cut at every byte: it is taken for what it says, or ends the
// connection, and MQTT 5 is told why. Nobody else notices.
func TestCutAtEachByte(t *testing.T) {
	w := sharedWorld(t)
	w.byEachWay(t, func(t *testing.T, v byte, dial func(testing.TB) *wire) {
		mallory, bob := w.user("mallory"), w.user("bob")
		phone := w.connect(t, login{version: v, user: bob, id: "phone"})
		phone.listen(bob)
		properties := body{}.bytes(0x26).text("ref").text("{}")
		for name, whole := range map[string]struct {
			first byte
			body  body
		}{
			"PUBLISH":     {0x32, body{}.text("inbox/"+mallory).number(7).props(v, properties...).bytes([]byte("hello")...)},
			"PUBACK":      {0x40, body{}.number(7).bytes([]byte{0, 0}[:2*(v/5)]...)},
			"PUBREC":      {0x50, body{}.number(7)},
			"PUBREL":      {0x62, body{}.number(7)},
			"PUBCOMP":     {0x70, body{}.number(7)},
			"SUBSCRIBE":   {0x82, body{}.number(7).props(v, 0x0b, 1).text("signal/" + mallory).bytes(0).text("reply/" + mallory + "/x").bytes(0)},
			"UNSUBSCRIBE": {0xa2, body{}.number(7).props(v).text("signal/" + mallory).text("reply/" + mallory + "/x")},
			"DISCONNECT":  {0xe0, body{}.bytes([]byte{4, 5, 0x11, 0, 0, 0, 0}[:7*(v/5)]...)},
		} {
			for cut := range len(whole.body) {
				c := dial(t)
				c.login(login{version: v, user: mallory, id: "phone", clean: true})
				_, ended, reason := c.outcome(whole.body[:cut].packet(whole.first))
				if ended && v == 5 && reason < 0x80 && whole.first != 0xe0 {
					t.Errorf("%s of %d bytes cut to %d: ended with %#x", name, len(whole.body), cut, reason)
				}
			}
		}
		connect := login{version: v, user: mallory, id: "half", will: &will{topic: "inbox/" + bob, body: "x"}}.packetBytes(t)
		for cut := 2; cut < len(connect); cut++ {
			c := dial(t)
			c.Version = v
			_, _ = c.Net.Write(body(connect[2:cut]).packet(0x10))
			if pk, err := c.Next(); err == nil && pk.ReasonCode == 0 {
				t.Errorf("version %d: a CONNECT of %d bytes cut to %d is let in", v, len(connect), cut)
			}
		}
		phone.Quiet()
	})
}

// Topics and filters that are too long, too deep or not of their form are refused
// one by one, at once, and the connection goes on.
func TestUnwieldyTopics(t *testing.T) {
	w := sharedWorld(t)
	w.byEachWay(t, func(t *testing.T, v byte, dial func(testing.TB) *wire) {
		mallory, bob := w.user("mallory"), w.user("bob")
		phone := w.connect(t, login{version: v, user: bob, id: "phone"})
		phone.listen(bob)
		c := dial(t)
		c.login(login{version: v, user: mallory, id: "phone"})
		deep, long := strings.Repeat("/", 30_000), strings.Repeat("x", 65_535)
		began := time.Now()
		for _, filter := range []string{
			"a#", "a+/b", "+a", "#/a", "a/#/b", "$share//x", "$share/g", "$share/g/", "$share/+/x", "$share/a#/x", "", " ", "\ufeff",
			deep, "inbox" + deep, "reply/" + mallory + deep, "reply/" + mallory + "/" + strings.Repeat("+/", 30_000) + "#", long,
		} {
			answers, ended, _ := c.outcome(body{}.number(9).props(v).text(filter).bytes(1).packet(0x82))
			if ended || len(answers) != 1 || len(answers[0].ReasonCodes) != 1 || answers[0].ReasonCodes[0] != code(v, 0x80, answers[0].ReasonCodes[0]|0x80) {
				t.Fatalf("version %d: SUBSCRIBE %.30q: ended %v, answers %+v", v, filter, ended, answers)
			}
			if answers, ended, _ := c.outcome(body{}.number(9).props(v).text(filter).packet(0xa2)); ended || len(answers) != 1 {
				t.Fatalf("version %d: UNSUBSCRIBE %.30q: ended %v, %d answers", v, filter, ended, len(answers))
			}
		}
		levels := "reply/" + mallory + strings.Repeat("/x", 6)
		if codes := c.subscribe(levels, levels+"/x"); len(codes) != 2 || codes[0] != 0 || codes[1] != code(v, 0x80, 0x8f) {
			t.Errorf("version %d: SUBSCRIBE of eight levels and of nine: %#x, want 0 and a refusal", v, codes)
		}
		for _, topic := range []string{deep, "inbox" + deep, "inbox/" + bob + deep, "inbox/" + long[6:], long} {
			for _, retain := range []byte{0, 1} {
				c.Write(body{}.text(topic).number(9).props(v).bytes('x').packet(0x32 | retain))
				if _, ack := c.Until(packets.Puback); ack.ReasonCode != code(v, 0, 0x90) {
					t.Errorf("version %d: PUBLISH to %.30q: %#x", v, topic, ack.ReasonCode)
				}
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("version %d: refusing took %v", v, took)
		}
		phone.Quiet()
	})
}

// Ten thousand filters in one packet are too many: each is refused, or with the
// rate of an ordinary server the whole.
func TestManyFilters(t *testing.T) {
	t.Parallel()
	const n = 10_000
	w := newWorld(t)
	strict := newWorld(t, func(w *world) { w.config.Limits.PacketRate = 100 })
	for _, v := range []byte{4, 5} {
		many := func(filter func(n int) string, options ...byte) body {
			b := body{}.number(9).props(v)
			for i := range n {
				b = b.text(filter(i)).bytes(options...)
			}
			return b
		}
		c := w.connect(t, login{version: v, user: w.user("mallory"), id: "phone"})
		answers, ended, _ := c.outcome(many(func(i int) string { return fmt.Sprint("inbox/user", i) }, 1).packet(0x82))
		if ended || len(answers) != 1 || len(answers[0].ReasonCodes) != n || bytes.Count(answers[0].ReasonCodes, []byte{code(v, 0x80, 0x87)}) != n {
			t.Errorf("version %d: ended %v, %d answers", v, ended, len(answers))
		}
		mallory := strict.user("mallory")
		for name, b := range map[string][]byte{
			"others'":     many(func(i int) string { return fmt.Sprint("inbox/user", i) }, 1).packet(0x82),
			"her own":     many(func(int) string { return "inbox/" + mallory }, 1).packet(0x82),
			"UNSUBSCRIBE": many(func(int) string { return "inbox/" + mallory }).packet(0xa2),
		} {
			c := strict.connect(t, login{version: v, user: mallory, id: "phone"})
			answers, ended, reason := c.outcome(b)
			if !ended || len(answers) > 0 || reason != code(v, 0, 0x96) {
				t.Errorf("version %d: %s: ended %v, %d answers, reason %#x, want 0x96", v, name, ended, len(answers), reason)
			}
		}
	}
}
