package hooks_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postbox/hooks"
)

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// line is a Conn on a real socket, with its peer.
type line struct {
	*hooks.Conn
	under *counted
	peer  *net.TCPConn
}

// counted counts the writes of a connection, which can be held back.
type counted struct {
	net.Conn
	writes atomic.Int32
	gate   sync.Mutex    // held: writes wait
	ended  chan struct{} // closed by the first Close
	once   sync.Once

	deadline func() // called before a write deadline is set; may be nil
}

func (c *counted) SetWriteDeadline(t time.Time) error {
	if c.deadline != nil {
		c.deadline()
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	c.gate.Lock()
	defer c.gate.Unlock()
	return c.Conn.Write(p)
}

func (c *counted) Close() error {
	c.once.Do(func() { close(c.ended) })
	return c.Conn.Close()
}

func newLine(t *testing.T, g ...hooks.Greeting) *line {
	t.Helper()
	conn, peer := sockets(t)
	under := &counted{Conn: conn, ended: make(chan struct{})}
	t.Cleanup(func() { _ = under.Close() })
	greeting := hooks.Greeting{Timeout: patience, Limit: 1 << 10}
	if len(g) > 0 {
		greeting = g[0]
	}
	return &line{hooks.NewConn(under, greeting), under, peer}
}

// sockets are the two ends of a TCP connection.
func sockets(t *testing.T) (conn net.Conn, peer *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dialed.Close(); _ = conn.Close() })
	_ = dialed.SetDeadline(time.Now().Add(3 * patience))
	return conn, dialed.(*net.TCPConn)
}

// numbers are n numbers, 4 bytes each: what is lost or out of place shows.
func numbers(from, n int) []byte {
	b := make([]byte, 0, 4*n)
	for i := range n {
		b = binary.BigEndian.AppendUint32(b, uint32(from+i))
	}
	return b
}

func (l *line) mustWrite(t *testing.T, p []byte) {
	t.Helper()
	if n, err := l.Write(p); n != len(p) || err != nil {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(p), err)
	}
}

