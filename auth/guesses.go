package auth

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"postbox"
)

// How fast wrong passwords may come (docs/spec.md §8). Nobody is locked out: who
// comes while others of the address guess waits, and is told to come again when
// that would take too long.
const (
	userBurst     = 10              // wrong passwords for one user from one address at once
	userPause     = 2 * time.Second // then one in so long
	addressBurst  = 50              // for all users from one address at once
	addressPause  = 200 * time.Millisecond
	guessPatience = 5 * time.Second // the longest wait
	maxGuessers   = 100_000         // users and addresses that are remembered
)

// Origin is where a password comes from. The zero Origin is not slowed.
type Origin struct {
	User    string // the name given, whether there is such a user or not
	Address string // an IP address
}

// guesses slows wrong passwords.
type guesses struct {
	now func() time.Time

	mu    sync.Mutex // guards the fields below
	swept time.Time
	// all is when each origin will have nothing left of what it has used up: its
	// next turn is a burst before that.
	all map[Origin]time.Time
}

// keys are what an origin counts for. An IPv6 address stands for its /64: that
// much is one customer's.
func (o Origin) keys() [2]Origin {
	if a, err := netip.ParseAddr(o.Address); err == nil && a.Is6() && !a.Is4In6() {
		o.Address = netip.PrefixFrom(a.WithZone(""), 64).Masked().String()
	}
	return [2]Origin{o, {Address: o.Address}}
}

func (o Origin) rate() (burst int, pause time.Duration) {
	if o.User == "" {
		return addressBurst, addressPause
	}
	return userBurst, userPause
}

// wait is for how long a password of an origin must wait now.
func (g *guesses) wait(o Origin) (wait time.Duration) {
	if o.Address == "" {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	for _, k := range o.keys() {
		burst, pause := k.rate()
		if at, ok := g.all[k]; ok {
			wait = max(wait, at.Sub(now)-time.Duration(burst-1)*pause)
		}
	}
	return wait
}

// failed counts a wrong password.
func (g *guesses) failed(o Origin) {
	if o.Address == "" {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.sweep(now)
	for _, k := range o.keys() {
		_, pause := k.rate()
		at := g.all[k]
		if at.Before(now) {
			at = now
		}
		g.all[k] = at.Add(pause)
	}
}

// await waits until a password of an origin may be checked. What would take
// longer than until, or than ctx has, is ErrRateLimited at once.
func (g *guesses) await(ctx context.Context, o Origin, until time.Time) error {
	wait := g.wait(o)
	if wait <= 0 {
		return nil
	}
	if end, bounded := ctx.Deadline(); bounded && end.Before(until) {
		until = end
	}
	if g.now().Add(wait).After(until) {
		return errTooManyGuesses
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errTooManyGuesses
	}
}

var errTooManyGuesses = postbox.Errorf(postbox.CodeRateLimited, "too many wrong passwords came from this address: try again later")

// sweep forgets, when there are many and it has not looked lately, who has
// nothing left to wait for; if there still are as many, somebody.
func (g *guesses) sweep(now time.Time) {
	if len(g.all) < maxGuessers {
		return
	}
	if now.Sub(g.swept) > time.Minute {
		g.swept = now
		for k, at := range g.all {
			if !at.After(now) {
				delete(g.all, k)
			}
		}
	}
	for k := range g.all {
		if len(g.all) <= maxGuessers-2 {
			break
		}
		delete(g.all, k)
	}
}
