package store

import (
	"testing"
	"time"
)

// Rows that were done a moment ago are looked at again, those of long ago are not,
// and now and then everything is: the less often the longer that takes.
func TestQueueFloor(t *testing.T) {
	began := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	const step = 100 * time.Millisecond
	for _, test := range []struct {
		took           time.Duration
		fewest, atMost int // looks at the whole queue in five minutes
	}{
		{time.Millisecond, 58, 60},
		{50 * time.Millisecond, 14, 15},
		{time.Minute, 4, 5},
	} {
		var f queueFloor
		whole := 0
		for i := range 3000 {
			now, id := began.Add(time.Duration(i)*step), int64(1000+i)
			from := f.from(now)
			switch {
			case from == 0 && i < 20: // there is no floor yet
			case from == 0:
				whole++
			case from > id-10:
				t.Fatalf("%v: looks from %d, where %d was done a second ago", now, from, id-10)
			case from < id-30:
				t.Fatalf("%v: looks from %d, where %d is done", now, from, id)
			}
			f.done(from, id, test.took, now)
		}
		if whole < test.fewest || whole > test.atMost {
			t.Errorf("of looks that take %v %d were at the whole queue, want %d to %d", test.took, whole, test.fewest, test.atMost)
		}
	}
}
