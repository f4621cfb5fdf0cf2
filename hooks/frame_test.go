package hooks

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"
	"pgregory.net/rapid"
)

// decode reads one packet with Mochi's decoders, which must take all of b.
func decode(b []byte, version byte) (packets.Packet, error) {
	pk := packets.Packet{ProtocolVersion: version}
	if err := pk.FixedHeader.Decode(b[0]); err != nil {
		return pk, err
	}
	in := bytes.NewReader(b[1:])
	length, _, err := packets.DecodeLength(in)
	if err != nil {
		return pk, err
	}
	if in.Len() != length {
		return pk, fmt.Errorf("the header says %d bytes, there are %d", length, in.Len())
	}
	pk.FixedHeader.Remaining = length
	body := b[len(b)-length:]
	switch pk.FixedHeader.Type {
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Pubrec:
		err = pk.PubrecDecode(body)
	case packets.Pubcomp:
		err = pk.PubcompDecode(body)
	}
	return pk, err
}

// text is a string that MQTT allows, now and then long enough for a length of
// two and three bytes.
func text(t *rapid.T, name string) string {
	s := rapid.StringMatching(`[a-zé日/ -]{0,40}`).Draw(t, name)
	return strings.Repeat(s, rapid.SampledFrom([]int{1, 1, 1, 10, 400}).Draw(t, name+" times"))
}

func pairs(t *rapid.T) (all []packets.UserProperty, encoded []byte) {
	for range rapid.IntRange(0, 5).Draw(t, "properties") {
		p := packets.UserProperty{Key: text(t, "key"), Val: text(t, "value")}
		all = append(all, p)
		encoded = appendUser(encoded, p.Key, p.Val)
	}
	return all, encoded
}

// What is written as a PUBLISH is read as that, of both forms.
func TestPublishFrame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		user, properties := pairs(t)
		f := publishFrame{
			topic: "inbox/" + text(t, "topic"), v5: rapid.Bool().Draw(t, "v5"), dup: rapid.Bool().Draw(t, "dup"),
			payload: rapid.SliceOf(rapid.Byte()).Draw(t, "payload"), properties: properties,
		}
		if rapid.Bool().Draw(t, "qos 1") {
			f.qos, f.packetID = 1, rapid.Uint16Range(1, 65535).Draw(t, "id")
		}
		before := []byte("before")
		b := f.append(before)
		if !bytes.HasPrefix(b, before) {
			t.Fatal("what was there is gone")
		}
		b = b[len(before):]
		if f.size() != len(b) {
			t.Errorf("size says %d, there are %d bytes", f.size(), len(b))
		}
		version := byte(4)
		if f.v5 {
			version = 5
		}
		pk, err := decode(b, version)
		if err != nil {
			t.Fatal(err)
		}
		got := publishFrame{
			topic: pk.TopicName, qos: pk.FixedHeader.Qos, dup: pk.FixedHeader.Dup, packetID: pk.PacketID,
			v5: f.v5, payload: pk.Payload, properties: f.properties,
		}
		f.dup = f.dup && f.qos > 0 // [MQTT-3.3.1-2]
		if diff := cmp.Diff(f, got, cmp.AllowUnexported(publishFrame{})); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if !f.v5 {
			user = nil
		}
		if diff := cmp.Diff(user, pk.Properties.User); diff != "" {
			t.Errorf("user properties: -want +got:\n%s", diff)
		}
		if pk.FixedHeader.Retain {
			t.Error("retained")
		}
	})
}

// And so are acknowledgements.
func TestAckFrame(t *testing.T) {
	t.Parallel()
	kinds := map[byte]byte{typePuback: packets.Puback, typePubrec: packets.Pubrec, typePubcomp: packets.Pubcomp}
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]byte{typePuback, typePubrec, typePubcomp}).Draw(t, "kind")
		id := rapid.Uint16().Draw(t, "id")
		version := rapid.SampledFrom([]byte{3, 4, 5}).Draw(t, "version")
		reason := rapid.SampledFrom([]byte{0, 0x10, 0x80, 0x87, 0x97}).Draw(t, "reason")
		user, properties := pairs(t)
		b := appendAck(nil, kind, id, version == 5, reason, properties)
		pk, err := decode(b, version)
		if err != nil {
			t.Fatal(err)
		}
		if version < 5 {
			reason, user = 0, nil
		}
		if pk.FixedHeader.Type != kinds[kind] || pk.PacketID != id || pk.ReasonCode != reason {
			t.Errorf("read as type %d, id %d, reason %#x", pk.FixedHeader.Type, pk.PacketID, pk.ReasonCode)
		}
		if diff := cmp.Diff(user, pk.Properties.User); diff != "" {
			t.Errorf("user properties: -want +got:\n%s", diff)
		}
		if short := reason == 0 && len(user) == 0; short != (len(b) == 4) {
			t.Errorf("%d bytes", len(b))
		}
	})
}

// The properties that MQTT itself defines.
func TestDefinedProperties(t *testing.T) {
	t.Parallel()
	p := []byte{propPayloadFormat, 1, propContentType}
	p = appendText(p, "text/plain")
	p = append(p, propMessageExpiry, 0, 1, 0, 0, propSubscriptionID)
	p = appendLength(p, 268_435_455)
	f := publishFrame{topic: "inbox/bob", v5: true, properties: p, payload: []byte("x")}
	pk, err := decode(f.append(nil), 5)
	if err != nil {
		t.Fatal(err)
	}
	want := packets.Properties{
		PayloadFormat: 1, PayloadFormatFlag: true, ContentType: "text/plain", MessageExpiryInterval: 65536,
		SubscriptionIdentifier: []int{268_435_455},
	}
	if diff := cmp.Diff(want, pk.Properties); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Lengths are those of the standard's table (OASIS MQTT 5 §1.5.5).
func TestLength(t *testing.T) {
	t.Parallel()
	for n, want := range map[int][]byte{
		0: {0}, 127: {0x7f}, 128: {0x80, 1}, 16_383: {0xff, 0x7f}, 16_384: {0x80, 0x80, 1},
		2_097_151: {0xff, 0xff, 0x7f}, 2_097_152: {0x80, 0x80, 0x80, 1}, 268_435_455: {0xff, 0xff, 0xff, 0x7f},
	} {
		if got := appendLength(nil, n); !bytes.Equal(got, want) || lengthSize(n) != len(want) {
			t.Errorf("%d: % x of size %d, want % x", n, got, lengthSize(n), want)
		}
	}
}
