package api

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"postbox"
)

// Rates bounds how many requests a user makes, over all edges together. A nil
// Rates bounds nothing. Its method may be called from any goroutine.
type Rates struct {
	rate  rate.Limit
	burst int

	mu    sync.Mutex // guards users and swept
	users map[postbox.UserID]*rate.Limiter
	swept time.Time
}

// sweepEvery is how often those are forgotten who have not asked lately.
const sweepEvery = time.Minute

// NewRates bounds requests to so many per user and second, and to as many at
// once; zero: no bound.
func NewRates(perSecond int) *Rates {
	if perSecond == 0 {
		return nil
	}
	return &Rates{rate: rate.Limit(perSecond), burst: perSecond, users: make(map[postbox.UserID]*rate.Limiter)}
}

// Take counts one request at now. Zero means that it may go on; else it is not
// counted, and may be made again after what is returned.
func (r *Rates) Take(user postbox.UserID, now time.Time) time.Duration {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.swept) > sweepEvery {
		for u, l := range r.users {
			if l.TokensAt(now) >= float64(r.burst) {
				delete(r.users, u)
			}
		}
		r.swept = now
	}
	l := r.users[user]
	if l == nil {
		l = rate.NewLimiter(r.rate, r.burst)
		r.users[user] = l
	}
	taken := l.ReserveN(now, 1)
	wait := taken.DelayFrom(now)
	if wait > 0 {
		taken.CancelAt(now)
	}
	return wait
}
