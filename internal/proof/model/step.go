package model

import "math/rand/v2"

// kind is what a step does.
type kind int

const (
	sendStep     kind = iota // publish a few messages
	keyStep                  // publish under a key that was used before
	againStep                // re-send on the same connection, as 3.1.1 allows
	ackStep                  // acknowledge some deliveries
	releaseStep              // send PUBREL for what was received
	pingStep                 // PINGREQ
	subStep                  // subscribe, also again or at a position
	unsubStep                // unsubscribe
	connectStep              // connect, also in place of a connection that lives
	cutStep                  // break the connection
	leaveStep                // DISCONNECT
	freezeStep               // stop reading
	thawStep                 // read on
	stallStep                // hold all commits for a moment, or let them go
	killStep                 // kill -9 of the server, and start it again
	crashStep                // kill -9 of a backend of PostgreSQL: all of it starts again
	postgresStep             // end the postmaster: immediate shutdown, or kill -9
	expireStep               // remove the oldest entries of an inbox, as retention does
	calmStep                 // wait until everything sent is answered
	kinds
)

// weights say how often each kind comes, out of 1,000 steps.
var weights = [kinds]int{
	sendStep: 330, keyStep: 55, againStep: 25, ackStep: 130, releaseStep: 40, pingStep: 45,
	subStep: 75, unsubStep: 18, connectStep: 105, cutStep: 55, leaveStep: 35, freezeStep: 33, thawStep: 16,
	stallStep: 12, killStep: 14, crashStep: 3, postgresStep: 1, expireStep: 12, calmStep: 3,
}

// step is one decision. What it means depends on where the run is, but the
// decision does not: a seed makes the same ones again.
type step struct {
	kind kind
	who  int    // the device
	seed uint64 // of all that is decided on the way
}

func (s step) rand() *rand.Rand { return rand.New(rand.NewPCG(s.seed, 1)) }

// ofDevice reports whether a device carries the step out, rather than the run.
func (s step) ofDevice() bool { return s.kind < stallStep }

// steps makes the steps of a seed.
type steps struct {
	random *rand.Rand
	total  int
}

func newSteps(seed uint64) *steps {
	g := &steps{random: rand.New(rand.NewPCG(seed, 0))}
	for _, w := range weights {
		g.total += w
	}
	return g
}

func (g *steps) next(devices int) step {
	s := step{who: g.random.IntN(devices), seed: g.random.Uint64()}
	n := g.random.IntN(g.total)
	for k, w := range weights {
		if n -= w; n < 0 {
			s.kind = kind(k)
			break
		}
	}
	return s
}
