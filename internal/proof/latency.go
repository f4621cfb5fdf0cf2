package proof

import (
	"bytes"
	"errors"
	"os"
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

// theDisk is what a Delays holds of the machine itself.
const theDisk = "the disk by itself"

// besideTheDisk measures, and how long the disk takes meanwhile for somebody who
// has nothing to do with the server.
func besideTheDisk(t testing.TB, measure func() Delays) Delays {
	t.Helper()
	stop := make(chan struct{})
	probed := make(chan []time.Duration)
	go func() { probed <- probeDisk(t, stop) }()
	d := measure()
	close(stop)
	d[theDisk] = <-probed
	return d
}

// probeDisk writes a block and waits for it to be on the disk, 50 times a second.
func probeDisk(t testing.TB, stop <-chan struct{}) (all []time.Duration) {
	f, err := os.CreateTemp(t.TempDir(), "probe")
	if err != nil {
		t.Error(err)
		return nil
	}
	defer f.Close()
	block := make([]byte, 8<<10)
	for tick := time.Tick(20 * time.Millisecond); ; {
		select {
		case <-stop:
			return all
		case <-tick:
		}
		began := time.Now()
		_, err := f.WriteAt(block, 0)
		if err = errors.Join(err, f.Sync()); err != nil {
			t.Error(err)
			return all
		}
		all = append(all, time.Since(began))
	}
}

// longer tells, and logs, whether what took longer than before: its 99th
// percentile is over three times that of before and 100 ms.
func (d Delays) longer(t testing.TB, before Delays, what string) bool {
	t.Helper()
	was, is := percentile(before[what], 99), percentile(d[what], 99)
	t.Logf("%s: p99 of %d was %v, is %v of %d", what, len(before[what]), was.Round(10*time.Microsecond), is.Round(10*time.Microsecond), len(d[what]))
	return len(d[what]) < len(before[what])/3 || is > 3*was+100*time.Millisecond
}

// undisturbed measures with trouble, up to three times: a busy machine has its
// moments, but what really disturbs does so each time. A time in which the disk
// by itself took longer, too, tells nothing and does not count.
func undisturbed(t testing.TB, before Delays, measure func() Delays) {
	t.Helper()
	const counted, all = 3, 9
	for tries, n := 0, 0; n < counted; tries++ {
		if tries == all {
			t.Fatalf("the disk was too busy to measure, %d times", all-n)
		}
		d := besideTheDisk(t, measure)
		slow := d.longer(t, before, theDisk)
		disturbed := false
		for what := range d {
			disturbed = what != theDisk && d.longer(t, before, what) || disturbed
		}
		if !disturbed {
			return
		}
		if !slow {
			n++
		}
	}
	t.Errorf("others notice the trouble")
}
