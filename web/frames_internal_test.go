package web

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"time"
)

// reading is a connection of which only what it sends is asked.
type reading struct {
	net.Conn
	*bytes.Reader
}

func (r reading) Read(p []byte) (int, error) { return r.Reader.Read(p) }

// Each ping asks for a write: some are answered, who sends thousands in one
// piece is ended before most of them are, and who sends packets is not.
func TestPingsCost(t *testing.T) {
	f := &frames{Conn: reading{Reader: bytes.NewReader(make([]byte, 4<<10))}, at: time.Now()}
	piece := make([]byte, 2<<10)
	if _, err := f.Read(piece); err != nil {
		t.Fatal(err)
	}
	answered := 0
	for range len(piece) / 2 {
		if f.ping(t.Context(), nil) {
			answered++
		}
	}
	if answered < 60 || answered > 200 {
		t.Errorf("%d pings of %d were answered", answered, len(piece)/2)
	}
	if _, err := f.Read(piece[:1]); !errors.Is(err, errFrames) {
		t.Errorf("read on: %v", err)
	}

	f = &frames{Conn: reading{Reader: bytes.NewReader(make([]byte, 64<<10))}, at: time.Now()}
	for i := range 1000 { // a ping with each small packet
		packet := make([]byte, 20)
		f.begin(packet)
		n, err := f.Read(packet)
		if f.carried(n); err != nil || !f.ping(t.Context(), nil) {
			t.Fatalf("ping %d: not answered, %v", i, err)
		}
	}
}
