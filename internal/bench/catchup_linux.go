package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// catchUp is the state of one CatchUp.
type catchUp struct {
	o       CatchUpOptions
	door    door
	run     uint32
	each    int // messages of a writer to a device
	padding []byte
	returns []*returning
	began   time.Time

	mu     sync.Mutex // guards what follows
	report *CatchUpRun
	took   histogram
}

// returning is a device that comes back.
type returning struct {
	identity
	index   int
	streams []stream // of each writer
	next    int64    // the number that must come; zero: any
	entries int
	last    time.Time
	seconds []int

	misrouted, corrupt, holes int
}

// CatchUp makes sessions, leaves, has messages stored for them, comes back with all
// devices at once and reads until each has all, in order. Then the sessions are
// removed.
func CatchUp(ctx context.Context, o CatchUpOptions) (*CatchUpRun, error) {
	c := &catchUp{
		o: o, door: newDoor(o.Address, len(o.Away)), run: rand.Uint32(), each: (o.Messages + len(o.Writers) - 1) / len(o.Writers),
		padding: newBody(o.BodySize)[MinBodySize:],
	}
	c.report = &CatchUpRun{Devices: len(o.Away), Messages: c.each * len(o.Writers), Window: o.Window}
	c.report.Entries = c.report.Messages * len(o.Away)
	for i, login := range o.Away {
		id := identity{fmt.Sprintf("b%08xa%d", c.run, i+1), login.User, login.Password}
		c.returns = append(c.returns, &returning{identity: id, index: i, streams: make([]stream, len(o.Writers))})
	}
	timed, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	if err := each(timed, len(c.returns), c.leave); err != nil {
		return nil, err
	}
	stored := time.Now()
	if err := eachOf(timed, len(o.Writers), len(o.Writers), c.write); err != nil {
		return nil, err
	}
	c.report.Stored = float64(c.report.Entries) / time.Since(stored).Seconds()
	if err := c.beside(ctx); err != nil {
		return nil, err
	}
	c.sum()
	ending, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	return c.report, each(ending, len(c.returns), func(ctx context.Context, i int) error {
		return c.visit(ctx, c.returns[i].identity, greeting{protocol: MQTT5}, func(caller, bool) error { return nil })
	})
}

// visit connects, does f, and says good-bye.
func (c *catchUp) visit(ctx context.Context, id identity, g greeting, f func(conn caller, present bool) error) error {
	conn, err := c.door.open(ctx, 0)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.within(ctx, func() error {
		present, err := conn.admitted(id, g)
		if err != nil {
			return err
		}
		if err := f(conn, present); err != nil {
			return fmt.Errorf("%s (%s): %w", id.clientID, id.user, err)
		}
		_, err = conn.Write([]byte{typeDisconnect, 0})
		return err
	})
}

func (c *catchUp) greeting() greeting {
	return greeting{protocol: MQTT5, session: true, receiveMaximum: uint16(c.o.Window)}
}

// leave makes a device's session.
func (c *catchUp) leave(ctx context.Context, i int) error {
	d := c.returns[i]
	return c.visit(ctx, d.identity, c.greeting(), func(conn caller, _ bool) error {
		_, err := subscribe(conn, MQTT5, "inbox/"+d.user)
		return err
	})
}

// write sends what one writer has for all.
func (c *catchUp) write(ctx context.Context, w int) error {
	login := c.o.Writers[w]
	id := identity{fmt.Sprintf("b%08xw%d", c.run, w+1), login.User, login.Password}
	return c.visit(ctx, id, greeting{protocol: MQTT311}, func(conn caller, _ bool) error {
		body := newBody(c.o.BodySize)
		return pump(conn, 64, c.each*len(c.returns), func(i int) (string, []byte) {
			to := i % len(c.returns)
			stamp{run: c.run, sender: uint16(w), counter: uint32(i / len(c.returns)), sent: int64(to)}.put(body)
			return "inbox/" + c.returns[to].user, body
		})
	})
}

// returnHandshakes is how many devices connect at once: a listener holds only so many
// newcomers, and closes the connections of others, which would come again.
const returnHandshakes = 64

