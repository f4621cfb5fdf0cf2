package bench

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestSplitPacket(t *testing.T) {
	t.Parallel()
	large := appendPacket(nil, typePublish, bytes.Repeat([]byte{'x'}, 300))
	for name, test := range map[string]struct {
		data []byte
		size int
		bad  bool
	}{
		"nothing":               {nil, 0, false},
		"one byte":              {[]byte{typePuback}, 0, false},
		"whole":                 {[]byte{typePuback, 2, 0, 1, typePuback}, 4, false},
		"empty":                 {[]byte{typePingresp, 0}, 2, false},
		"body not whole":        {[]byte{typePuback, 2, 0}, 0, false},
		"length not whole":      {large[:2], 0, false},
		"length of two bytes":   {large, 303, false},
		"length without an end": {[]byte{typePublish, 0xFF, 0xFF, 0xFF, 0xFF, 0x01}, 0, true},
	} {
		_, _, size, err := splitPacket(test.data)
		if size != test.size || errors.Is(err, errMalformed) != test.bad {
			t.Errorf("%s: size %d, %v", name, size, err)
		}
	}
}

// TestConnectPacket compares with packets put together by hand from the
// specification.
func TestConnectPacket(t *testing.T) {
	t.Parallel()
	full := identity{"c1", "bob", "pw"}
	for name, test := range map[string]struct {
		protocol Protocol
		id       identity
		session  bool
		want     string
	}{
		"3.1.1 anonymous": {MQTT311, identity{clientID: "c1"}, false, "\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02c1"},
		"3.1.1 with user": {MQTT311, identity{"c1", "bob", ""}, false, "\x10\x13\x00\x04MQTT\x04\x82\x00\x3c\x00\x02c1\x00\x03bob"},
		"3.1.1 session":   {MQTT311, full, true, "\x10\x17\x00\x04MQTT\x04\xc0\x00\x3c\x00\x02c1\x00\x03bob\x00\x02pw"},
		"5 clean":         {MQTT5, full, false, "\x10\x18\x00\x04MQTT\x05\xc2\x00\x3c\x00\x00\x02c1\x00\x03bob\x00\x02pw"},
		"5 session":       {MQTT5, full, true, "\x10\x1d\x00\x04MQTT\x05\xc0\x00\x3c\x05\x11\x00\x00\x0e\x10\x00\x02c1\x00\x03bob\x00\x02pw"},
	} {
		if got := string(connectPacket(test.protocol, test.id, test.session)); got != test.want {
			t.Errorf("%s:\n got %q\nwant %q", name, got, test.want)
		}
	}
}

func TestPublishTemplateOffsets(t *testing.T) {
	t.Parallel()
	for _, protocol := range []Protocol{MQTT311, MQTT5} {
		body := []byte(strings.Repeat("b", 200))
		packet, idAt, bodyAt := publishTemplate(protocol, "inbox/bob", body)
		packet[idAt], packet[idAt+1] = 0x12, 0x34
		packet[bodyAt] = 'B'
		header, inner, size, err := splitPacket(packet)
		if err != nil || size != len(packet) {
			t.Fatalf("size %d of %d, %v", size, len(packet), err)
		}
		p, err := parsePublish(protocol, header, inner)
		if err != nil || p.qos != 1 || p.packetID != 0x1234 || string(p.payload) != "B"+string(body[1:]) {
			t.Errorf("MQTT %v: %+v, %v", protocol, p, err)
		}
	}
}

// FuzzPackets feeds everything that a broker can send to the parsers: they may
// refuse it, not fall over it.
func FuzzPackets(f *testing.F) {
	packet, _, _ := publishTemplate(MQTT5, "inbox/bob", newBody(50))
	f.Add(packet)
	f.Add([]byte{typeConnack, 6, 0, 0, 3, propertyReceiveMaximum, 0, 9})
	f.Add([]byte{typePuback, 3, 0, 1, 0x97})
	f.Fuzz(func(t *testing.T, data []byte) {
		for len(data) > 0 {
			header, body, size, err := splitPacket(data)
			if err != nil || size == 0 {
				return
			}
			for _, protocol := range []Protocol{MQTT311, MQTT5} {
				_, _ = parsePublish(protocol, header, body)
			}
			_, _, _ = parsePuback(body)
			if n, err := receiveMaximum(body); err == nil && (n < 0 || n > 1<<16-1) {
				t.Errorf("Receive Maximum %d", n)
			}
			data = data[size:]
		}
	})
}
