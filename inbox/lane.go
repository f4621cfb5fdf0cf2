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
// others push. At the limit it blocks all of them. The high mark is some batches
// of the largest messages: what waits beyond that makes nothing faster, and a
// server whose database is away holds twice as much, its garbage included.
const (
	maxBatch      = 1024
	maxBatchBytes = 1 << 20
	// maxRows bounds the rows of inbox of one transaction. Beside one that has more
	// direct messages would wait for longer than they are used to; with half as many
	// a room waits twice as long for the disk.
	maxRows = 2048
	// followCost is what share of a row a message costs behind another of its room: they
	// are one row in each inbox, but each is to be delivered.
	followCost = 8
	// smallRoom is up to how many members a room is like a direct conversation.
	smallRoom     = 32
	limitBytes    = 12 << 20
	highMarkBytes = 4 << 20
	lowMarkBytes  = 2 << 20
	shareBytes    = 512 << 10
)

// slow is how long the database may take for an answer before it counts as
// away.
const slow = 5 * time.Second

// LaneOptions are what a lane works with; all are required but Crowd, Rest and Fenced.
type LaneOptions struct {
	Appender Appender
	// Crowd commits what goes to many inboxes, beside Appender. Nil: Appender does,
	// which then has calls from two goroutines.
	Crowd  Appender
	Router Router
	Hub    *Hub
	Logger *slog.Logger
	// Rest is how long to rest after a commit of many that took so long, so that what
	// follows the log keeps up with it. Nil: it always does.
	Rest func(took time.Duration) time.Duration
	// Fenced is called, once, when another server has taken over: this one
	// must stop.
	Fenced func()
}

// Lane commits what its connections submit, a group at a time: it takes all
// that waits, commits it in one transaction, hands it on to be settled, and
// repeats. There is no fixed wait: an idle lane commits a single message at
// once; a busy one waits a moment for those who are about to come back (see
// gathering), and rests for what follows the log (see LaneOptions.Rest). A connection uses one lane for life, which keeps its order.
//
// Submit may be called from any goroutine.
type Lane struct {
	o       LaneOptions
	routes  routes
	commits [2]committer // of what goes to few inboxes, and of what goes to many
	done    chan struct{}
	metrics laneMetrics

	mu      sync.Mutex // guards the fields below
	space   sync.Cond
	queue   []*Draft
	crowded []*Draft               // to rooms that are not small, and what waits behind those
	behind  map[postbox.UserID]int // drafts of crowded that are not settled
	ahead   map[postbox.UserID]int // the same of queue
	bytes   int
	held    map[Origin]int // bytes of each connection in the queue
	full    bool
	closed  bool
}

// committer is one of the two ways through a lane, each with a database connection
// and a settle loop of its own: a room of a thousand does not hold up direct
// messages.
type committer struct {
	*Lane
	appender Appender
	crowd    bool
	wake     chan struct{}
	groups   chan []*Draft // committed, to be settled
	// gathering is the commit loop's own.
	gathering gathering

	// Guarded by the lane's mu.
	taken    int       // drafts of the group that is being committed
	asked    time.Time // when what the database has not answered was asked, or soon failed; zero: nothing is
	away     bool      // it has failed to answer since then
	answered time.Time // when it answered last
}

// NewLane makes a lane; Start runs it.
func NewLane(o LaneOptions) *Lane {
	l := &Lane{
		o: o, done: make(chan struct{}),
		routes: newRoutes(o.Router), held: make(map[Origin]int), metrics: newLaneMetrics(),
		behind: make(map[postbox.UserID]int), ahead: make(map[postbox.UserID]int),
	}
	if o.Crowd == nil {
		o.Crowd = o.Appender
	}
	for i, appender := range []Appender{o.Appender, o.Crowd} {
		l.commits[i] = committer{Lane: l, appender: appender, crowd: i == 1, wake: make(chan struct{}, 1), groups: make(chan []*Draft, 1)}
	}
	l.space.L = &l.mu
	return l
}

