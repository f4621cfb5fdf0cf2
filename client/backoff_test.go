package client

import (
	"testing"
	"time"
)

func TestBackoffGrowsToItsBoundAndIsSpread(t *testing.T) {
	t.Parallel()
	b := backoff{least: 100 * time.Millisecond, most: time.Second}
	for range 2 {
		seen := make(map[time.Duration]bool)
		for _, full := range []time.Duration{100, 200, 400, 800, 1000, 1000, 1000, 1000} {
			full *= time.Millisecond
			d := b.pause()
			if d < full/2 || d > full {
				t.Errorf("pause %s, want between %s and %s", d, full/2, full)
			}
			seen[full-d] = true
		}
		if len(seen) < 3 {
			t.Errorf("the pauses are not spread: %v", seen)
		}
		b.reset()
	}
}
