package bench

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// longestWait bounds how late the loop sees that a stage has ended while
	// nothing arrives.
	longestWait = 10 * time.Millisecond
	// sampleEvery is how often the server's memory is looked at.
	sampleEvery = int64(250 * time.Millisecond)
	// drainCheckEvery is how often the drain looks whether all is there.
	drainCheckEvery = int64(20 * time.Millisecond)
	// quiet is how long nothing may arrive, once all is there, before the run
	// ends: it is for repeats that come late.
	quiet = int64(300 * time.Millisecond)
)

// stage is a part of a run.
type stage int

const (
	warmingUp stage = iota
	measuring
	draining
	finished
)

// stages keeps a run's timetable. Times are nanoseconds since its start.
type stages struct {
	now stage
	// ends is when the present stage is over; the drain ends at it at latest.
	ends int64
	// measured and drained are how long the window and the drain were.
	measured, drained time.Duration

	nextSecond, nextSample, nextCheck int64
	// eachSecond is what was acknowledged in each whole second of the window.
	eachSecond       []int
	acknowledgedThen int
	// arrivals and lastArrival tell the drain whether it is quiet.
	arrivals    int
	lastArrival int64
}

// loop runs the load on this goroutine, from the first publish to the end of
// the drain.
func (r *run) loop(ctx context.Context) error {
	r.started = time.Now()
	r.stages.ends = int64(r.options.WarmUp)
	r.tally.sending = true
	buffer := make([]byte, readBuffer)

	// What came with a handshake is handled first.
	for _, c := range r.conns {
		if err := c.feed(c.rest, len(buffer)+1, 0); err != nil {
			return err
		}
	}
	for _, s := range r.senders {
		if err := s.batchEnd(r.now()); err != nil {
			return s.failed("write", err)
		}
	}
	for {
		now := r.now()
		if err := r.advance(now); err != nil {
			return err
		}
		if r.stages.now == finished {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("run broken off after %v: %w", time.Duration(now).Round(time.Millisecond), err)
		}
		if err := r.release(now); err != nil {
			return err
		}
		events, err := r.poller.wait(longestWait)
		if err != nil {
			return err
		}
		for _, event := range events {
			if err := r.serve(event, buffer); err != nil {
				return err
			}
		}
	}
}

// serve handles one ready descriptor.
func (r *run) serve(event unix.EpollEvent, buffer []byte) error {
	if int(event.Fd) == r.poller.timer {
		r.poller.rang()
		return nil
	}
	c := r.conns[event.Fd]
	if event.Events&unix.EPOLLOUT != 0 {
		if err := c.writable(r.now()); err != nil {
			return err
		}
	}
	if event.Events&^unix.EPOLLOUT != 0 {
		return c.receive(buffer, r.now)
	}
	return nil
}

// release sends what is due by the timetable of a paced run, and sets the timer
// for what comes next.
func (r *run) release(now int64) error {
	pace := &r.tally.pace
	if pace.unlimited() || !r.tally.sending {
		return nil
	}
	for pace.next() <= now {
		s := r.senders[pace.released%pace.senders]
		pace.released++
		if err := s.release(now); err != nil {
			return err
		}
	}
	return r.poller.wakeIn(time.Duration(pace.next() - r.now()))
}

// advance does what the time asks for besides sending.
func (r *run) advance(now int64) error {
	st := &r.stages
	if now >= st.nextSample {
		st.nextSample = now + sampleEvery
		r.meter.sample()
		for _, c := range r.conns {
			if err := c.ping(now); err != nil {
				return c.failed("write", err)
			}
		}
		if st.now == measuring && r.options.Watch != nil && r.options.Watch(time.Duration(now-r.tally.from), r.tally.acknowledged) {
			st.ends = now
		}
	}
	switch st.now {
	case warmingUp:
		if now >= st.ends {
			return r.beginMeasuring(now)
		}
	case measuring:
		if now >= st.nextSecond {
			st.nextSecond += int64(time.Second)
			st.eachSecond = append(st.eachSecond, r.tally.acknowledged-st.acknowledgedThen)
			st.acknowledgedThen = r.tally.acknowledged
		}
		if now >= st.ends {
			return r.endMeasuring(now)
		}
	case draining:
		r.drain(now)
	}
	return nil
}

func (r *run) beginMeasuring(now int64) (err error) {
	if r.options.WarmUp == 0 {
		// The window is the whole run. What was due before the loop first looked
		// at the clock, late on a busy machine, belongs to it.
		now = 0
	}
	r.tally.measuring, r.tally.from = true, now
	r.stages.now = measuring
	r.stages.ends = now + int64(r.options.Duration)
	r.stages.nextSecond = now + int64(time.Second)
	r.meter.begin, err = r.meter.read()
	return err
}

func (r *run) endMeasuring(now int64) (err error) {
	r.tally.measuring, r.tally.sending, r.tally.to = false, false, now
	r.stages.now = draining
	r.stages.measured = time.Duration(now - r.tally.from)
	r.stages.ends = now + int64(r.options.Drain)
	r.stages.lastArrival = now
	r.meter.end, err = r.meter.read()
	return err
}

// drain ends the run when all is there and nothing more comes, or when it has
// waited long enough.
func (r *run) drain(now int64) {
	st := &r.stages
	if now >= st.ends {
		st.drained = time.Duration(now - r.tally.to)
		st.now = finished
		return
	}
	if now < st.nextCheck {
		return
	}
	st.nextCheck = now + drainCheckEvery
	if arrivals := r.arrivals(); arrivals != st.arrivals {
		st.arrivals, st.lastArrival = arrivals, now
		return
	}
	if now-st.lastArrival < quiet || !r.complete() {
		return
	}
	st.drained = time.Duration(st.lastArrival - r.tally.to)
	st.now = finished
}

// arrivals is a number that changes with every arrival.
func (r *run) arrivals() int {
	n := 0
	for _, s := range r.senders {
		n += s.succeeded + s.refused + s.stray
	}
	for _, d := range r.devices {
		n += d.stream.distinct + d.stream.repeated + d.stream.misrouted + d.stream.corrupt + d.stream.foreign
	}
	return n
}

// complete says whether nothing is due any more.
func (r *run) complete() bool {
	for _, s := range r.senders {
		if s.onWay > 0 {
			return false
		}
	}
	for _, d := range r.devices {
		if !d.complete() {
			return false
		}
	}
	return true
}
