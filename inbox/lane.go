package inbox

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"postbox"
)

// Appender commits what one lane has to store: batches of messages, and changes
// one by one. Both methods return nil when it is committed, postbox.ErrUnavailable
// (in the chain) when the database is away or the outcome is not known yet, and
// ErrFenced when another server owns the lane. Any other error means that nothing
// was stored. After ErrUnavailable the lane calls again with the same until it
// succeeds.
type Appender interface {
	Append(ctx context.Context, b *postbox.Batch) error
	Change(ctx context.Context, c *postbox.Change) error
}

// ErrFenced says that another server has taken over the database.
var ErrFenced = postbox.Errorf(postbox.CodeUnavailable, "another server has taken over the database")

// Bounds of a lane. The queue is what all connections of the lane together may
// have waiting. From the high mark on, until the low mark is reached, Submit
// blocks connections that have more than their share in it, so that one who
// publishes little is still read from, and has its PINGREQ answered, while
// others push. At the limit it blocks all of them.
const (
	maxBatch      = 1024
	maxBatchBytes = 2 << 20
	limitBytes    = 24 << 20
	highMarkBytes = 8 << 20
	lowMarkBytes  = 4 << 20
	shareBytes    = 512 << 10
)

// slow is how long the database may take for an answer before it counts as
// away.
const slow = 5 * time.Second

// LaneOptions are what a lane works with; all are required but Fenced.
type LaneOptions struct {
	Appender Appender
	Router   Router
	Hub      *Hub
	Logger   *slog.Logger
	// Fenced is called, once, when another server has taken over: this one
	// must stop.
	Fenced func()
}

// Lane commits what its connections submit, a group at a time: it takes all
// that waits, commits it in one transaction, hands it on to be settled, and
// repeats. There is no fixed wait: an idle lane commits a single message at
// once. A connection uses one lane for life, which keeps its order.
//
// Submit may be called from any goroutine.
type Lane struct {
	o       LaneOptions
	routes  routes
	wake    chan struct{}
	groups  chan []*Draft
	done    chan struct{}
	metrics laneMetrics

	mu       sync.Mutex // guards the fields below
	space    sync.Cond
	queue    []*Draft
	bytes    int
	held     map[Origin]int // bytes of each connection in the queue
	full     bool
	closed   bool
	asked    time.Time // when what the database has not answered was first asked; zero: nothing is
	away     bool      // it has failed to answer since then
	answered time.Time // when it answered last
}

// NewLane makes a lane; Start runs it.
func NewLane(o LaneOptions) *Lane {
	l := &Lane{
		o: o, wake: make(chan struct{}, 1), groups: make(chan []*Draft, 1), done: make(chan struct{}),
		routes: newRoutes(o.Router), held: make(map[Origin]int), metrics: newLaneMetrics(),
	}
	l.space.L = &l.mu
	return l
}

// Start runs the lane's two goroutines: one commits, one settles and delivers
// what was committed, while the next group is already being committed. They
// end after Shutdown, or at once when ctx ends.
func (l *Lane) Start(ctx context.Context) {
	go l.commitLoop(ctx)
	go l.settleLoop()
}

