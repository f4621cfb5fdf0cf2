package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
)

// handshakes is how many clients connect at once.
const handshakes = 16

// Send makes one run and reports on it. The report is there whenever the run
// came to its end, however many messages were lost: see [Report.Faults]. An
// error means that it did not: a client was refused, a connection broke, ctx
// ended. The processor time of the whole process counts as the generator's, so
// two runs at once in one process show each other's.
func Send(ctx context.Context, o Options) (*Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.CreateUsers != nil {
		if err := o.CreateUsers(ctx, o.userNames(), o.Password); err != nil {
			return nil, fmt.Errorf("create %d users: %w", len(o.userNames()), err)
		}
	}
	if o.Database != nil {
		if err := o.Database.Begin(ctx); err != nil {
			return nil, fmt.Errorf("look at the database: %w", err)
		}
	}
	meter, err := newMeter(o.ServerPID, o.DatabasePID)
	if err != nil {
		return nil, err
	}
	r := newRun(o, meter)
	started := time.Now()
	if err := r.connect(ctx); err != nil {
		r.close()
		return nil, err
	}
	err = r.loop(ctx)
	r.close()
	if forgetErr := r.forgetSessions(); err == nil {
		err = forgetErr
	}
	if err != nil {
		return nil, err
	}
	report := r.report(started)
	if o.Database != nil {
		if err := o.settle(ctx, report); err != nil {
			return nil, err
		}
	}
	return report, nil
}

// run is the state of one Send.
type run struct {
	options Options
	meter   *meter
	poller  *poller
	// started is the origin of all times; they are nanoseconds since.
	started time.Time

	tally   tally
	senders []*sender
	devices []*device
	conns   map[int32]*conn
	window  int
	notes   []string

	stages stages
}

func newRun(o Options, m *meter) *run {
	r := &run{options: o, meter: m, conns: map[int32]*conn{}, notes: o.Notes, window: o.Window}
	r.tally = tally{
		run:  rand.Uint32(),
		pace: pace{senders: o.Senders, rate: o.Rate},
		from: openEnded,
		to:   openEnded,
	}
	body := newBody(o.BodySize)
	for i := range o.Senders {
		s := &sender{index: i, tally: &r.tally}
		s.identity = o.identityOf(r.clientID("s", i, 0), expandNumber(o.SenderUser, i))
		s.handler = s
		s.template, s.idAt, s.bodyAt = publishTemplate(o.Protocol, o.topicOf(i), body)
		r.senders = append(r.senders, s)
		for k := range o.Devices {
			d := &device{protocol: o.Protocol, tally: &r.tally, from: s, padding: body[MinBodySize:]}
			d.identity = o.identityOf(r.clientID("r", i, k), expandNumber(o.RecipientUser, i))
			d.handler = d
			r.devices = append(r.devices, d)
		}
	}
	return r
}

// clientID is new in each run, so that nothing stored under it is in the way.
// It stays within the 23 bytes that every server must take [MQTT-3.1.3-5].
func (r *run) clientID(kind string, index, device int) string {
	return fmt.Sprintf("b%08x%s%d-%d", r.tally.run, kind, index+1, device+1)
}

// connect lets all devices in and subscribes them, then all senders.
func (r *run) connect(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, r.options.ConnectTimeout)
	defer cancel()
	if r.poller, err = newPoller(); err != nil {
		return err
	}
	receiveMax := make([]int, len(r.senders))
	devices := make([]link, len(r.devices))
	senders := make([]link, len(r.senders))
	err = each(ctx, len(r.devices), func(ctx context.Context, i int) (err error) {
		d := r.devices[i]
		devices[i], err = dial(ctx, &r.options, d.identity, r.options.topicOf(d.from.index))
		return err
	})
	if err == nil {
		err = each(ctx, len(r.senders), func(ctx context.Context, i int) (err error) {
			senders[i], err = dial(ctx, &r.options, r.senders[i].identity, "")
			receiveMax[i] = senders[i].receiveMaximum
			return err
		})
	}
	for i, d := range r.devices {
		r.adopt(&d.conn, devices[i])
	}
	for i, s := range r.senders {
		r.adopt(&s.conn, senders[i])
		r.window = min(r.window, max(receiveMax[i], 1))
	}
	if err != nil {
		return err
	}
	if r.window < r.options.Window {
		r.notes = append(r.notes, fmt.Sprintf("window %d instead of %d: the broker's Receive Maximum", r.window, r.options.Window))
	}
	for _, s := range r.senders {
		s.setWindow(r.window)
	}
	for fd := range r.conns {
		if err := r.poller.add(int(fd)); err != nil {
			return err
		}
	}
	return nil
}

// adopt takes a connection into the loop; a link that was never made has none.
func (r *run) adopt(c *conn, l link) {
	if l.fd == 0 {
		return
	}
	c.fd, c.poller, c.rest = l.fd, r.poller, l.early
	r.conns[int32(l.fd)] = c
}

// each calls f for 0 to n-1, several at once, and stops at the first error.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	return eachOf(ctx, handshakes, n, f)
}

// eachOf is each with so many at once.
func eachOf(ctx context.Context, atOnce, n int, f func(ctx context.Context, i int) error) error {
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range n {
		if within.Err() != nil {
			break
		}
		group.Go(func() error { return f(within, i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// close ends all connections.
func (r *run) close() {
	for _, c := range r.conns {
		c.close()
	}
	if r.poller != nil {
		r.poller.close()
	}
}

// forgetSessions removes what the run left stored at the broker, also when the
// run was broken off.
func (r *run) forgetSessions() error {
	if !r.options.Session {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.options.ConnectTimeout)
	defer cancel()
	identities := make([]identity, 0, len(r.devices)+len(r.senders))
	for _, d := range r.devices {
		identities = append(identities, d.identity)
	}
	for _, s := range r.senders {
		identities = append(identities, s.identity)
	}
	return each(ctx, len(identities), func(ctx context.Context, i int) error {
		return forget(ctx, &r.options, identities[i])
	})
}

// now is nanoseconds since the start of the run.
func (r *run) now() int64 { return int64(time.Since(r.started)) }
