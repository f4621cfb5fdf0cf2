package proof

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Source is a device that publishes numbered messages at QoS 1 with as many on
// their way as MQTT 5 allows it, and notes how long each acknowledgement took.
// It costs little, so that what it measures is the server.
type Source struct {
	raw  *Raw
	name string
	to   []string // users, in turn
	size int
	next int // number of the next message; the sender's

	slots  chan struct{}
	sentAt chan time.Time
	work   sync.WaitGroup
	stop   atomic.Bool
	acked  atomic.Int64
	ended  atomic.Bool

	mu    sync.Mutex // guards delays
	delay []time.Duration
}

// sourceWindow is how many publishes a Source has on their way.
const sourceWindow = 250

// StartSource connects a Source of a user with the password "<user>'s secret".
// Its bodies have size bytes, at least 40; they go to these users in turn.
func StartSource(t testing.TB, addr, user, id string, size int, to ...string) *Source {
	t.Helper()
	raw, code, _ := DialRaw(t, addr, RawConnect{Version: 4, ID: id, User: user, Password: user + "'s secret", Clean: true})
	if code != 0 {
		t.Fatalf("CONNACK 0x%02x for %s/%s", code, user, id)
	}
	s := &Source{
		raw: raw, name: id, to: to, size: size,
		slots: make(chan struct{}, sourceWindow), sentAt: make(chan time.Time, sourceWindow),
	}
	_ = raw.conn.SetReadDeadline(time.Time{})
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		s.read()
	}()
	t.Cleanup(func() {
		raw.conn.Close()
		<-reader
		s.stop.Store(true)
		s.work.Wait()
	})
	return s
}

func (s *Source) read() {
	defer func() {
		s.ended.Store(true)
		for {
			select {
			case <-s.slots: // nobody waits for room any more
			case <-time.After(10 * time.Millisecond):
				if s.stop.Load() {
					return
				}
			}
		}
	}()
	for {
		f, err := readFrame(s.raw.in)
		if err != nil {
			s.stop.Store(true)
			return
		}
		if f.kind() != typePuback {
			continue
		}
		at := <-s.sentAt
		s.mu.Lock()
		s.delay = append(s.delay, time.Since(at))
		s.mu.Unlock()
		s.acked.Add(1)
		<-s.slots
	}
}

// give publishes one message as soon as there is room.
func (s *Source) give() error {
	s.slots <- struct{}{}
	s.next++
	now := time.Now()
	body := fmt.Appendf(nil, "%s %d %d ", s.name, s.next, now.UnixNano())
	for len(body) < s.size {
		body = append(body, '.')
	}
	b := binary.BigEndian.AppendUint16(appendText(nil, "inbox/"+s.to[(s.next-1)%len(s.to)]), uint16((s.next-1)%60000+1))
	s.sentAt <- now
	_, err := s.raw.conn.Write(packet(typePublish<<4|1<<1, append(b, body...)))
	return err
}

// Send publishes n messages and waits until all are acknowledged.
func (s *Source) Send(t testing.TB, n int) {
	t.Helper()
	for range n {
		if err := s.give(); err != nil {
			t.Fatalf("source %s: publish %d: %v", s.name, s.next, err)
		}
	}
	s.wait(t)
}

// Run publishes in a goroutine until Halt: rate messages a second, or as fast
// as it can if that is zero.
func (s *Source) Run(rate int) {
	s.stop.Store(false)
	s.work.Go(func() {
		began := time.Now()
		for n := 0; !s.stop.Load(); n++ {
			if rate > 0 {
				due := began.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
				time.Sleep(time.Until(due))
			}
			if s.give() != nil {
				return
			}
		}
	})
}

// Halt ends Run, waits until all is acknowledged, and returns how many
// messages were published in all.
func (s *Source) Halt(t testing.TB) int64 {
	t.Helper()
	s.stop.Store(true)
	s.work.Wait()
	s.wait(t)
	return int64(s.next)
}

func (s *Source) wait(t testing.TB) {
	t.Helper()
	last, since := int64(-1), time.Now()
	for {
		n := s.acked.Load()
		switch {
		case n == int64(s.next):
			return
		case s.ended.Load():
			t.Fatalf("source %s: its connection has ended with %d of %d acknowledged", s.name, n, s.next)
		case n != last:
			last, since = n, time.Now()
		case time.Since(since) > patience:
			t.Fatalf("source %s: %d of %d acknowledged, and no more for %v", s.name, n, s.next, patience)
		}
		time.Sleep(time.Millisecond)
	}
}

// Acknowledged is how many messages were acknowledged so far.
func (s *Source) Acknowledged() int64 { return s.acked.Load() }

// Delays returns how long each acknowledgement took since the last call.
func (s *Source) Delays() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.delay
	s.delay = nil
	return all
}
