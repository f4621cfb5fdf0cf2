package bench

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBucketHoldsItsValues(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Uint64().Draw(t, "value") >> rapid.IntRange(0, 63).Draw(t, "shift")
		bucket := bucketOf(value)
		if upper := upperBound(bucket); value > upper || float64(upper-value) > 0.01*float64(value) {
			t.Fatalf("%d is in a bucket up to %d", value, upper)
		}
		if bucket > 0 && upperBound(bucket-1) >= value {
			t.Fatalf("%d is also in the bucket below", value)
		}
	})
	if last := bucketOf(math.MaxUint64); last != len(histogram{}.counts)-1 {
		t.Errorf("the last bucket is %d of %d", last, len(histogram{}.counts))
	}
}

func TestQuantilesAreThoseOfTheSortedValues(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Minute)), 1, 300).Draw(t, "values")
		var h histogram
		for _, value := range values {
			h.record(value)
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
			exact := float64(values[max(int(math.Ceil(q*float64(len(values))))-1, 0)])
			got := float64(h.quantile(q))
			if got < exact || got > 1.01*exact {
				t.Fatalf("quantile %g is %g, want %g", q, got, exact)
			}
		}
	})
}

func TestLatencyIsInMilliseconds(t *testing.T) {
	t.Parallel()
	var h histogram
	if got := h.latency(); got != (Latency{}) {
		t.Errorf("of nothing: %+v", got)
	}
	for range 999 {
		h.record(int64(2 * time.Millisecond))
	}
	h.record(int64(time.Second))
	got := h.latency()
	if got.Count != 1000 || got.Max != 1000 || got.P50 < 2 || got.P50 > 2.02 || got.P999 > 2.02 {
		t.Errorf("got %+v", got)
	}
}
