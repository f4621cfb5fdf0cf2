package api

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"postbox"
)

// Rates bounds how many requests a user makes, over all edges together.
type Rates = RatesOf[postbox.UserID]

// RatesOf bounds how many requests each of many makes. A nil one bounds nothing. Its
// method may be called from any goroutine.
type RatesOf[K comparable] struct {
	rate  rate.Limit
	burst int

	mu    sync.Mutex // guards known and swept
	known map[K]*rate.Limiter
	swept time.Time
}

// sweepEvery is how often those are forgotten who have not asked lately.
const sweepEvery = time.Minute

// NewRates bounds requests to so many per user and second, and to as many at
// once; zero: no bound.
func NewRates(perSecond int) *Rates {
	return NewRatesOf[postbox.UserID](perSecond, perSecond)
}

// NewRatesOf bounds requests to so many of each a second, and to a burst at once;
// zero a second: no bound.
func NewRatesOf[K comparable](perSecond, burst int) *RatesOf[K] {
	if perSecond == 0 {
		return nil
	}
	return &RatesOf[K]{rate: rate.Limit(perSecond), burst: burst, known: make(map[K]*rate.Limiter)}
}

// Take counts one request at now. Zero means that it may go on; else it is not
// counted, and may be made again after what is returned.
func (r *RatesOf[K]) Take(who K, now time.Time) time.Duration {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.swept) > sweepEvery {
		for k, l := range r.known {
			if l.TokensAt(now) >= float64(r.burst) {
				delete(r.known, k)
			}
		}
		r.swept = now
	}
	l := r.known[who]
	if l == nil {
		l = rate.NewLimiter(r.rate, r.burst)
		r.known[who] = l
	}
	taken := l.ReserveN(now, 1)
	wait := taken.DelayFrom(now)
	if wait > 0 {
		taken.CancelAt(now)
	}
	return wait
}
