package bench

import (
	"fmt"
	"math/bits"
)

// slot holds one publish on its way. Packet ids count up and lie in the slot of
// their low bits; an id whose slot is still taken is left out.
type slot struct {
	id      uint16
	taken   bool
	counter uint32
	sent    int64
}

// sender publishes to one recipient and takes the acknowledgements.
type sender struct {
	conn
	index int
	tally *tally

	// packet is the next publish but for its id and stamp.
	template     []byte
	idAt, bodyAt int
	slots        []slot
	nextID       uint16
	onWay        int
	window       int

	// next is the counter of the next message.
	next uint32
	// acknowledged holds the counters that were answered with success.
	acknowledged bitset
	succeeded    int
	refused      int
	stray        int
}

// setWindow makes room for so many publishes on their way.
func (s *sender) setWindow(window int) {
	s.window = window
	s.slots = make([]slot, 1<<bits.Len(uint(window-1)))
}

// publish puts the next message into the output, stamped with sent. There must
// be room in the window.
func (s *sender) publish(sent int64) {
	mask := uint16(len(s.slots) - 1)
	for {
		s.nextID++
		if s.nextID != 0 && !s.slots[s.nextID&mask].taken {
			break
		}
	}
	s.slots[s.nextID&mask] = slot{id: s.nextID, taken: true, counter: s.next, sent: sent}
	s.onWay++

	at := len(s.out)
	s.out = append(s.out, s.template...)
	packet := s.out[at:]
	packet[s.idAt], packet[s.idAt+1] = byte(s.nextID>>8), byte(s.nextID)
	stamp{run: s.tally.run, sender: uint16(s.index), counter: s.next, sent: sent}.put(packet[s.bodyAt:])
	s.next++
}

// packet takes acknowledgements.
func (s *sender) packet(header byte, body []byte, now int64) error {
	switch header & typeMask {
	case typePuback:
	case typePingresp:
		return nil
	default:
		return unexpected(header, body)
	}
	id, reason, err := parsePuback(body)
	if err != nil {
		return err
	}
	slot := &s.slots[id&uint16(len(s.slots)-1)]
	if !slot.taken || slot.id != id {
		s.stray++
		return nil
	}
	slot.taken = false
	s.onWay--
	if reason >= 0x80 {
		s.refused++
		s.tally.refused[reason]++
		return nil
	}
	s.acknowledged.add(slot.counter)
	s.succeeded++
	s.tally.acknowledgedAt(now, slot.sent)
	return nil
}

// batchEnd sends what the acknowledgements have made room for.
func (s *sender) batchEnd(now int64) error {
	s.fill(now)
	return s.flush(now)
}

// fill publishes all that is due and has room. What is paced and had to wait
// for room carries the time at which it was due, so that waiting for a slow
// broker shows in the latencies.
func (s *sender) fill(now int64) {
	if !s.tally.sending {
		return
	}
	pace := &s.tally.pace
	for s.onWay < s.window {
		if pace.unlimited() {
			s.publish(now)
			continue
		}
		if s.next >= pace.releasedTo(s.index) {
			return
		}
		s.publish(pace.due(s.index, s.next))
	}
}

// release sends a paced message at its time, if there is room.
func (s *sender) release(now int64) error {
	if s.onWay >= s.window {
		return nil
	}
	s.publish(now)
	if err := s.flush(now); err != nil {
		return fmt.Errorf("%s (%s): write: %w", s.clientID, s.user, err)
	}
	return nil
}
