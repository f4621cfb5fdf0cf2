package hooks_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"postbox/hooks"
)

// After CONNECT the header of every packet is judged before Mochi reads its body;
// what came before a wrong one is still read.
func TestFraming(t *testing.T) {
	t.Parallel()
	const limit = 200
	connect := []byte{0x10, 0x02, 0xff, 0xff}
	filler := func(first byte, n int) []byte { // a packet with n bytes behind its header
		b := []byte{first, byte(n)}
		if n >= 0x80 {
			b = []byte{first, byte(n) | 0x80, byte(n >> 7)}
		}
		return append(b, bytes.Repeat([]byte{0xf0}, n)...)
	}
	for name, test := range map[string]struct {
		b  []byte
		ok bool
	}{
		"PUBLISH":                 {filler(0x30, 10), true},
		"PUBLISH, QoS 2, DUP":     {filler(0x3d, 10), true},
		"PUBLISH, QoS 3":          {filler(0x36, 10), false},
		"PUBLISH, DUP at QoS 0":   {filler(0x38, 10), false},
		"PUBACK":                  {filler(0x40, 2), true},
		"PUBACK with flags":       {filler(0x42, 2), false},
		"PUBREL":                  {filler(0x62, 2), true},
		"PUBREL without flags":    {filler(0x60, 2), false},
		"SUBSCRIBE":               {filler(0x82, 6), true},
		"SUBSCRIBE, other flags":  {filler(0x83, 6), false},
		"UNSUBSCRIBE":             {filler(0xa2, 6), true},
		"PINGREQ":                 {filler(0xc0, 0), true},
		"PINGREQ with flags":      {filler(0xc1, 0), false},
		"DISCONNECT":              {filler(0xe0, 0), true},
		"type 0":                  {filler(0x00, 0), false},
		"a second CONNECT":        {filler(0x10, 2), false},
		"CONNACK":                 {filler(0x20, 2), false},
		"SUBACK":                  {filler(0x90, 3), false},
		"UNSUBACK":                {filler(0xb0, 2), false},
		"PINGRESP":                {filler(0xd0, 0), false},
		"AUTH":                    {filler(0xf0, 0), false},
		"at the limit":            {filler(0x30, limit-3), true},
		"over the limit":          {filler(0x30, limit-2), false},
		"256 MiB":                 {[]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, false},
		"a length of five bytes":  {[]byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x00}, false},
		"a length without end":    {bytes.Repeat([]byte{0x80}, 40), false},
		"a length of four bytes":  {append([]byte{0x30, 0x81, 0x80, 0x80, 0x00}, 0), true},
		"the length of the limit": {[]byte{0x30, 0xc8, 0x01}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := append(append([]byte{}, connect...), filler(0x30, 150)...)
			good = append(good, filler(0xc0, 0)...)
			all := append(append([]byte{}, good...), test.b...)
			for how, reader := range map[string]func(io.Reader) io.Reader{
				"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader,
			} {
				l := newLine(t, hooks.Greeting{Timeout: patience, Limit: 10, Packet: limit})
				if _, err := l.peer.Write(all); err != nil {
					t.Fatal(err)
				}
				_ = l.peer.CloseWrite()
				got, err := io.ReadAll(reader(l))
				switch {
				case test.ok && (err != nil || !bytes.Equal(got, all)):
					t.Errorf("%s: read %d of %d bytes, %v", how, len(got), len(all), err)
				case !test.ok && !errors.Is(err, hooks.ErrFraming):
					t.Errorf("%s: %v, want ErrFraming", how, err)
				case !test.ok && !bytes.HasPrefix(got, good):
					t.Errorf("%s: read %d bytes, want the %d that were good", how, len(got), len(good))
				}
			}
		})
	}
}
