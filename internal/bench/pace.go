package bench

// pace is the timetable of a paced run: message m of all, counted from 0, is
// sent by sender m modulo senders at m/rate seconds. The zero value, but for
// senders, has no limit.
type pace struct {
	senders int
	// rate is messages per second of all senders.
	rate float64
	// released is how many messages' time has come.
	released int
}

func (p *pace) unlimited() bool { return p.rate == 0 }

// dueOf is when a message's time comes, in nanoseconds.
func (p *pace) dueOf(message int) int64 { return int64(float64(message) / p.rate * 1e9) }

// due is when the time of a sender's message with the given counter comes.
func (p *pace) due(sender int, counter uint32) int64 {
	return p.dueOf(int(counter)*p.senders + sender)
}

// next is when the next message's time comes.
func (p *pace) next() int64 { return p.dueOf(p.released) }

// releasedTo is the counter of the sender's first message whose time is still
// to come.
func (p *pace) releasedTo(sender int) uint32 {
	return uint32((p.released + p.senders - 1 - sender) / p.senders)
}
