package hooks

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"postbox"
)

// limiters hold a rate for each user who has needed it lately. A rate of zero
// limits nobody.
type limiters struct {
	rate  rate.Limit
	burst int

	mu    sync.Mutex
	users map[postbox.UserID]*rate.Limiter
	swept time.Time
}

// sweepEvery is how often limiters that are full again are forgotten.
const sweepEvery = time.Minute

func (l *limiters) of(user postbox.UserID) *rate.Limiter {
	if l.rate == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == nil {
		l.users = make(map[postbox.UserID]*rate.Limiter)
	}
	if now := time.Now(); now.Sub(l.swept) > sweepEvery {
		for u, r := range l.users {
			if r.Tokens() >= float64(l.burst) {
				delete(l.users, u)
			}
		}
		l.swept = now
	}
	r := l.users[user]
	if r == nil {
		r = rate.NewLimiter(l.rate, l.burst)
		l.users[user] = r
	}
	return r
}

// await waits until the user may publish, and counts that as a publish. It
// refuses at once, and counts nothing, when that would take longer than patience
// or ctx allows.
func (l *limiters) await(ctx context.Context, user postbox.UserID, patience time.Duration) error {
	r := l.of(user)
	if r == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.Wait(ctx); err != nil {
		return postbox.Errorf(postbox.CodeRateLimited, "the user publishes too fast: try again later")
	}
	return nil
}

// throttle makes a user's connection read more slowly while the user publishes
// faster than allowed. It says whether it had to.
func (c *client) throttle() bool {
	r := c.hook.limiters.of(c.who.ID)
	if r == nil {
		return false
	}
	pause := r.Reserve().Delay()
	if pause <= 0 {
		return false
	}
	c.hook.metrics.pause(pause)
	c.wait(pause)
	return true
}