// Start runs the lane's goroutines: two commit, and for each of them another settles
// and delivers what was committed, while the next group is already being
// committed. They end after Shutdown, or at once when ctx ends.
func (l *Lane) Start(ctx context.Context) {
	var loops sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	for i := range l.commits {
		c := &l.commits[i]
		loops.Go(func() {
			defer close(c.groups)
			if c.loop(ctx) != nil {
				cancel() // the other may wait for what will not be committed
			}
		})
		loops.Go(c.settleLoop)
	}
	go func() {
		defer close(l.done)
		loops.Wait()
		cancel()
	}()
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
	m, n := marker{done: make(chan struct{})}, marker{done: make(chan struct{})}
	l.mu.Lock()
	closed := l.closed
	if !closed { // whatever the bound says: it must not wait for room
		l.queue = append(l.queue, &Draft{Action: Release, Origin: m})
		l.crowded = append(l.crowded, &Draft{Action: Release, Origin: n})
		l.ahead[0]++
		l.behind[0]++
	}
	l.mu.Unlock()
	if closed {
		return nil // Shutdown flushes
	}
	l.poke()
	for _, m := range []marker{m, n} {
		select {
		case <-m.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
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
	l.put(d)
	l.bytes += d.size()
	l.held[d.Origin] += d.size()
	l.full = l.full || l.bytes > highMarkBytes
	first := len(l.queue) == 1 || len(l.crowded) == 1
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
func (l *Lane) AwaySince() (since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.commits {
		c := &l.commits[i]
		silent := c.away || !c.asked.IsZero() && time.Since(c.asked) > slow
		if silent && (since.IsZero() || c.asked.Before(since)) {
			since = c.asked
		}
	}
	return since
}

// Answered tells when the database last answered this lane.
func (l *Lane) Answered() (last time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.commits {
		if at := l.commits[i].answered; at.After(last) {
			last = at
		}
	}
	return last
}

// Waiting is how many drafts wait to be committed, or are being.
func (l *Lane) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.queue) + len(l.crowded)
	for i := range l.commits {
		n += l.commits[i].taken
	}
	return n
}

// Forget drops what is remembered of a user's routes, after something changed
// who may write to whom.
func (l *Lane) Forget() { l.routes.clear() }

// poke wakes both commit loops.
func (l *Lane) poke() {
	for i := range l.commits {
		l.commits[i].poke()
	}
}

func (c *committer) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// put queues d. What goes to many inboxes has a queue of its own, and what its user
// submits behind it goes there, too, until it is settled: each user's order stays
// what it was, and nobody else waits for it.
func (l *Lane) put(d *Draft) {
	if l.behind[d.User] == 0 && !l.crowds(d) {
		l.queue = append(l.queue, d)
		l.ahead[d.User]++
		return
	}
	l.crowded = append(l.crowded, d)
	l.behind[d.User]++
}

// crowds reports whether d goes to many inboxes, or may.
func (l *Lane) crowds(d *Draft) bool {
	if d.Action == Amend {
		return d.Change.Room != nil
	}
	if !d.appends() || d.Publish.Message.Room == "" {
		return false
	}
	n, known := l.routes.size(d.Publish.Message.Room)
	return !known || n > smallRoom
}

// rows is about what d costs behind another in a transaction, in rows of inbox.
func (l *Lane) rows(before, d *Draft) int {
	switch {
	case d.Action == Amend && d.Change.Room != nil:
		return maxRows
	case !d.appends():
		return 0
	case d.Publish.Message.Room == "":
		return 2
	}
	n, known := l.routes.size(d.Publish.Message.Room)
	switch {
	case !known:
		return maxRows
	case before != nil && before.appends() && before.Publish.Message.Room == d.Publish.Message.Room:
		return n / followCost // the rows are there
	}
	return n
}

// take returns the next group of the loop's queue, in order of arrival, and whether
// the loop is to end: closed and empty. Of what goes to many inboxes it takes
// nothing that has something of the same user ahead of it in the other queue.
func (c *committer) take() (group []*Draft, end bool) {
	l := c.Lane
	l.mu.Lock()
	defer l.mu.Unlock()
	from := &l.queue
	if c.crowd {
		from = &l.crowded
	}
	n, size, rows := 0, 0, 0
	for n < len(*from) && n < maxBatch && size < maxBatchBytes {
		var before *Draft
		if n > 0 {
			before = (*from)[n-1]
		}
		d := (*from)[n]
		if rows += l.rows(before, d); n > 0 && rows > maxRows || c.crowd && l.ahead[d.User] > 0 {
			break
		}
		size += d.size()
		n++
	}
	if c.taken = n; n == 0 {
		return nil, l.closed && len(*from) == 0
	}
	group = (*from)[:n:n]
	if n == len(*from) {
		*from = nil
	} else {
		*from = (*from)[n:]
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

// loop commits group after group and hands them on. It returns an error when it
// ends with something left.
func (c *committer) loop(ctx context.Context) error {
	l := c.Lane
	defer l.Refuse()
	for {
		c.gather()
		group, end := c.take()
		switch {
		case end:
			return nil
		case group == nil:
			select {
			case <-c.wake:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		began := time.Now()
		for _, d := range group {
			if d.Watch != nil {
				d.Watch.Taken(began, len(group))
			}
		}
		if err := c.commit(ctx, group); err != nil {
			return err
		}
		l.committed(group, began)
		took := time.Since(began)
		c.gathering.note(group, took)
		many := len(group) >= Pressed
		c.groups <- group // from now on it belongs to the settle loop
		if many {
			c.rest(ctx, took)
		}
	}
}

// settled notes that drafts of these users are: what they submit now comes behind,
// whichever loop commits it.
func (c *committer) settled(users []postbox.UserID) {
	l := c.Lane
	l.mu.Lock()
	defer l.mu.Unlock()
	count := l.ahead
	if c.crowd {
		count = l.behind
	}
	for _, u := range users {
		if count[u]--; count[u] <= 0 {
			delete(count, u)
		}
	}
	if !c.crowd && len(l.crowded) > 0 {
		l.commits[1].poke()
	}
}

// ask notes that the database is asked for something.
func (c *committer) ask() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = time.Now()
}

// missed notes that it did not answer, and tells for how long it has not.
func (c *committer) missed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.away && time.Since(c.asked) <= slow {
		// When it was asked the database may have been there: nobody is to be cut off
		// before the bound. A question that has long had no answer counts whole.
		c.asked = time.Now()
	}
	c.away = true
	return time.Since(c.asked)
}

// heard notes that it has answered, and tells for how long it had not if it was
// away.
func (c *committer) heard() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	var took time.Duration
	if c.away {
		took = time.Since(c.asked)
	}
	c.asked, c.away, c.answered = time.Time{}, false, time.Now()
	return took
}
