package broker_test

import (
	"context"
	"sync"
	"testing"
)

// sharedWorld marks a test as parallel and returns the server that all tests
// share which only bring users of their own: they must not restart it, hold its
// commits, or touch rows of others.
func sharedWorld(t *testing.T) *world {
	t.Helper()
	w := *common.enter(t)
	w.t = t
	t.Parallel() // after enter: it is there until the last of them has ended
	return &w
}

var common commonWorld

// commonWorld lives from its first user to its last.
type commonWorld struct {
	mu    sync.Mutex // guards the fields below
	users int
	world *world
	life  *lifetime
}

func (c *commonWorld) enter(t *testing.T) *world {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.world == nil {
		c.life = &lifetime{TB: t}
		c.world = newWorld(c.life)
	}
	c.users++
	t.Cleanup(func() { c.leave(t) })
	return c.world
}

func (c *commonWorld) leave(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users--; c.users == 0 {
		c.life.end(t)
		c.world, c.life = nil, nil
	}
}

// lifetime is a test that ends when it is told to.
type lifetime struct {
	testing.TB // the test that runs
	cleanups   []func()
}

// Cleanup keeps f for the end.
func (l *lifetime) Cleanup(f func()) { l.cleanups = append(l.cleanups, f) }

// Context outlives the test that runs.
func (l *lifetime) Context() context.Context { return context.Background() }

func (l *lifetime) end(t *testing.T) {
	l.TB = t
	for i := len(l.cleanups) - 1; i >= 0; i-- {
		l.cleanups[i]()
	}
}
