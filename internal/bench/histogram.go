package bench

import (
	"math"
	"math/bits"
	"time"
)

// subBuckets is the number of linear steps in each power of two: values are
// kept to better than 1 %.
const (
	subBucketBits = 7
	subBuckets    = 1 << subBucketBits
)

// histogram counts durations in buckets that grow with the value, in the manner
// of HdrHistogram (Tene). The zero value is empty and ready; it is not safe for
// concurrent use.
type histogram struct {
	counts [(64 - subBucketBits + 1) * subBuckets]uint64
	total  uint64
	max    uint64
}

// record counts one duration of ns nanoseconds; below zero counts as zero.
func (h *histogram) record(ns int64) {
	value := uint64(max(ns, 0))
	h.counts[bucketOf(value)]++
	h.total++
	h.max = max(h.max, value)
}

// add counts what another histogram has counted.
func (h *histogram) add(other *histogram) {
	for bucket, count := range other.counts {
		h.counts[bucket] += count
	}
	h.total += other.total
	h.max = max(h.max, other.max)
}

// bucketOf is exact below subBuckets, then keeps the leading subBucketBits+1
// bits of the value.
func bucketOf(value uint64) int {
	if value < subBuckets {
		return int(value)
	}
	shift := bits.Len64(value) - subBucketBits - 1
	return (shift+1)*subBuckets + int(value>>shift) - subBuckets
}

// upperBound is the highest value that falls into a bucket.
func upperBound(bucket int) uint64 {
	if bucket < subBuckets {
		return uint64(bucket)
	}
	shift := bucket/subBuckets - 1
	return (uint64(bucket%subBuckets+subBuckets)+1)<<shift - 1
}

// quantile is the duration that a share q (0 to 1) of all values does not
// exceed, or 0 if there are none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := max(uint64(math.Ceil(q*float64(h.total))), 1)
	var seen uint64
	for bucket, count := range h.counts {
		seen += count
		if count > 0 && seen >= rank {
			return time.Duration(min(upperBound(bucket), h.max))
		}
	}
	return 0
}

// latency sums the histogram up for a report.
func (h *histogram) latency() Latency {
	ms := func(d time.Duration) float64 { return float64(d.Round(time.Microsecond)) / float64(time.Millisecond) }
	return Latency{
		Count: h.total,
		P50:   ms(h.quantile(0.50)),
		P90:   ms(h.quantile(0.90)),
		P99:   ms(h.quantile(0.99)),
		P999:  ms(h.quantile(0.999)),
		Max:   ms(time.Duration(h.max)),
	}
}
