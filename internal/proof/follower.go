package proof

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// Follower is what a device heard of an inbox whose database is put back to an
// older state: entries of one epoch, the news of the change, entries of the
// next. It notes what would be a silent gap. Its methods are safe for
// concurrent use.
type Follower struct {
	Name string

	mu     sync.Mutex
	epoch  string
	next   int64            // the number that is due; 0: whatever comes first
	bodies map[int64]string // of the present epoch
	gaps   []Envelope
	faults []string
}

// Add takes a delivery.
func (f *Follower) Add(d Delivery) {
	var e Envelope
	if err := json.Unmarshal(d.Body, &e); err != nil {
		f.fault("payload %.200q: %v", d.Body, err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch e.Type {
	case "gap":
		f.gap(e)
	case "message":
		f.entry(e)
	default:
		f.faults = append(f.faults, "got a "+e.Type)
	}
}

func (f *Follower) gap(e Envelope) {
	switch {
	case e.Code == "epoch_changed" && e.Epoch == f.epoch && e.Next > f.next:
		f.faults = append(f.faults, fmt.Sprintf("told that the epoch changed to the one there was, and to skip to %d", e.Next))
	case e.Code == "expired" && e.Epoch != f.epoch && f.epoch != "":
		f.faults = append(f.faults, fmt.Sprintf("a gap in epoch %s without the news that it began", e.Epoch))
	}
	if e.Epoch != f.epoch {
		f.bodies = nil
	}
	f.epoch, f.next = e.Epoch, e.Next
	f.gaps = append(f.gaps, e)
}

func (f *Follower) entry(e Envelope) {
	if f.epoch == "" {
		f.epoch = e.Epoch
	}
	if f.bodies == nil {
		f.bodies = map[int64]string{}
	}
	before, again := f.bodies[e.InboxSeq]
	switch {
	case e.Epoch != f.epoch:
		f.faults = append(f.faults, fmt.Sprintf("entry %d of epoch %s came without the news that %s was over", e.InboxSeq, e.Epoch, f.epoch))
	case again && before != *e.Body:
		f.faults = append(f.faults, fmt.Sprintf("entry %d was %q, and is %q", e.InboxSeq, before, *e.Body))
	case !again && f.next > 0 && e.InboxSeq != f.next:
		f.faults = append(f.faults, fmt.Sprintf("entry %d came where %d was due", e.InboxSeq, f.next))
	}
	f.bodies[e.InboxSeq] = *e.Body
	f.next = max(f.next, e.InboxSeq+1)
}

func (f *Follower) fault(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, fmt.Sprintf(format, args...))
}

// Position is where the follower is, as it would say in a since filter.
func (f *Follower) Position() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("%s:%d", f.epoch, f.next-1)
}

// WaitFor waits until the follower has an entry with a body as its last.
func (f *Follower) WaitFor(t testing.TB, body string) {
	t.Helper()
	f.await(t, fmt.Sprintf("entry %q", body), func() bool { return f.bodies[f.next-1] == body })
}

// WaitGap waits for the n-th news of a gap and returns it.
func (f *Follower) WaitGap(t testing.TB, n int) Envelope {
	t.Helper()
	f.await(t, fmt.Sprintf("gap number %d", n), func() bool { return len(f.gaps) >= n })
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gaps[n-1]
}

func (f *Follower) await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		f.mu.Lock()
		ok := cond()
		state := fmt.Sprintf("in epoch %s, %d due, gaps %+v, faults %v", f.epoch, f.next, f.gaps, f.faults)
		f.mu.Unlock()
		switch {
		case ok:
			return
		case time.Now().After(limit):
			t.Fatalf("%s: no %s after %v; it is %s", f.Name, what, patience, state)
		}
	}
}

// Has says whether the follower got an entry with a body in this epoch.
func (f *Follower) Has(body string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.bodies {
		if b == body {
			return true
		}
	}
	return false
}

// Check reports all faults, and gaps that are not as many as expected.
func (f *Follower) Check(t testing.TB, gaps int) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range slices.Compact(slices.Clone(f.faults)) {
		t.Errorf("%s: %s", f.Name, s)
	}
	if len(f.gaps) < gaps {
		t.Errorf("%s was told of %d gaps, want %d: %+v", f.Name, len(f.gaps), gaps, f.gaps)
	}
}
