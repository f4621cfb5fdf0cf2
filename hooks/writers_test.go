package hooks_test

import (
	"sync"
	"testing"
	"time"

	"postbox/hooks"
)

// newSocket is a Conn with nothing between it and its socket, which shares its
// writers with others.
func newSocket(t *testing.T) *line {
	t.Helper()
	conn, peer := sockets(t)
	return &line{Conn: hooks.NewConn(conn, hooks.Greeting{Timeout: 3 * patience}), peer: peer}
}

// Peers that do not read hold up nobody else's output, however many there are, and
// get all of theirs in order when they read.
func TestStuckPeersHoldUpNobody(t *testing.T) {
	t.Parallel()
	const stuck, block, blocks, n = 8, 16 << 10, 100, 1000
	var lines []*line
	for range stuck {
		l := newSocket(t)
		for i := range blocks { // 6.4 MB: more than sockets hold
			l.mustWrite(t, numbers(i*block, block))
		}
		lines = append(lines, l)
	}
	l := newSocket(t)
	began := time.Now()
	for i := range n {
		l.mustWrite(t, numbers(i, 1))
		l.mustArrive(t, numbers(i, 1))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("%d messages took %v beside peers that do not read", n, took)
	}
	var work sync.WaitGroup
	for _, l := range lines {
		work.Go(func() {
			l.mustArrive(t, numbers(0, block*blocks))
			l.mustWrite(t, numbers(0, n)) // not too slow any more
			l.mustArrive(t, numbers(0, n))
		})
	}
	work.Wait()
}

// That a peer was slow once, and a write had a deadline, does not cut it later.
func TestTheDeadlineOfASlowWriteEndsWithIt(t *testing.T) {
	t.Parallel()
	l := newSocket(t)
	const block, blocks = 16 << 10, 100
	for i := range blocks {
		l.mustWrite(t, numbers(i*block, block))
	}
	l.mustArrive(t, numbers(0, block*blocks))
	time.Sleep(11 * time.Second) // a write may take ten
	l.mustWrite(t, numbers(0, 1))
	l.mustArrive(t, numbers(0, 1))
	if l.Closed() {
		t.Error("the connection was cut")
	}
}

// Close lets go out what was written to a socket, and then ends it.
func TestCloseFlushesASocket(t *testing.T) {
	t.Parallel()
	l := newSocket(t)
	const n = 1 << 20 // 4 MB
	l.mustWrite(t, numbers(0, n))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.mustArrive(t, numbers(0, n))
	if rest, err := l.peer.Read(make([]byte, 1)); rest > 0 || err == nil {
		t.Errorf("then %d bytes, %v", rest, err)
	}
}
