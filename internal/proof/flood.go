package proof

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Flood is a device that publishes at QoS 1 as fast as the network takes it and
// never waits for an acknowledgement.
type Flood struct {
	Name string

	raw   *Raw
	topic string
	fill  []byte
	limit int64 // messages; 0: until Stop
	stop  atomic.Bool
	sent  atomic.Int64
	acked atomic.Int64
	work  sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	reason byte       // of the server's DISCONNECT
	err    error      // that ended the connection
}

// NewFlood connects a Flood whose bodies have size bytes; Go makes it publish.
// It ends with the test.
func NewFlood(t testing.TB, addr string, c RawConnect, topic string, size int, limit int64) *Flood {
	t.Helper()
	raw, code, _ := DialRaw(t, addr, c)
	if code != 0 {
		t.Fatalf("CONNACK 0x%02x for %s/%s", code, c.User, c.ID)
	}
	f := &Flood{Name: c.User + "/" + c.ID, raw: raw, topic: topic, fill: make([]byte, size), limit: limit}
	for i := range f.fill {
		f.fill[i] = '.'
	}
	_ = raw.conn.SetReadDeadline(time.Time{})
	f.work.Go(f.read)
	t.Cleanup(func() {
		f.Stop()
		raw.conn.Close()
		f.work.Wait()
	})
	return f
}

// Go begins to publish.
func (f *Flood) Go() { f.work.Go(f.write) }

// Calm publishes no more, once what is being written has been taken, and keeps
// the connection alive.
func (f *Flood) Calm() {
	f.Stop()
	f.work.Go(func() { keepAlive(f.raw) })
}

// keepAlive sends a PINGREQ every second until the connection ends. Nobody
// may wait for the answers.
func keepAlive(r *Raw) {
	for {
		if _, err := r.conn.Write([]byte{0xc0, 0}); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

func (f *Flood) write() {
	for n := int64(1); !f.stop.Load() && (f.limit == 0 || n <= f.limit); n++ {
		b := binary.BigEndian.AppendUint16(appendText(nil, f.topic), uint16((n-1)%60000+1))
		if f.raw.version == 5 {
			b = append(b, 0)
		}
		text := fmt.Sprintf("%s %d ", f.Name, n)
		b = append(append(b, text...), f.fill[min(len(text), len(f.fill)):]...)
		f.sent.Add(1)
		if _, err := f.raw.conn.Write(packet(typePublish<<4|1<<1, b)); err != nil {
			return
		}
	}
}

func (f *Flood) read() {
	for {
		m, err := readFrame(f.raw.in)
		if err != nil {
			f.mu.Lock()
			f.err = err
			f.mu.Unlock()
			return
		}
		switch m.kind() {
		case typePuback:
			f.acked.Add(1)
		case typeDisconnect:
			f.mu.Lock()
			f.reason = m.body[0]
			f.mu.Unlock()
		}
	}
}

// Stop publishes no more, once what is being written has been taken.
func (f *Flood) Stop() { f.stop.Store(true) }

// Sent is how many messages were begun to be written.
func (f *Flood) Sent() int64 { return f.sent.Load() }

// Acknowledged is how many messages were acknowledged.
func (f *Flood) Acknowledged() int64 { return f.acked.Load() }

// Ended tells whether the connection has ended, and with which reason if the
// server said one.
func (f *Flood) Ended() (bool, byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err != nil, f.reason
}

// WaitAll waits until all is acknowledged that was sent; a minute without
// progress fails the test.
func (f *Flood) WaitAll(t testing.TB) {
	t.Helper()
	last, since := int64(-1), time.Now()
	for f.acked.Load() < f.sent.Load() {
		if ended, reason := f.Ended(); ended {
			t.Fatalf("%s: its connection ended (0x%02x) with %d of %d acknowledged", f.Name, reason, f.Acknowledged(), f.Sent())
		}
		if n := f.acked.Load(); n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) > patience {
			t.Fatalf("%s: %d of %d acknowledged, and no more for %v", f.Name, last, f.Sent(), patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
