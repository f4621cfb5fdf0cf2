package inbox

import (
	"sort"
	"time"

	"postbox"
)

// Subscription is one device on its user's mailbox: where it is, what it has
// not acknowledged, and what has been read ahead for it. The mailbox's lock
// guards its fields. Its exported methods may be called from any goroutine but
// not from an Outlet's methods.
type Subscription struct {
	hub    *Hub
	box    *mailbox
	device Device
	outlet Outlet

	started bool
	closed  bool
	cursor  postbox.InboxSeq // all up to here is acknowledged or spared
	next    postbox.InboxSeq // to be handed over next
	handed  postbox.InboxSeq // the last one that was handed over or gone past before the start
	dupUpTo postbox.InboxSeq
	born    postbox.InboxSeq // the end of the inbox when it began
	out     []outstanding    // handed over, in order, from the first that is not acknowledged
	unacked int              // of these, how many are not
	lost    postbox.Code     // news of a gap that the device must hear first
	unheard postbox.Code     // the same, until it has acknowledged that
	gaps    uint16           // told so far: each has a packet id of its own
	ahead   ahead
	marked  bool          // on the saver's list
	news    chan struct{} // of one that only waits for entries; else nil
}

type outstanding struct {
	seq postbox.InboxSeq // of a gap, that of the entry before its end
	// after is where the cursor stays meanwhile: for an entry the number below
	// it, for a gap where that begins.
	after    postbox.InboxSeq
	packetID uint16
	acked    bool
	receipt  *postbox.Receipt // to be told with the acknowledgement; mostly none
}

// Resume starts or continues delivery: after the subscription was
// acknowledged, and whenever the outlet is ready again.
func (s *Subscription) Resume() {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	s.started = true
	s.pump()
}

// Ack takes the device's acknowledgement of a delivery. It reports false when
// no delivery with that packet id is outstanding: a late or a strange one.
func (s *Subscription) Ack(packetID uint16) bool {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	i := s.find(packetID)
	if i < 0 {
		return false
	}
	s.out[i].acked = true
	s.hub.Receipts.note(s.out[i].receipt)
	s.unacked--
	s.hub.metrics.acks.Inc()
	if i == 0 {
		s.advance()
	}
	s.pump()
	return true
}

// Cursor is the highest number up to which all is acknowledged or spared.
func (s *Subscription) Cursor() postbox.InboxSeq {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	return s.cursor
}

// Unheard is the news that the device was to hear first and has not
// acknowledged; empty if there was none or it has.
func (s *Subscription) Unheard() postbox.Code {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	return s.unheard
}

// Close ends delivery; the cursor is saved soon. It is safe to call twice.
func (s *Subscription) Close() {
	s.box.mu.Lock()
	again := s.closed
	s.closed = true
	s.dropPage()
	s.box.mu.Unlock()
	if !again {
		s.hub.detach(s)
		s.hub.saver.kick()
	}
}

// find returns the index in out of the delivery with a packet id, or -1. That
// of an entry follows from its number, and what is outstanding spans less than
// all ids; gaps are few and have ids of their own.
func (s *Subscription) find(packetID uint16) int {
	if len(s.out) == 0 || packetID == 0 {
		return -1
	}
	at := 0
	if packetID > postbox.DeliveryIDs {
		for at < len(s.out) && s.out[at].packetID != packetID {
			at++
		}
	} else {
		first := s.out[0].seq
		distance := (int(packetID) - int(first.PacketID()) + postbox.DeliveryIDs) % postbox.DeliveryIDs
		want := first + postbox.InboxSeq(distance)
		at = sort.Search(len(s.out), func(i int) bool { return s.out[i].seq >= want })
	}
	if at == len(s.out) || s.out[at].packetID != packetID || s.out[at].acked {
		return -1
	}
	return at
}

// advance moves the cursor over what is acknowledged from the front.
func (s *Subscription) advance() {
	n := 0
	for n < len(s.out) && s.out[n].acked {
		if s.out[n].packetID > postbox.DeliveryIDs {
			s.heard()
		}
		n++
	}
	if n == len(s.out) {
		s.out = s.out[:0]
		if cap(s.out) > 64 {
			s.out = nil
		}
		s.moveCursor(s.next - 1)
		return
	}
	s.out = s.out[n:]
	s.moveCursor(s.out[0].after)
}

