package proof

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Ages collects how old the messages of a Source are when a device reads them.
// All methods are safe for concurrent use.
type Ages struct {
	mu  sync.Mutex
	all []time.Duration
}

// Add takes a delivery in envelope form; use it as a Device's Each.
func (g *Ages) Add(a Arrival) {
	_, body, ok := bytes.Cut(a.Body, []byte(`"body":"`))
	if !ok {
		return
	}
	if age, ok := ageOf(string(body[:min(len(body), 100)])); ok {
		g.mu.Lock()
		g.all = append(g.all, age)
		g.mu.Unlock()
	}
}

// Take returns what was collected since the last call.
func (g *Ages) Take() []time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.all
	g.all = nil
	return all
}

// ageOf is how old a message of a Source is.
func ageOf(body string) (time.Duration, bool) {
	words := strings.SplitN(body, " ", 4)
	if len(words) < 4 {
		return 0, false
	}
	at, err := strconv.ParseInt(words[2], 10, 64)
	return time.Since(time.Unix(0, at)), err == nil
}

// percentile returns the delay that p percent of all do not exceed.
func percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*p/100))]
}

// Delays are those of everybody whom somebody else's trouble must not touch,
// by what was measured.
type Delays map[string][]time.Duration

// disturbed reports what took longer than before: its 99th percentile is over
// three times that of before and 100 ms.
func (d Delays) disturbed(t testing.TB, before Delays) bool {
	t.Helper()
	bad := false
	for what, all := range d {
		was, is := percentile(before[what], 99), percentile(all, 99)
		limit := 3*was + 100*time.Millisecond
		t.Logf("%s: p99 of %d was %v, is %v of %d", what, len(before[what]), was.Round(10*time.Microsecond), is.Round(10*time.Microsecond), len(all))
		if len(all) < len(before[what])/3 || is > limit {
			bad = true
		}
	}
	return bad
}

// undisturbed measures with trouble, up to three times: a busy machine has its
// moments, but what really disturbs does so each time.
func undisturbed(t testing.TB, before Delays, measure func() Delays) {
	t.Helper()
	for range 3 {
		if !measure().disturbed(t, before) {
			return
		}
	}
	t.Errorf("others notice the trouble")
}
