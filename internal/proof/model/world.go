package model

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"postbox/internal/embedpg"
	"postbox/internal/proof"
)

// patience is how long the model waits for something that must happen.
const patience = 60 * time.Second

// world is one run: the server, its clients, and what is known of both.
type world struct {
	t      testing.TB
	began  time.Time
	server *proof.Server
	// address is the server's, which a restart does not change.
	address string
	pg      *embedpg.Server
	db      *sql.DB
	ctx     context.Context // ends with the run, or at the first finding
	cancel  context.CancelFunc
	readers sync.WaitGroup
	audits  sync.Mutex // held by the one audit that runs; taken before mu

	mu       sync.Mutex // guards all below and all state of devices and connections
	changed  chan struct{}
	epoch    string
	tokens   map[string]string // access tokens by user
	users    []string
	devices  []*device
	life     int       // grows when the server is killed, and again when it is gone
	troubles int       // the same of PostgreSQL
	troubled time.Time // the last of these
	deaths   int       // of the postmaster
	died     time.Time // the last of these
	letGo    func()    // lets commits go on; nil: they do
	settling bool      // the run ends: no more accidents
	held     time.Time // since when no transaction of a lane can commit; zero: they can
	removed  map[string]int64
	book     book
	mirror   mirror
	inquiry  inquiry
	found    *finding
	trace    []string
	counts   map[string]int
}

// finding is a broken promise.
type finding struct {
	what  string // the promise, in a few words
	text  string
	after time.Duration // since the first step
}

// fail notes a broken promise and ends the run. The first one counts: what
// comes after it may follow from it. w.mu is held.
func (w *world) fail(what, format string, args ...any) {
	if w.found != nil {
		return
	}
	w.found = &finding{what, fmt.Sprintf(format, args...), time.Since(w.began)}
	w.note("FINDING %s: %s", what, w.found.text)
	w.cancel()
	w.tell()
}

// note adds a line to the trace, which is printed with a finding. w.mu is held.
func (w *world) note(format string, args ...any) {
	const most = 6000
	if len(w.trace) >= most {
		w.trace = append(w.trace[:0], w.trace[most/2:]...)
	}
	line := fmt.Sprintf(format, args...)
	w.trace = append(w.trace, fmt.Sprintf("%9.4f %s", time.Since(w.began).Seconds(), line))
}

// count counts what happened. w.mu is held.
func (w *world) count(what string) { w.counts[what]++ }

// tell wakes all who wait. w.mu is held.
func (w *world) tell() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// until waits until cond, called with w.mu held, is true, or the run is over.
// It returns with w.mu held, and reports whether cond is true. After patience
// it gives up with a finding.
func (w *world) until(what string, cond func() bool) bool {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for !cond() {
		if w.ctx.Err() != nil {
			return false
		}
		changed := w.changed
		w.mu.Unlock()
		late := false
		select {
		case <-changed:
		case <-w.ctx.Done():
		case <-limit.C:
			late = true
		}
		w.mu.Lock()
		if late && !cond() {
			w.fail("standstill", "waited %v for %s", patience, what)
			return false
		}
	}
	return true
}

// pause waits a moment before something is tried again, and reports false when
// the run is over.
func (w *world) pause(d time.Duration) bool {
	select {
	case <-w.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// locked calls f with w.mu held.
func (w *world) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}