// comeBack has all devices return at once, and reads until they have all.
func (c *catchUp) comeBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	used, err := newEffort(c.o.ServerPID, c.o.DatabasePID)
	if err != nil {
		return err
	}
	c.began = time.Now()
	shaking := make(chan struct{}, returnHandshakes)
	group, ctx := errgroup.WithContext(ctx)
	for _, d := range c.returns {
		group.Go(func() error {
			from := time.Now()
			shaking <- struct{}{}
			done := sync.OnceFunc(func() { <-shaking })
			defer done()
			return c.visit(ctx, d.identity, c.greeting(), func(conn caller, present bool) error {
				done()
				err := d.read(c, conn)
				if errors.Is(err, errLate) {
					err = nil // what is missing shows in the report
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				if !present {
					c.report.WithoutSession++
				}
				c.took.record(int64(d.last.Sub(from)))
				return err
			})
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	c.report.Server, c.report.Database, err = used.per(float64(c.report.Entries) / 10_000)
	return err
}

// errLate says that a device has waited long enough for what is missing.
var errLate = errors.New("nothing more came")

// read takes entries until all are there and a ping is answered, or nothing comes any
// more for so long that nothing will.
func (d *returning) read(c *catchUp, conn caller) error {
	const patience = 20 * time.Second
	in := bufio.NewReaderSize(conn, 64<<10)
	var acks []byte
	for pinged := false; ; {
		if in.Buffered() == 0 {
			if !pinged && d.entries >= c.report.Messages {
				acks, pinged = append(acks, typePingreq, 0), true
			}
			if len(acks) > 0 {
				if _, err := conn.Write(acks); err != nil {
					return err
				}
			}
			acks = acks[:0]
			_ = conn.SetReadDeadline(time.Now().Add(patience))
		}
		header, body, err := readPacket(in)
		if err != nil {
			var late interface{ Timeout() bool }
			if errors.As(err, &late) && late.Timeout() {
				return errLate
			}
			return err
		}
		switch header & typeMask {
		case typePingresp:
			return nil
		case typePublish:
		default:
			return unexpected(header, body)
		}
		p, err := parsePublish(MQTT5, header, body)
		if err != nil {
			return err
		}
		acks = append(acks, typePuback, 2, byte(p.packetID>>8), byte(p.packetID))
		d.take(c, p.payload)
	}
}

// take checks an entry.
func (d *returning) take(c *catchUp, payload []byte) {
	d.last = time.Now()
	d.entries++
	second := int(d.last.Sub(c.began).Seconds())
	for len(d.seconds) <= second {
		d.seconds = append(d.seconds, 0)
	}
	d.seconds[second]++
	seq := inboxSeqOf(payload)
	if d.next != 0 && seq != d.next {
		d.holes++
	}
	d.next = seq + 1
	s, intact, ok := findStamp(payload, c.padding)
	switch {
	case !ok || !intact || s.run != c.run || int(s.sender) >= len(d.streams):
		d.corrupt++
	case int(s.sent) != d.index:
		d.misrouted++
	default:
		d.streams[s.sender].observe(s.counter)
	}
}

// inboxSeqOf reads an envelope's position in the inbox; 0 if there is none.
func inboxSeqOf(payload []byte) int64 {
	rest, ok := bytes.CutPrefix(payload, []byte(`{"inbox_seq":`))
	if !ok {
		return 0
	}
	end := max(bytes.IndexByte(rest, ','), 0)
	n, _ := strconv.ParseInt(string(rest[:end]), 10, 64)
	return n
}

// sum draws up the account.
func (c *catchUp) sum() {
	r := c.report
	last := c.began
	for _, d := range c.returns {
		if d.last.After(last) {
			last = d.last
		}
		for second, n := range d.seconds {
			for len(r.EachSecond) <= second {
				r.EachSecond = append(r.EachSecond, 0)
			}
			r.EachSecond[second] += n
		}
		for _, s := range d.streams {
			r.Missing += c.each - s.distinct
			r.Repeated += s.repeated
			r.Reordered += s.reordered
		}
		r.Misrouted += d.misrouted
		r.Corrupt += d.corrupt
		r.Holes += d.holes
	}
	r.Took = last.Sub(c.began).Seconds()
	r.Rate = Share(float64(r.Entries-r.Missing), r.Took)
	r.Latency = c.took.latency()
}
