package broker

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// arrivals bound how fast one address may open connections. What is above is
// closed before anything is made for it: a storm of connections that are reset at
// once is cheap for who makes it.
type arrivals struct {
	rate int // a second, in bursts of ten times as many; zero: no limit

	mu    sync.Mutex // guards the fields below
	hosts map[string]*rate.Limiter
	swept time.Time
}

// allow counts a connection of an address, or says that it is one too many.
func (a *arrivals) allow(host string) bool {
	if a.rate == 0 {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	burst := 10 * a.rate
	if now := time.Now(); now.Sub(a.swept) > time.Minute {
		for h, l := range a.hosts {
			if l.Tokens() >= float64(burst) {
				delete(a.hosts, h)
			}
		}
		a.swept = now
	}
	l := a.hosts[host]
	if l == nil {
		if a.hosts == nil {
			a.hosts = make(map[string]*rate.Limiter)
		}
		l = rate.NewLimiter(rate.Limit(a.rate), burst)
		a.hosts[host] = l
	}
	return l.Allow()
}
