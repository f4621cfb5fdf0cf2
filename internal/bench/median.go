package bench

import "slices"

// Median is the middle value, or the mean of the two in the middle; there must be
// one.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// Share is a/b; of nothing there is no share, and 0 can be written as JSON.
func Share(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
