package main

import "testing"

// What the environment says to Go stays, and what it says about stacks counts.
func TestWithSmallStacks(t *testing.T) {
	t.Parallel()
	for before, want := range map[string]string{
		"":                                  "adaptivestackstart=0",
		"madvdontneed=1,gctrace=1":          "madvdontneed=1,gctrace=1,adaptivestackstart=0",
		"gctrace=1,adaptivestackstart=1":    "gctrace=1,adaptivestackstart=1",
		"adaptivestackstart=0,gctrace=1":    "adaptivestackstart=0,gctrace=1",
		"notadaptivestackstart=1,gctrace=1": "notadaptivestackstart=1,gctrace=1,adaptivestackstart=0",
	} {
		if got, changed := withSmallStacks(before); got != want || changed != (want != before) {
			t.Errorf("%q becomes %q, %v; want %q", before, got, changed, want)
		}
	}
}
