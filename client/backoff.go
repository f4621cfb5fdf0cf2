package client

import (
	"math/rand/v2"
	"time"
)

// backoff is the pause before the next attempt: doubled each time, and each
// shortened by chance by up to a half, so that the clients of a restarted
// server do not all come back at once.
type backoff struct {
	least, most time.Duration
	next        time.Duration
}

func (b *backoff) reset() { b.next = b.least }

func (b *backoff) pause() time.Duration {
	d := min(max(b.next, b.least), b.most)
	b.next = min(2*d, b.most)
	return d - rand.N(d/2+1)
}
