package hooks

import (
	"context"
	"errors"
	"sync"
	"time"

	"postbox"
	"postbox/inbox"
	"postbox/store"
)

// Wills keeps wills from CONNECT, where Sessions takes them, until they are
// sent.
type Wills interface {
	DueWills(ctx context.Context, after store.Will, limit int) ([]store.Will, error)
	ReleaseWill(ctx context.Context, id postbox.MessageID, after time.Duration) error
	DropWill(ctx context.Context, id postbox.MessageID) error
}

const (
	// willsEvery is how late a delayed will may be.
	willsEvery = time.Second
	// willsPage is how many wills are read at once, each with its body.
	willsPage = 100
	// noteTimeout bounds the wait for the database at the end of a connection.
	noteTimeout = 5 * time.Second
	// lastNotesTimeout bounds the last try to tell the database what it does not
	// know yet, when the server ends.
	lastNotesTimeout = time.Second
)

// wills are those on their way, and what the database is still to be told.
type wills struct {
	mu      sync.Mutex // guards the fields below
	under   map[postbox.MessageID]struct{}
	notes   []willNote
	reads   uint64 // how many have begun
	reading map[uint64]struct{}
	done    uint64      // no read up to this one is still going on
	ended   []endedWill // that stay in under, in the order of their ends
}

// endedWill is a will that is settled, but may be in what reads up to last have
// found in the database.
type endedWill struct {
	id   postbox.MessageID
	last uint64
}

// willNote is news of a will: forgotten, or due at a time.
type willNote struct {
	id   postbox.MessageID
	drop bool
	due  time.Time
}

// read is for who is about to read wills from the database in order to send
// them: until done is called no will ends that may be among them.
func (w *wills) read() (done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	n := w.reads
	if w.reading == nil {
		w.reading = make(map[uint64]struct{})
	}
	w.reading[n] = struct{}{}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.reading, n)
		for w.done < w.reads {
			if _, ok := w.reading[w.done+1]; ok {
				break
			}
			w.done++
		}
		w.forget()
	}
}

// forget lets those ended wills go that no read can have found.
func (w *wills) forget() {
	for len(w.ended) > 0 && w.ended[0].last <= w.done {
		delete(w.under, w.ended[0].id)
		w.ended = w.ended[1:]
	}
}

// begin reports false for a will that is on its way already, or was until just
// now.
func (w *wills) begin(id postbox.MessageID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.under[id]; ok {
		return false
	}
	if w.under == nil {
		w.under = make(map[postbox.MessageID]struct{})
	}
	w.under[id] = struct{}{}
	return true
}

// end is for a will that the database does not have any more, or that the lane
// did not take.
func (w *wills) end(id postbox.MessageID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.under[id]; ok {
		w.ended = append(w.ended, endedWill{id, w.reads})
		w.forget()
	}
}

// later keeps a note until the database is told.
func (w *wills) later(n willNote) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, n)
}

// note takes a note off the list.
func (w *wills) note() (n willNote, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.notes) == 0 {
		return n, false
	}
	n, w.notes = w.notes[0], w.notes[1:]
	return n, true
}

// sendWill queues a will on its user's lane. What the lane does not take any
// more, because the server stops, is sent after the next start.
func (h *Hook) sendWill(w store.Will) {
	if !h.wills.begin(w.ID) {
		return
	}
	s := &sentWill{h, w.ID, w.From}
	d := draftOfWill(w)
	if w.Barred {
		d.Refusal = errDisabled
		s.Settled(d)
		return
	}
	d.Origin = s
	if err := h.o.LaneOf(w.User).Submit(d); err != nil {
		h.wills.end(w.ID)
	}
}

// sentWill waits for the outcome of a will.
type sentWill struct {
	hook *Hook
	id   postbox.MessageID
	from postbox.User
}

// Settled implements inbox.Origin.
func (s *sentWill) Settled(d *inbox.Draft) {
	switch {
	case d.Publish.Gone: // taken back in the last moment
		s.hook.metrics.wills.WithLabelValues("gone").Inc()
	case d.Refusal != nil:
		s.hook.metrics.wills.WithLabelValues("refused").Inc()
		s.hook.o.Logger.Warn("a will was refused", "code", d.Refusal.Code, "user", s.from)
		s.hook.wills.later(willNote{id: s.id, drop: true})
		return
	case d.Duplicate:
		s.hook.metrics.wills.WithLabelValues("duplicate").Inc()
		s.hook.wills.later(willNote{id: s.id, drop: true})
		return
	default:
		s.hook.metrics.wills.WithLabelValues("sent").Inc()
	}
	s.hook.wills.end(s.id)
}

// Flush implements inbox.Origin.
func (s *sentWill) Flush() {}

var _ inbox.Origin = (*sentWill)(nil)

// noteWill tells the database about a will; later, when it is away.
func (h *Hook) noteWill(ctx context.Context, n willNote) {
	if err := h.tellWill(ctx, n); err != nil {
		h.wills.later(n)
		h.o.Logger.Warn("noting the end of a will failed: it is tried again", "error", err)
	}
}

func (h *Hook) tellWill(ctx context.Context, n willNote) error {
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	if !n.drop {
		return h.o.Wills.ReleaseWill(ctx, n.id, max(0, time.Until(n.due)))
	}
	if err := h.o.Wills.DropWill(ctx, n.id); err != nil {
		return err
	}
	h.wills.end(n.id)
	return nil
}

// KeepWills sends wills when they are due, until ctx ends. What is due when it
// begins was left by a server that stopped or was killed. Before it returns it
// tells the database, for a second at most, which wills it must forget.
func (h *Hook) KeepWills(ctx context.Context) {
	defer h.tellLast(ctx)
	tick := time.NewTicker(willsEvery)
	defer tick.Stop()
	for {
		// That the database is away others say.
		if err := h.keepWills(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, postbox.ErrUnavailable) {
			h.o.Logger.Error("sending wills failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tellLast tells the database what it still does not know when the server ends.
// What it is not told then, the next start takes for wills of connections that
// were cut.
func (h *Hook) tellLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastNotesTimeout)
	defer cancel()
	if err := h.tellWills(ctx); err != nil {
		h.o.Logger.Warn("noting the end of wills failed: they are sent after the next start", "error", err)
	}
}

// tellWills tells the database all that is noted, until it does not answer.
func (h *Hook) tellWills(ctx context.Context) error {
	for n, ok := h.wills.note(); ok; n, ok = h.wills.note() {
		if err := h.tellWill(ctx, n); err != nil {
			h.wills.later(n)
			return err
		}
	}
	return nil
}

func (h *Hook) keepWills(ctx context.Context) error {
	if err := h.tellWills(ctx); err != nil {
		return err
	}
	defer h.wills.read()()
	var last store.Will
	for {
		due, err := h.dueWills(ctx, last)
		if err != nil {
			return err
		}
		for _, w := range due {
			h.sendWill(w)
		}
		if len(due) < willsPage {
			return nil
		}
		last = due[len(due)-1]
	}
}

func (h *Hook) dueWills(ctx context.Context, after store.Will) ([]store.Will, error) {
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	return h.o.Wills.DueWills(ctx, after, willsPage)
}
