package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// offer is something that is done at a rate, whether it is answered in time or not.
type offer struct {
	kind    string
	rate    float64 // a second
	workers int
	// What is due in duration, after warmUp, is measured.
	warmUp, duration time.Duration
}

// run does the work number n when it is due. What is late since all workers are busy
// counts from when it was due, too. work says what was wrong; an error ends all.
func (o offer) run(ctx context.Context, work func(ctx context.Context, worker, n int) (wrong string, err error)) (*Part, error) {
	p := &Part{Kind: o.kind, Offered: o.rate}
	var mu sync.Mutex // guards p, took and end
	var took histogram
	var next atomic.Int64
	begin := time.Now()
	from, to := begin.Add(o.warmUp), begin.Add(o.warmUp+o.duration)
	end := to // when the last of it was done, if that was later
	err := eachOf(ctx, o.workers, o.workers, func(ctx context.Context, worker int) error {
		for {
			n := int(next.Add(1)) - 1
			due := begin.Add(time.Duration(float64(n) / o.rate * 1e9))
			if !due.Before(to) {
				return nil
			}
			if err := wait(ctx, time.Until(due)); err != nil {
				return err
			}
			wrong, err := work(ctx, worker, n)
			if err != nil {
				return err
			}
			mu.Lock()
			if wrong != "" {
				if p.Wrong++; p.Wrong == 1 {
					p.First = wrong
				}
			}
			if !due.Before(from) {
				now := time.Now()
				took.record(int64(now.Sub(due)))
				if now.After(end) {
					end = now
				}
			}
			mu.Unlock()
		}
	})
	p.Latency = took.latency()
	p.Done = float64(took.total) / end.Sub(from).Seconds()
	return p, err
}
