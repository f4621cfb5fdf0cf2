package proof

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// pump keeps a client busy: so many messages are on their way at any time, as
// the tap counts them.
type pump struct {
	device string // user/client id
	window int
	limit  int          // messages to give in all; 0: without end
	handed atomic.Int64 // messages given to the client
	// give gives message n = 1, 2 … to the client.
	give func(n int)
	// up tells whether the client says that it is connected.
	up func() bool
}

// run gives messages until ctx ends. After an outage it waits for the first
// acknowledgement before it gives new ones: an application that publishes
// while paho.mqtt.golang is still collecting what it has to send again makes
// that library send one message twice.
func (p *pump) run(ctx context.Context, log *TapLog) {
	stalled, floor := false, 0
	for ctx.Err() == nil {
		changed := log.Changed()
		answered := log.Answered(p.device)
		waiting := int(p.handed.Load()) - answered
		up := p.up()
		if !up {
			stalled, floor = true, answered
		} else if stalled && (waiting == 0 || answered > floor) {
			stalled = false
		}
		full := waiting >= p.window || p.limit > 0 && int(p.handed.Load()) >= p.limit
		if up && !stalled && !full {
			p.give(int(p.handed.Add(1)))
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond): // up has no event
		}
	}
}

// load is a set of pumps behind one tap.
type load struct {
	tap    *Tap
	pumps  []*pump
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (l *load) start(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	for _, p := range l.pumps {
		l.wg.Go(func() { p.run(ctx, l.tap.Log) })
	}
	t.Cleanup(l.stop)
}

func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

// drain stops the load and waits until everything that was given to a client
// is acknowledged on the wire; a minute without progress fails the test.
func (l *load) drain(t *testing.T) {
	t.Helper()
	l.stop()
	l.wait(t, func(p *pump) int { return int(p.handed.Load()) })
}

// finish waits until all pumps have reached their limit and everything is
// acknowledged on the wire; a minute without progress fails the test.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.wait(t, func(p *pump) int { return p.limit })
	l.stop()
}

// wait waits until so many messages of each pump are acknowledged.
func (l *load) wait(t *testing.T, want func(*pump) int) {
	t.Helper()
	last, since := -1, time.Now()
	for {
		changed := l.tap.Log.Changed()
		left, report := 0, ""
		for _, p := range l.pumps {
			if n := want(p) - l.tap.Log.Answered(p.device); n != 0 {
				left += n
				report += fmt.Sprintf(" %s: %d of %d;", p.device, n, want(p))
			}
		}
		if left == 0 {
			return
		}
		if left != last {
			last, since = left, time.Now()
		}
		if time.Since(since) > patience {
			t.Fatalf("no acknowledgement for %v; not acknowledged:%s", patience, report)
		}
		select {
		case <-changed:
		case <-time.After(time.Second):
		}
	}
}

// pumpLibrary makes a pump of a connected library client.
func pumpLibrary(c *Client, window int, publication func(n int) Publication) *pump {
	return &pump{
		device: c.User + "/" + c.ID, window: window, up: c.Up,
		give: func(n int) {
			p := publication(n)
			p.N, p.Queue = n, true
			c.Publish(p)
		},
	}
}

// pumpLines makes a pump of a mosquitto_pub -l, which queues by itself.
func pumpLines(m Mosquitto, p *Process, window int, line func(n int) string) *pump {
	return &pump{
		device: m.User + "/" + m.ID, window: window, up: func() bool { return true },
		give: func(n int) { _ = p.WriteLine(line(n)) },
	}
}
