package bench

import "math/bits"

// bitset marks message counters. It grows with the highest one.
type bitset []uint64

// add marks counter and reports whether it was not marked before.
func (b *bitset) add(counter uint32) bool {
	word, bit := int(counter/64), uint64(1)<<(counter%64)
	for word >= len(*b) {
		*b = append(*b, 0)
	}
	if (*b)[word]&bit != 0 {
		return false
	}
	(*b)[word] |= bit
	return true
}

// countMissingFrom counts what b has and other lacks.
func (b bitset) countMissingFrom(other bitset) int {
	missing := 0
	for i, word := range b {
		if i < len(other) {
			word &^= other[i]
		}
		missing += bits.OnesCount64(word)
	}
	return missing
}

// stream is what one device has got from its sender, and what was wrong with it.
type stream struct {
	seen     bitset
	distinct int
	// ahead is one above the highest counter so far.
	ahead uint32

	repeated  int
	reordered int
	// misrouted belongs to another recipient, corrupt has no readable stamp or
	// other padding than was sent, foreign is from another run.
	misrouted, corrupt, foreign int
}

// observe takes the next counter in the order of arrival. A repeat is not also
// counted as out of order.
func (s *stream) observe(counter uint32) {
	if !s.seen.add(counter) {
		s.repeated++
		return
	}
	s.distinct++
	if counter < s.ahead {
		s.reordered++
		return
	}
	s.ahead = counter + 1
}