// Shutdown takes no more drafts, commits and settles what waits, and returns
// when that is done or ctx has ended. It is safe to call twice.
func (l *Lane) Shutdown(ctx context.Context) error {
	l.Refuse()
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Refuse takes no more drafts: from now on Submit fails, also where it waits.
func (l *Lane) Refuse() {
	l.mu.Lock()
	l.closed = true
	l.space.Broadcast()
	l.mu.Unlock()
	l.poke()
}

// Flush waits until everything that was submitted before is settled.
func (l *Lane) Flush(ctx context.Context) error {
	m := marker{done: make(chan struct{})}
	l.mu.Lock()
	closed := l.closed
	if !closed { // whatever the bound says: it must not wait for room
		l.queue = append(l.queue, &Draft{Action: Release, Origin: m})
	}
	l.mu.Unlock()
	if closed {
		return nil // Shutdown flushes
	}
	l.poke()
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// marker is the origin of a draft that asks for nothing and is only waited for.
type marker struct{ done chan struct{} }

func (m marker) Settled(*Draft) { close(m.done) }
func (m marker) Flush()         {}

// Submit queues d. It blocks while the lane's queue is over its bounds, and
// fails with ErrClosed only.
func (l *Lane) Submit(d *Draft) error { return l.submit(context.Background(), d) }

// submit queues d, if the queue has room for it before ctx ends.
func (l *Lane) submit(ctx context.Context, d *Draft) error {
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.space.Broadcast()
		})()
	}
	l.mu.Lock()
	if !l.fits(d) && !l.closed {
		l.metrics.waits.Inc()
	}
	for !l.fits(d) && !l.closed && ctx.Err() == nil {
		l.space.Wait()
	}
	switch {
	case l.closed:
		l.mu.Unlock()
		return ErrClosed
	case ctx.Err() != nil:
		l.mu.Unlock()
		return ctx.Err()
	}
	l.queue = append(l.queue, d)
	l.bytes += d.size()
	l.held[d.Origin] += d.size()
	l.full = l.full || l.bytes > highMarkBytes
	first := len(l.queue) == 1
	l.mu.Unlock()
	if first {
		l.poke()
	}
	return nil
}

// fits reports whether the queue has room for d.
func (l *Lane) fits(d *Draft) bool {
	if !l.full {
		return true
	}
	held := l.held[d.Origin]
	return l.bytes < limitBytes && (held == 0 || held+d.size() <= shareBytes)
}

// AwaySince tells since when the database has not answered this lane; zero
// means that it does, or was not asked.
func (l *Lane) AwaySince() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away || !l.asked.IsZero() && time.Since(l.asked) > slow {
		return l.asked
	}
	return time.Time{}
}

// Answered tells when the database last answered this lane.
func (l *Lane) Answered() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answered
}

// Forget drops what is remembered of a user's routes, after something changed
// who may write to whom.
func (l *Lane) Forget() { l.routes.clear() }

func (l *Lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take returns the next group in order of arrival, and whether the lane is to
// end: closed and empty.
func (l *Lane) take() (group []*Draft, end bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 0
	for n < len(l.queue) && n < maxBatch && (n == 0 || size < maxBatchBytes) {
		size += l.queue[n].size()
		n++
	}
	if n == 0 {
		return nil, l.closed
	}
	group = l.queue[:n:n]
	if n == len(l.queue) {
		l.queue = nil
	} else {
		l.queue = l.queue[n:]
	}
	l.bytes = max(0, l.bytes-size)
	for _, d := range group {
		if l.held[d.Origin] -= d.size(); l.held[d.Origin] <= 0 {
			delete(l.held, d.Origin)
		}
	}
	if l.full && l.bytes < lowMarkBytes {
		l.full = false
		l.space.Broadcast()
	}
	return group, false
}

func (l *Lane) commitLoop(ctx context.Context) {
	defer close(l.groups)
	defer l.Refuse()
	for {
		group, end := l.take()
		switch {
		case end:
			return
		case group == nil:
			select {
			case <-l.wake:
			case <-ctx.Done():
				return
			}
			continue
		}
		began := time.Now()
		for _, d := range group {
			if d.Watch != nil {
				d.Watch.Taken(began, len(group))
			}
		}
		if err := l.commit(ctx, group); err != nil {
			return
		}
		l.committed(group, began)
		l.groups <- group
	}
}

// ask notes that the database is asked for something.
func (l *Lane) ask() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = time.Now()
}

// missed notes that it did not answer, and tells for how long it has not.
func (l *Lane) missed() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = true
	return time.Since(l.asked)
}

// heard notes that it has answered, and tells for how long it had not if it was
// away.
func (l *Lane) heard() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var took time.Duration
	if l.away {
		took = time.Since(l.asked)
	}
	l.asked, l.away, l.answered = time.Time{}, false, time.Now()
	return took
}
