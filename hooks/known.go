package hooks

import (
	"bytes"

	"postbox"
)

// knowledge is what a client has shown to know of its own acknowledged
// publishes: who acknowledges a delivery has read every packet before it, and
// will not send again what those acknowledged. Message ids grow with time, so
// one id says how far.
type knowledge struct {
	upTo     postbox.MessageID // the client knows
	answered postbox.MessageID // acknowledged to the client

	// A delivery that was sent after the acknowledgement of `behind`, for the
	// first time: what comes for another may be a late acknowledgement, which
	// was on its way before the client had read that of `behind`.
	witness uint16
	behind  postbox.MessageID
}

// covers reports whether the client knows that a message was stored.
func (k *knowledge) covers(id postbox.MessageID) bool { return bytes.Compare(id[:], k.upTo[:]) <= 0 }

// answers notes that the acknowledgement of a message is on its way.
func (s *sentRecords) answers(id postbox.MessageID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Compare(id[:], s.known.answered[:]) > 0 {
		s.known.answered = id
	}
}

// delivers notes that a delivery is on its way, behind all that was answered.
func (s *sentRecords) delivers(packetID uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := &s.known; k.witness == 0 && k.answered != k.upTo {
		k.witness, k.behind = packetID, k.answered
	}
}

// confirmed notes that the client has acknowledged a delivery.
func (s *sentRecords) confirmed(packetID uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := &s.known; k.witness == packetID && packetID != 0 {
		k.witness = 0
		if !k.covers(k.behind) {
			k.upTo = k.behind
		}
	}
}

// knows is what the session keeps of it.
func (s *sentRecords) knows() postbox.MessageID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known.upTo
}
