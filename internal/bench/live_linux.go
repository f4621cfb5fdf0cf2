package bench

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// glimpse is what a sender's window had at a time.
type glimpse struct {
	at           time.Duration
	acknowledged int
}

// beside has the devices come back beside the live senders, if there are any.
func (c *catchUp) beside(ctx context.Context) error {
	if c.o.Live == nil {
		return c.comeBack(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	live := *c.o.Live
	var glimpses []glimpse // of the event loop, until it has ended
	warm := make(chan struct{})
	var done atomic.Bool
	live.Duration = 2*c.o.Timeout + c.o.Before + c.o.After
	live.Watch = func(open time.Duration, acknowledged int) bool {
		glimpses = append(glimpses, glimpse{open, acknowledged})
		if open >= c.o.Before && warm != nil {
			close(warm)
			warm = nil
		}
		return done.Load()
	}
	ready := warm
	type outcome struct {
		report *Report
		err    error
	}
	ended := make(chan outcome, 1)
	go func() {
		report, err := Send(ctx, live)
		ended <- outcome{report, err}
	}()
	select {
	case <-ready:
	case o := <-ended:
		return errors.Join(errors.New("the live senders ended first"), o.err)
	}
	began := time.Now()
	err := c.comeBack(ctx)
	took := time.Since(began)
	if err == nil {
		err = wait(ctx, c.o.After)
	}
	done.Store(true)
	if err != nil {
		cancel()
	}
	o := <-ended
	if err := errors.Join(err, o.err); err != nil {
		return err
	}
	from := c.o.Before
	for _, g := range glimpses { // the one that said go
		if g.at >= c.o.Before {
			from = g.at
			break
		}
	}
	to := from + took
	l := &LiveRun{From: from.Seconds(), To: to.Seconds(), Report: o.report}
	end := glimpses[len(glimpses)-1].at
	l.Before, l.During, l.After = rateOf(glimpses, 0, from), rateOf(glimpses, from, to), rateOf(glimpses, to, end)
	l.Report.Load.Duration = end.Seconds() // it was to go on until it is told to end
	l.Share = Share(l.During, l.Before)
	c.report.Live = l
	return nil
}

// rateOf is messages per second between two times, by what lies nearest around them
// in a straight line.
func rateOf(glimpses []glimpse, from, to time.Duration) float64 {
	if to <= from {
		return 0
	}
	return (acknowledgedBy(glimpses, to) - acknowledgedBy(glimpses, from)) / (to - from).Seconds()
}

func acknowledgedBy(glimpses []glimpse, at time.Duration) float64 {
	before := glimpse{}
	for _, g := range glimpses {
		if g.at >= at {
			if g.at == before.at {
				return float64(g.acknowledged)
			}
			part := float64(at-before.at) / float64(g.at-before.at)
			return float64(before.acknowledged) + part*float64(g.acknowledged-before.acknowledged)
		}
		before = g
	}
	return float64(before.acknowledged)
}
