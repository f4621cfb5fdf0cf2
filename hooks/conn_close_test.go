package hooks_test

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"postbox/hooks"
)

// Close lets go out what was written, and takes no more.
func TestCloseFlushes(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.under.gate.Lock()
	const n = 1 << 18
	l.mustWrite(t, numbers(0, n))
	l.Append(numbers(n, 1)) // never kicked
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write after Close: %v", err)
	}
	l.under.gate.Unlock()
	l.mustArrive(t, numbers(0, n+1))
	if rest, err := io.ReadAll(l.peer); len(rest) > 0 || err != nil {
		t.Errorf("then %q, %v", rest, err)
	}
	within(t, "the end of the connection", l.under.ended)
}

// A peer that does not read is waited for two seconds after Close, not the ten
// that a write may take otherwise, also when that is just beginning; then the
// reader ends.
func TestCloseOfAStalledPeer(t *testing.T) {
	t.Parallel()
	conn, peer := net.Pipe() // takes nothing that is not read
	defer peer.Close()
	under := &counted{Conn: conn, ended: make(chan struct{})}
	l := &line{Conn: hooks.NewConn(under, hooks.Greeting{Timeout: patience}), under: under}
	read := make(chan struct{})
	go func() {
		defer close(read)
		if _, err := l.Read(make([]byte, 1)); err == nil {
			t.Error("something was read")
		}
	}()
	// The first write waits with its deadline for Close, if Close comes before it.
	beginning, closed := make(chan struct{}), make(chan struct{})
	var calls atomic.Int32
	l.under.deadline = func() {
		if calls.Add(1) > 1 {
			return
		}
		close(beginning)
		select {
		case <-closed:
		case <-time.After(100 * time.Millisecond):
		}
	}
	l.mustWrite(t, make([]byte, 7<<20))
	within(t, "the first write", beginning)
	began := time.Now()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	close(closed)
	within(t, "the end of the connection", l.under.ended)
	within(t, "the reader's end", read)
	if took := time.Since(began); took < 1900*time.Millisecond || took > 8*time.Second {
		t.Errorf("the connection ended after %v, want 2 s", took)
	}
}

// A peer that reads a little now and then is not waited for any longer.
func TestCloseOfASlowPeer(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	_ = l.under.Conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
	_ = l.peer.SetReadBuffer(16 << 10)
	l.mustWrite(t, make([]byte, 8<<20))
	began := time.Now()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	trickle := time.NewTicker(50 * time.Millisecond)
	defer trickle.Stop()
	for {
		select {
		case <-l.under.ended:
			return
		case <-trickle.C:
			_, _ = l.peer.Read(make([]byte, 16<<10))
		}
		if took := time.Since(began); took > 8*time.Second {
			t.Fatalf("%v after Close it still writes, want 2 s", took)
		}
	}
}

func TestCloseOfAnIdleConnection(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	within(t, "the end of the connection", l.under.ended)
	if _, err := l.peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer reads %v, want EOF", err)
	}
}