func (l *line) mustArrive(t *testing.T, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(l.peer, got); err != nil {
		t.Fatalf("the peer reads: %v", err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("the peer got other bytes")
	}
}

// A peer that does not read blocks no writer, and gets all of it in order when
// it does.
func TestWritesDoNotBlock(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	began := time.Now()
	const block, blocks = 16 << 10, 100
	for i := range blocks {
		l.mustWrite(t, numbers(i*block, block))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("writing took %v", took)
	}
	l.mustArrive(t, numbers(0, block*blocks))
}

// Writers do not mix: each packet is whole, and each writer's are in order.
func TestWritersDoNotMix(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	const writers, packets = 8, 500
	var work sync.WaitGroup
	for id := range writers {
		work.Go(func() {
			for n := range packets {
				p := bytes.Repeat([]byte{byte(id)}, 12)
				binary.BigEndian.PutUint32(p[4:], uint32(n))
				if n%2 == 0 {
					l.Append(p[:6], p[6:]) // in parts, but one packet
					l.Kick()
				} else if _, err := l.Write(p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := make([]uint32, writers)
	for range writers * packets {
		p := make([]byte, 12)
		if _, err := io.ReadFull(l.peer, p); err != nil {
			t.Fatal(err)
		}
		id := p[0]
		want := bytes.Repeat([]byte{id}, 12)
		binary.BigEndian.PutUint32(want[4:], next[id])
		if !bytes.Equal(p, want) {
			t.Fatalf("got % x, want % x", p, want)
		}
		next[id]++
	}
	work.Wait()
}

// What gathers while one write is under way leaves in one system call.
func TestFewSystemCalls(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.under.gate.Lock()
	const writes = 10_000
	for i := range writes {
		l.mustWrite(t, numbers(i, 1))
	}
	l.under.gate.Unlock()
	l.mustArrive(t, numbers(0, writes))
	if n := l.under.writes.Load(); n > 2 {
		t.Errorf("%d writes took %d system calls, want 2", writes, n)
	}
}

// Append waits for Kick, or the next Write, and leaves with it.
func TestAppendWaitsForKick(t *testing.T) {
	t.Parallel()
	for name, release := range map[string]func(l *line){
		"kick":  func(l *line) { l.Append(numbers(3, 1)); l.Kick() },
		"write": func(l *line) { l.mustWrite(t, numbers(3, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLine(t)
			l.Append(numbers(0, 1), numbers(1, 1))
			l.Append(numbers(2, 1))
			if n := l.under.writes.Load(); n != 0 {
				t.Errorf("%d writes before the kick", n)
			}
			release(l)
			l.mustArrive(t, numbers(0, 4))
			if n := l.under.writes.Load(); n != 1 {
				t.Errorf("%d system calls, want 1", n)
			}
			l.Kick() // nothing to do
			if n := l.under.writes.Load(); n != 1 {
				t.Errorf("an idle kick wrote")
			}
		})
	}
}

// A peer that lets more gather than the bound is cut off, and its connection
// takes no more.
func TestOverflowCuts(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	block := make([]byte, 1<<20)
	var err error
	written := 0
	for range 64 {
		if _, err = l.Write(block); err != nil {
			break
		}
		written++
	}
	if !errors.Is(err, hooks.ErrOverflow) || written < 8 {
		t.Fatalf("after %d MiB: %v, want ErrOverflow after at least 8", written, err)
	}
	within(t, "the end of the connection", l.under.ended)
	if _, err := l.Write(block[:1]); !errors.Is(err, hooks.ErrOverflow) {
		t.Errorf("the next write: %v", err)
	}
	l.Append(block)
	l.Kick()
	if l.Ready() || !l.Closed() {
		t.Errorf("ready %v, closed %v", l.Ready(), l.Closed())
	}
	if _, err := l.Read(make([]byte, 1)); err == nil {
		t.Error("the reader goes on")
	}
	if err := l.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
}

// A peer that goes away makes the next writes fail.
func TestPeerGone(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	_ = l.peer.SetLinger(0)
	_ = l.peer.Close()
	end := time.Now().Add(patience)
	for {
		if _, err := l.Write(make([]byte, 1<<10)); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("writes to a peer that is gone do not fail")
		}
		time.Sleep(time.Millisecond)
	}
	if !l.Closed() || l.Ready() {
		t.Errorf("closed %v, ready %v", l.Closed(), l.Ready())
	}
}

// Ready says no while much waits; then OnDrained tells when there is room. Not
// in parallel: what other connections have to write counts, too.
func TestReadyAndDrained(t *testing.T) {
	l := newLine(t)
	drained := make(chan struct{}, 10)
	l.OnDrained(func() {
		// It may use the connection.
		if l.Ready() {
			l.Append([]byte("more"))
			l.Kick()
		}
		drained <- struct{}{}
	})
	if !l.Ready() {
		t.Fatal("not ready when idle")
	}
	l.under.gate.Lock()
	l.mustWrite(t, numbers(0, 1))
	for l.under.writes.Load() == 0 {
		time.Sleep(time.Millisecond) // until the first write is under way, which counts
	}
	const n = 64<<10 - 1 // four bytes less than 256 KiB
	l.mustWrite(t, numbers(1, n-1))
	if !l.Ready() {
		t.Error("not ready just below the bound")
	}
	l.mustWrite(t, numbers(n, 1))
	if l.Ready() {
		t.Error("ready at the bound")
	}
	select {
	case <-drained:
		t.Error("drained while all of it waits")
	default:
	}
	l.under.gate.Unlock()
	l.mustArrive(t, numbers(0, n+1))
	within(t, "OnDrained", drained)
	l.mustArrive(t, []byte("more"))

	// Nobody asks, nobody is told.
	l.mustWrite(t, numbers(0, 2*n))
	l.mustArrive(t, numbers(0, 2*n))
	l.mustWrite(t, []byte("end"))
	l.mustArrive(t, []byte("end"))
	if len(drained) > 0 {
		t.Error("drained without having been asked")
	}
}
