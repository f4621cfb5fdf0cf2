package inbox

import (
	"time"

	"postbox"
)

// Bounds of gathering: it begins with so many users in two groups, and waits at most
// so long, and for a quarter of what the last commit took.
const (
	gatherUsers   = 8
	gatherMax     = time.Millisecond
	gatherLooks   = 4
	gatherLargest = 256 // drafts of a group that makes up for its commit anyway
)

// gathering makes groups of those who wait for an answer before they go on. When
// a group is answered, all of them come back within a moment; taken at once, the first
// of them would be a group, and the others the next, for ever: twice as many commits,
// each of which costs nearly as much. So a moment is waited for those who were in the
// last two groups. Where few write, or many wait already, nobody waits.
type gathering struct {
	last, before map[postbox.UserID]struct{} // users of the last two groups
	took         time.Duration               // the last commit
}

// note takes in a group that was committed.
func (g *gathering) note(group []*Draft, took time.Duration) {
	g.last, g.before, g.took = g.before, g.last, took
	clear(g.last)
	if len(group) > gatherLargest {
		return
	}
	if g.last == nil {
		g.last = make(map[postbox.UserID]struct{})
	}
	for _, d := range group {
		g.last[d.User] = struct{}{}
	}
}

// users is how many there were in the last two groups.
func (g *gathering) users() int {
	n := len(g.last)
	for u := range g.before {
		if _, both := g.last[u]; !both {
			n++
		}
	}
	return n
}

// gather waits a moment for those who are about to come back.
func (c *committer) gather() {
	users := c.gathering.users()
	if users < gatherUsers {
		return
	}
	for range gatherLooks {
		if n := c.waiting(); n == 0 || n >= users {
			return
		}
		time.Sleep(min(c.gathering.took/4, gatherMax) / gatherLooks)
	}
}

// waiting is how many drafts are in the loop's queue; none matter when the lane
// closes.
func (c *committer) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0
	case c.crowd:
		return len(c.crowded)
	}
	return len(c.queue)
}
