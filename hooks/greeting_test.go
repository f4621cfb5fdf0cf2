package hooks_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/iotest"
	"time"

	"postbox/hooks"
)

// What a stranger may do before CONNECT is bounded by its first packet.
func TestGreeting(t *testing.T) {
	t.Parallel()
	const limit = 300
	for name, test := range map[string]struct {
		b    []byte
		done int // how often the whole of a CONNECT has been read
		want error
	}{
		"smallest":         {[]byte{0x10, 0x00}, 1, nil},
		"its header only":  {[]byte{0x10, 0xac, 0x02}, 0, nil}, // 300
		"all but a byte":   {append([]byte{0x10, 0x0a}, make([]byte, 9)...), 0, nil},
		"at the limit":     {append([]byte{0x10, 0xac, 0x02}, make([]byte, 300)...), 1, nil},
		"over the limit":   {[]byte{0x10, 0xad, 0x02}, 0, hooks.ErrConnectLarge},
		"256 MiB":          {[]byte{0x10, 0xff, 0xff, 0xff, 0x7f}, 0, hooks.ErrConnectLarge},
		"length of 5":      {[]byte{0x10, 0x80, 0x80, 0x80, 0x80, 0x00}, 0, hooks.ErrConnectLarge},
		"PUBLISH":          {[]byte{0x30, 0x00}, 0, hooks.ErrNotConnect},
		"CONNECT's flags":  {[]byte{0x11, 0x00}, 0, hooks.ErrNotConnect},
		"TLS":              {[]byte{0x16, 0x03, 0x01}, 0, hooks.ErrNotConnect},
		"HTTP":             {[]byte("GET / HTTP/1.1\r\n"), 0, hooks.ErrNotConnect},
		"padded length":    {append([]byte{0x10, 0x85, 0x80, 0x80, 0x00}, make([]byte, 5)...), 1, nil}, // the decoder's to judge
		"bytes after it":   {append([]byte{0x10, 0x01}, make([]byte, 64)...), 1, nil},
		"one byte at once": {[]byte{0x10, 0xad, 0x02}, 0, hooks.ErrConnectLarge},
		"slowly, all":      {append([]byte{0x10, 0xac, 0x02}, make([]byte, 300)...), 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			done := 0
			l := newLine(t, hooks.Greeting{Timeout: patience, Limit: limit, Done: func() { done++ }})
			if _, err := l.peer.Write(test.b); err != nil {
				t.Fatal(err)
			}
			_ = l.peer.CloseWrite()
			var r io.Reader = l
			if name == "one byte at once" || name == "slowly, all" {
				r = iotest.OneByteReader(l)
			}
			got, err := io.ReadAll(r)
			if !errors.Is(err, test.want) || test.want == nil && string(got) != string(test.b) {
				t.Errorf("read % x, %v, want %v", got, err, test.want)
			}
			if done != test.done {
				t.Errorf("done was called %d times, want %d", done, test.done)
			}
		})
	}
}

// Silence ends with the deadline; later ones are the reader's own, and writes
// have none of it.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	l := newLine(t, hooks.Greeting{Timeout: 50 * time.Millisecond, Limit: 10})
	if _, err := l.peer.Write([]byte{0x10}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(l); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	if err := l.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	l.mustWrite(t, []byte("still"))
	l.mustArrive(t, []byte("still"))
	// Nor has a write that waits for the peer.
	_ = l.under.Conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
	_ = l.peer.SetReadBuffer(16 << 10)
	const n = 1 << 20 // 4 MiB
	before := l.under.writes.Load()
	l.mustWrite(t, numbers(0, n))
	await(t, "a write", func() bool { return l.under.writes.Load() > before })
	for range 20 {
		if err := l.SetDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // until the write is blocked
	}
	l.mustArrive(t, numbers(0, n))

	if err := l.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.peer.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(l, make([]byte, 1)); err != nil {
		t.Errorf("without a deadline: %v", err)
	}
	// A nearer deadline counts, however near the last one is.
	for _, d := range []time.Duration{time.Hour, 30 * time.Millisecond} {
		if err := l.SetDeadline(time.Now().Add(d)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the nearer deadline: %v", err)
	}
}
