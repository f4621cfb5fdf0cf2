package api

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"postbox"
)

const (
	// announceEvery is how often one read marker is told of, at most
	// (docs/spec.md §7, read).
	announceEvery = time.Second
	// maxAnnouncing bounds the markers that are looked after in memory. Those
	// beyond are found again in the database.
	maxAnnouncing = 4096
	// announceAtOnce bounds the commits that are waited for side by side: they
	// go into the same batches as messages.
	announceAtOnce = 16
	// unannouncedPage is how many markers are read from the database at once.
	unannouncedPage = 1000
)

// announcer puts read markers into inboxes: the first of a conversation at once,
// then the latest once a second. A marker has a goroutine for as long as
// another move of it would have to wait.
type announcer struct {
	writer  Writer
	markers Markers
	quiet   func(context.Context, Unannounced) (bool, error) // for the reader's own devices only
	log     *slog.Logger
	slots   chan struct{}
	missed  chan struct{} // there may be markers that only the database knows
	hurry   chan struct{} // closed: no pause any more
	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup
	end     sync.Once

	mu    sync.Mutex // guards all below
	moved map[markerKey]*marker
	over  bool
}

type markerKey struct {
	user  postbox.UserID
	place postbox.ConversationID
}

// marker is a read marker that was moved lately.
type marker struct {
	latest Unannounced
	fresh  bool // latest was not announced
}

func newAnnouncer(w Writer, m Markers, quiet func(context.Context, Unannounced) (bool, error), log *slog.Logger) *announcer {
	a := &announcer{
		writer: w, markers: m, quiet: quiet, log: log,
		slots: make(chan struct{}, announceAtOnce), missed: make(chan struct{}, 1), hurry: make(chan struct{}),
		moved: make(map[markerKey]*marker),
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

func (a *announcer) start() {
	a.look()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over {
		a.work.Go(a.recall)
	}
}

// shutdown ends all pauses and waits until what was moved is announced, or ctx
// ends.
func (a *announcer) shutdown(ctx context.Context) error {
	a.end.Do(func() {
		a.mu.Lock()
		a.over = true
		a.mu.Unlock()
		close(a.hurry)
	})
	done := make(chan struct{})
	go func() { a.work.Wait(); close(done) }()
	select {
	case <-done:
		a.cancel()
		return nil
	case <-ctx.Done():
		a.cancel()
		<-done // as soon as the writer heeds its context
		return ctx.Err()
	}
}

// announce tells of a marker that was moved. It does not wait.
func (a *announcer) announce(u Unannounced) {
	key := markerKey{u.User, u.Place.Conversation}
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.moved[key]
	switch {
	case a.over:
	case m != nil:
		if u.Seq > m.latest.Seq {
			m.latest, m.fresh = u, true
		}
	case len(a.moved) >= maxAnnouncing:
		a.look()
	default:
		m = &marker{latest: u, fresh: true}
		a.moved[key] = m
		a.work.Go(func() { a.tell(key, m) })
	}
}

// look has the database asked for markers.
func (a *announcer) look() {
	select {
	case a.missed <- struct{}{}:
	default:
	}
}

// tell announces a marker until it has stood still for a while.
func (a *announcer) tell(key markerKey, m *marker) {
	for {
		a.mu.Lock()
		u, fresh := m.latest, m.fresh
		m.fresh = false
		if !fresh {
			delete(a.moved, key)
		}
		a.mu.Unlock()
		if !fresh {
			return
		}
		if err := a.store(u); errors.Is(err, postbox.ErrUnavailable) {
			a.mu.Lock()
			m.fresh = true
			a.mu.Unlock()
			if a.ctx.Err() != nil || a.hurried() {
				return // the next server finds it
			}
		} else if err != nil {
			a.log.Warn("a read marker could not be announced", "error", err, "user", u.Name)
		}
		a.pause(announceEvery)
	}
}

func (a *announcer) store(u Unannounced) error {
	select {
	case a.slots <- struct{}{}:
	case <-a.ctx.Done():
		return postbox.ErrUnavailable
	}
	defer func() { <-a.slots }()
	quiet, err := a.quiet(a.ctx, u)
	if err != nil {
		return err
	}
	c := &postbox.Change{
		Type: postbox.EntryRead, Actor: u.User, Conversation: u.Place.Conversation, Peer: u.Place.WithID, Quiet: quiet,
		Event: postbox.Event{ID: newID(), From: u.Name, To: u.Place.With, Room: u.Place.Room, Seq: u.Seq},
	}
	if err := a.writer.Change(a.ctx, c); err != nil {
		return err
	}
	if c.Refusal != nil {
		return c.Refusal
	}
	return nil
}

// recall announces what the database has unannounced: at the start what an
// earlier server left, later what there was no room for.
func (a *announcer) recall() {
	for {
		select {
		case <-a.missed:
		case <-a.hurry:
			return
		}
		left, err := a.markers.Unannounced(a.ctx, unannouncedPage)
		if err != nil && !errors.Is(err, postbox.ErrUnavailable) && a.ctx.Err() == nil {
			a.log.Warn("read markers could not be looked for", "error", err)
		}
		for _, u := range left {
			a.announce(u)
		}
		if err != nil || len(left) == unannouncedPage {
			a.pause(announceEvery)
			a.look()
		}
	}
}

func (a *announcer) hurried() bool {
	select {
	case <-a.hurry:
		return true
	default:
		return false
	}
}

func (a *announcer) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-a.hurry:
	}
}
