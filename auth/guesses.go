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

// How fast an address may make accounts for itself.
const (
	registerBurst = 50
	registerPause = 10 * time.Second
)

// guesses slows wrong passwords, or registrations.
type guesses struct {
	now     func() time.Time
	rate    func(Origin) (burst int, pause time.Duration)
	refusal error // to who would have to wait for too long

	mu    sync.Mutex // guards the fields below
	swept time.Time
	// all is when each origin will have nothing left of what it has used up: its
	// next turn is a burst before that.
	all map[Origin]time.Time
}

// Customer is whom an IP address stands for: an IPv6 address for its /64, which is
// one customer's.
func Customer(address string) string {
	if a, err := netip.ParseAddr(address); err == nil && a.Is6() && !a.Is4In6() {
		return netip.PrefixFrom(a.WithZone(""), 64).Masked().String()
	}
	return address
}

// keys are what an origin counts for.
func (o Origin) keys() []Origin {
	o.Address = Customer(o.Address)
	if o.User == "" {
		return []Origin{o}
	}
	return []Origin{o, {Address: o.Address}}
}

func wrongPasswords(now func() time.Time) guesses {
	return guesses{now: now, refusal: errTooManyGuesses, all: make(map[Origin]time.Time), rate: func(o Origin) (int, time.Duration) {
		if o.User == "" {
			return addressBurst, addressPause
		}
		return userBurst, userPause
	}}
}

// registrations count for addresses alone.
func registrations(now func() time.Time) guesses {
	return guesses{now: now, refusal: errTooManyAccounts, all: make(map[Origin]time.Time), rate: func(Origin) (int, time.Duration) {
		return registerBurst, registerPause
	}}
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
		burst, pause := g.rate(k)
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
		_, pause := g.rate(k)
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
		return g.refusal
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return g.refusal
	}
}

var errTooManyAccounts = postbox.Errorf(postbox.CodeRateLimited, "too many accounts were made from this address: try again later")

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
