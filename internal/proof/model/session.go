package model

import "time"

// truth is what is known of a fact: a connection that broke may have been
// heard or not.
type truth int

const (
	no truth = iota
	yes
	maybe
)

// session is what the server must know of a device between its connections.
type session struct {
	exists   truth
	number   int // grows with each new session
	life     time.Duration
	least    time.Duration // the shortest that the server may know: a DISCONNECT with another life may not be heard
	sub      *options      // nil: not subscribed
	subKnown bool          // false: sub may be out of date
	fresh    truth         // it has never subscribed, so it starts at the end
	// life and troubles of the world when the last connection began.
	lived, troubled int
}

// options of a subscription to the inbox.
type options struct {
	qos        byte
	noLocal    bool
	raw        bool
	identifier int
}

// position is where a device may be in its inbox: the number up to which all is
// acknowledged or spared, as the server may know it.
type position struct {
	lo    int64 // it is there at least, while the server lives
	saved int64 // it is there at least, also after a kill: seen in the database
	// hi: it is there at most, but for entries that it is spared. What was
	// acknowledged once stays so, even if the server was killed and sends it
	// again: the killed one may still have saved it.
	hi int64
	// before, when set, lets the position be beyond hi, but not beyond an entry
	// that was published after this moment: it is the end of the inbox, then.
	before time.Time
	loose  bool // by QoS 0 the cursor moves by itself: hi means nothing
	// noLocal: on the way to hi or beyond it, own entries may have been spared.
	noLocal bool
	// generation grows when the position is replaced rather than moved.
	generation int
}

// replace puts the position to where a subscription says.
func (p *position) replace(at int64, before time.Time) {
	*p = position{lo: at, saved: at, hi: at, before: before, generation: p.generation + 1}
}

// widen allows for a replacement of which it is not known whether it was heard.
func (p *position) widen(at int64, before time.Time) {
	p.lo, p.saved, p.hi = min(p.lo, at), min(p.saved, at), max(p.hi, at)
	if !before.IsZero() {
		p.lo, p.saved, p.before = 0, 0, before
	}
	p.generation++
}

// killed forgets what only the killed server knew.
func (p *position) killed() { p.lo = p.saved }

// raise notes that the server has got so far.
func (p *position) raise(at int64) { p.lo = max(p.lo, at) }

// advance notes that the device has acknowledged all up to a number.
func (p *position) advance(to int64) { p.hi = max(p.hi, to) }