func (s *Subscription) moveCursor(to postbox.InboxSeq) {
	if to > s.cursor {
		s.cursor = to
		s.mark()
	}
}

func (s *Subscription) mark() {
	if !s.marked {
		s.marked = true
		s.hub.saver.add(s)
	}
}

// ready reports whether the device may be handed one more entry.
func (s *Subscription) ready() bool {
	return s.started && !s.closed && s.roomInWindow() && s.outlet.Ready()
}

// maxOutOfTurn bounds what a device may acknowledge ahead of a delivery that it
// has not: more is not handed over, since it would have to be remembered.
const maxOutOfTurn = 4096

// roomInWindow reports whether one more delivery may be unacknowledged. Those
// that are must have packet ids of their own, however many entries between
// them the device was spared.
func (s *Subscription) roomInWindow() bool {
	return s.device.QoS == 0 || len(s.out) == 0 ||
		s.unacked < s.device.Window && len(s.out)-s.unacked < maxOutOfTurn &&
			s.next-s.out[0].seq < postbox.DeliveryIDs
}

// awaits notes a delivery that is to be acknowledged.
func (s *Subscription) awaits(o outstanding) {
	s.out = append(s.out, o)
	s.unacked++
}

// pump hands over what is due, as far as the window, the connection and what
// is in memory go; what is not in memory is read by a goroutine.
func (s *Subscription) pump() {
	handed := false
	if s.lost != "" && s.ready() {
		s.gap(s.lost, s.next)
		s.lost, handed = "", true
	}
	for s.ready() {
		e, read := s.take()
		if e == nil {
			break
		}
		if handed = true; e.InboxSeq > s.next {
			// What is missing in between was removed by retention: the device
			// is told, and what follows is due after that.
			s.gap(postbox.CodeExpired, e.InboxSeq)
			s.putBack(e)
			continue
		}
		s.hand(e, read)
	}
	if handed {
		s.ahead.still = false
		s.outlet.Flush()
	}
	s.readOn()
}

// take returns the next entry if it is at hand, and whether it was read from the
// database.
func (s *Subscription) take() (e *postbox.Entry, read bool) {
	if e := s.fromPage(); e != nil {
		return e, true
	}
	if s.next > s.box.head {
		return nil, false
	}
	return s.box.at(s.next), false
}

func (s *Subscription) hand(e *postbox.Entry, read bool) {
	s.next = e.InboxSeq + 1
	if s.spared(e) {
		s.spare(e)
		return
	}
	d := Delivery{Entry: e, After: e.InboxSeq - 1, QoS: s.device.QoS, Dup: e.InboxSeq <= s.dupUpTo, First: e.InboxSeq > s.born}
	if s.handed != e.InboxSeq-1 {
		d.After = s.handed
	}
	if !s.outlet.Deliver(d) {
		s.spare(e)
		return
	}
	if read {
		s.hub.metrics.fromDatabase.Inc()
	} else {
		s.hub.metrics.fromMemory.Inc()
	}
	s.handed = e.InboxSeq
	if s.device.QoS > 0 {
		s.awaits(outstanding{
			seq: e.InboxSeq, after: e.InboxSeq - 1, packetID: e.InboxSeq.PacketID(), receipt: s.hub.Receipts.of(s.device.User, e),
		})
	} else {
		s.hub.Receipts.note(s.hub.Receipts.of(s.device.User, e))
		s.moveCursor(e.InboxSeq)
	}
}

// spare passes an entry that the device does without.
func (s *Subscription) spare(e *postbox.Entry) {
	s.hub.metrics.spared.Inc()
	if len(s.out) == 0 {
		s.moveCursor(e.InboxSeq)
	}
}

// spared reports whether the device does without an entry: what has expired,
// and with No Local its own message.
func (s *Subscription) spared(e *postbox.Entry) bool {
	m := e.Message
	if m == nil || e.Event != nil {
		return false
	}
	return s.device.NoLocal && e.Own && m.Device == s.device.Name ||
		!m.ExpiresAt.IsZero() && m.Expired(time.Now())
}
