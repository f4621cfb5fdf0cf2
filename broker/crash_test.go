package broker_test

import (
	"bytes"
	"context"
	"sync"
	"time"
)

// crash replaces the server by another as after a kill: the old one can tell
// the database nothing any more, neither of its connections nor of what it has
// in memory.
func (w *world) crash() { w.t.Helper(); w.crashWith(func() {}) }

// crashWith also lets go of something once the database cannot be reached.
func (w *world) crashWith(release func()) {
	w.t.Helper()
	back := w.databaseAway()
	release()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = w.server.Shutdown(ctx) // it cannot flush
	back()
	w.start()
}

// logged keeps what a server logs.
type logged struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
