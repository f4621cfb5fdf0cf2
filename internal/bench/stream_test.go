package bench

import (
	"testing"

	"pgregory.net/rapid"
)

func TestStreamCounts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		arrivals                      []uint32
		distinct, repeated, reordered int
	}{
		"in order":             {[]uint32{0, 1, 2, 200}, 4, 0, 0},
		"a gap is no disorder": {[]uint32{0, 2, 3}, 3, 0, 0},
		"swapped":              {[]uint32{1, 0, 2}, 3, 0, 1},
		"one late by far":      {[]uint32{1, 2, 3, 0}, 4, 0, 1},
		"one early by far":     {[]uint32{3, 0, 1, 2}, 4, 0, 3},
		"repeated at once":     {[]uint32{0, 0, 1}, 2, 1, 0},
		"repeated later":       {[]uint32{0, 1, 2, 0, 1, 2}, 3, 3, 0},
	} {
		var s stream
		for _, counter := range test.arrivals {
			s.observe(counter)
		}
		if s.distinct != test.distinct || s.repeated != test.repeated || s.reordered != test.reordered {
			t.Errorf("%s: %d distinct, %d repeated, %d reordered", name, s.distinct, s.repeated, s.reordered)
		}
	}
}

func TestMissingIsWhatWasAcknowledgedAndNotSeen(t *testing.T) {
	t.Parallel()
	counters := rapid.SliceOf(rapid.Uint32Range(0, 2000))
	rapid.Check(t, func(t *rapid.T) {
		var acknowledged, seen bitset
		inSeen, missing := map[uint32]bool{}, map[uint32]bool{}
		for _, c := range counters.Draw(t, "seen") {
			seen.add(c)
			inSeen[c] = true
		}
		for _, c := range counters.Draw(t, "acknowledged") {
			acknowledged.add(c)
			if !inSeen[c] {
				missing[c] = true
			}
		}
		if got := acknowledged.countMissingFrom(seen); got != len(missing) {
			t.Fatalf("%d missing, want %d", got, len(missing))
		}
	})
}
