package inbox

import (
	"context"
	"time"

	"postbox"
)

// Pressed is how many drafts wait for their commit, or are in it, when senders are
// slowed down by what else goes on. A thousand messages a second are three or
// four of them at any moment; fifty senders that wait for each acknowledgement
// are as many as that.
const Pressed = 16

// Bounds of how catching up gives way to those who send.
const (
	// giveWay is for how long a reader rests, in times of what it took for a page, and
	// maxRest the most, for a lane as well: what took long waited for something else.
	giveWay = 5
	maxRest = 250 * time.Millisecond
	// nearly is how far behind a device may be to which that does not apply: it reads
	// one page, and does not wait for those who rest.
	nearly = firstPage
	// growthOver is the time over which the growth of an inbox is averaged: what comes,
	// comes in groups.
	growthOver = 200 * time.Millisecond
)

// rest waits after a commit for as long as it is asked to, a quarter of a second at
// most. What is submitted meanwhile comes in one group.
func (c *committer) rest(ctx context.Context, took time.Duration) {
	if c.o.Rest == nil {
		return
	}
	if d := min(c.o.Rest(took), maxRest); d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
}

// pace is how a device catches up with an inbox that may grow meanwhile.
type pace struct {
	at     time.Time        // of the last page
	head   postbox.InboxSeq // then
	growth float64          // entries per second that come in
	rested time.Duration    // after the last page
}

// slack is how long may be rested after a page of n entries, so that twice as much is
// read as comes in. head is the end of the inbox when it was asked for, now when it
// was there.
func (p *pace) slack(now time.Time, head postbox.InboxSeq, n int) time.Duration {
	cycle, grown, rested := now.Sub(p.at), max(0, head-p.head), p.rested
	first := p.at.IsZero()
	p.at, p.head, p.rested = now, head, 0
	switch {
	case n == 0:
		return 0
	case first || cycle <= 0:
		return maxRest
	}
	weight := min(1, cycle.Seconds()/growthOver.Seconds())
	p.growth += weight * (float64(grown)/cycle.Seconds() - p.growth)
	slack := float64(n)/(2*p.growth) - (cycle - rested).Seconds() // +Inf where nothing comes
	return time.Duration(min(slack, maxRest.Seconds()) * float64(time.Second))
}

// rest leaves a slot of those who read much unused for a while, after a page of n
// entries that took so long. Where senders wait, what devices have missed comes in a
// share of the time, so that most of it is theirs; a device whose inbox grows comes
// nearer to its end all the same.
func (s *Subscription) rest(took time.Duration, head postbox.InboxSeq, n int) {
	p, h := &s.ahead.pace, s.hub
	rest := min(giveWay*took, p.slack(time.Now(), head, n))
	if rest <= 0 || h.Waiting == nil || h.Waiting() < Pressed {
		return
	}
	h.metrics.rests.Inc()
	p.rested = rest
	h.pause(rest)
}
