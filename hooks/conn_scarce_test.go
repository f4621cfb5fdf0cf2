package hooks_test

import (
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"postbox/hooks"
)

// While many peers do not read, each connection gets little more to write;
// those that have little are ready all the same. It is over when they have
// read, or are gone. Not in parallel: all connections count.
func TestReadyWhileManyDoNotRead(t *testing.T) {
	const much, little = 60 << 10, 2 << 10 // numbers: 240 KiB, 8 KiB
	var stalled []*line
	defer func() {
		for _, l := range stalled {
			l.under.gate.Unlock()
		}
	}()
	stall := func(l *line, n int) {
		l.under.gate.Lock()
		stalled = append(stalled, l)
		l.mustWrite(t, numbers(0, n))
	}
	one := newLine(t)
	stall(one, much)
	if !one.Ready() {
		t.Fatal("not ready while only this one has something to write")
	}
	for range 40 {
		stall(newLine(t), much)
	}
	drained := make(chan struct{}, 1)
	one.OnDrained(func() { drained <- struct{}{} })
	if one.Ready() {
		t.Error("ready for more while 41 have 240 KiB each to write")
	}
	other := newLine(t)
	if !other.Ready() {
		t.Error("a connection with nothing to write is not ready")
	}
	stall(other, little)
	if !other.Ready() {
		t.Error("a connection with little to write is not ready")
	}
	// Some are cut, some read.
	for i, l := range stalled {
		l.under.gate.Unlock()
		switch {
		case l == one || l == other:
		case i%2 == 0:
			_ = l.peer.SetLinger(0)
			_ = l.peer.Close()
		default:
			l.mustArrive(t, numbers(0, much))
		}
	}
	stalled = nil
	one.mustArrive(t, numbers(0, much))
	within(t, "OnDrained", drained)
	last := newLine(t)
	stall(last, much)
	for end := time.Now().Add(patience); !last.Ready(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not ready after all have read or are gone")
		}
	}
}

// trickle takes a few bytes of each write before the deadline ends it.
type trickle struct {
	net.Conn
	ends atomic.Int32 // writes that the deadline ends
	some int          // bytes that such a write takes
}

func (c *trickle) Write(p []byte) (int, error) {
	if c.ends.Add(-1) < 0 {
		return c.Conn.Write(p)
	}
	n, err := c.Conn.Write(p[:min(c.some, len(p))])
	if err == nil {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// A link that takes a little before each deadline is slow, not dead; one that
// takes nothing is cut.
func TestSlowLinkIsNotCut(t *testing.T) {
	t.Parallel()
	for name, some := range map[string]int{"slow": 10, "dead": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLine(t)
			link := &trickle{Conn: l.under, some: some}
			link.ends.Store(5)
			l.Conn = hooks.NewConn(link, hooks.Greeting{Timeout: patience, Limit: 1 << 10})
			l.mustWrite(t, numbers(0, 1000))
			if some > 0 {
				l.mustArrive(t, numbers(0, 1000))
				if l.Closed() {
					t.Error("cut although bytes went out before each deadline")
				}
				return
			}
			within(t, "the end of a dead link", l.under.ended)
		})
	}
}
