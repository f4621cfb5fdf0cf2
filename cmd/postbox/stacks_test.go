package main

import (
	"slices"
	"testing"
)

// What the environment says to Go stays, and what it says about stacks counts.
func TestWithSmallStacks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, want []string }{
		"nothing said":    {[]string{"A=1", "B=2"}, []string{"A=1", "B=2", "GODEBUG=adaptivestackstart=0"}},
		"something else":  {[]string{"GODEBUG=madvdontneed=1,gctrace=1", "A=1"}, []string{"A=1", "GODEBUG=madvdontneed=1,gctrace=1,adaptivestackstart=0"}},
		"empty":           {[]string{"GODEBUG="}, []string{"GODEBUG=adaptivestackstart=0"}},
		"the last counts": {[]string{"GODEBUG=gctrace=1", "GODEBUG=gctrace=0"}, []string{"GODEBUG=gctrace=0,adaptivestackstart=0"}},
		"said otherwise":  {[]string{"GODEBUG=gctrace=1,adaptivestackstart=1"}, nil},
		"said already":    {[]string{"A=1", "GODEBUG=adaptivestackstart=0"}, nil},
	} {
		before := slices.Clone(c.before)
		got, changed := withSmallStacks(c.before)
		want := c.want
		if want == nil {
			want = before
		}
		if !slices.Equal(got, want) || changed != (c.want != nil) {
			t.Errorf("%s: %q, %v; want %q", name, got, changed, want)
		}
		if !slices.Equal(c.before, before) {
			t.Errorf("%s: what was given has become %q", name, c.before)
		}
	}
}
