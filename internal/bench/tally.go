package bench

import "math"

// openEnded is a time after every other.
const openEnded = math.MaxInt64

// tally is what all senders and devices of a run share. It belongs to the event
// loop. Times are nanoseconds since the start of the run.
type tally struct {
	// run tells this run's messages from any other's.
	run     uint32
	pace    pace
	sending bool

	// measuring is set while arrivals count; from and to bound the sending
	// times whose latencies count, to is open until the window has ended.
	measuring bool
	from, to  int64

	acknowledged, delivered int
	refused                 [256]int
	acknowledgement         histogram
	endToEnd                histogram
}

// inWindow says whether a message sent then is one that latencies are kept of.
func (t *tally) inWindow(sent int64) bool { return sent >= t.from && sent < t.to }

// acknowledgedAt counts an acknowledgement with success.
func (t *tally) acknowledgedAt(now, sent int64) {
	if t.measuring {
		t.acknowledged++
	}
	if t.inWindow(sent) {
		t.acknowledgement.record(now - sent)
	}
}

// deliveredAt counts a message's first arrival at a device.
func (t *tally) deliveredAt(now, sent int64) {
	if t.measuring {
		t.delivered++
	}
	if t.inWindow(sent) {
		t.endToEnd.record(now - sent)
	}
}
