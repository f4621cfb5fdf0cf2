package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/store"
)

const (
	// askEvery is how often the database is asked whether it is there: who
	// only waits for messages would not notice.
	askEvery = time.Second
	// askPatience is how long it may take to answer that.
	askPatience = 5 * time.Second
	// startPatience is how long a start waits for a database that is away: it
	// may be starting too.
	startPatience = 30 * time.Second
)

// outage knows since when the database does not answer.
type outage struct {
	mu    sync.Mutex // guards the fields below
	asked time.Time  // when the first question was asked that has no answer; zero: none
	fails bool       // one was answered with an error
}

// ask notes a question, if the one before has its answer.
func (o *outage) ask() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.asked.IsZero() {
		o.asked = time.Now()
	}
}

// hear notes the outcome of a question.
func (o *outage) hear(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fails = err != nil; !o.fails {
		o.asked = time.Time{}
	}
}

// since tells since when there is no answer; zero: there is.
func (o *outage) since() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fails || !o.asked.IsZero() && time.Since(o.asked) > askPatience {
		return o.asked
	}
	return time.Time{}
}

// awaySince tells since when messages cannot be stored; zero: they can. A lane
// that was answered meanwhile knows better than a question that was not.
func (s *Server) awaySince() time.Time {
	var answered time.Time
	for _, l := range s.lanes {
		if since := l.AwaySince(); !since.IsZero() {
			return since
		}
		if at := l.Answered(); at.After(answered) {
			answered = at
		}
	}
	since := s.outage.since()
	if since.IsZero() || answered.Before(since) {
		return since
	}
	return time.Time{}
}

// ready tells whether messages can be stored.
func (s *Server) ready(ctx context.Context) error {
	if since := s.awaySince(); !since.IsZero() {
		return postbox.Errorf(postbox.CodeUnavailable, "the database has been away for %s", time.Since(since).Round(time.Second))
	}
	return s.store.Ping(ctx)
}

// askDatabase asks the database all the time whether it is there, and holds on
// to it: the lock that keeps a second server out is lost with its connection.
func (s *Server) askDatabase(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.outage.ask()
		bound, cancel := context.WithTimeout(ctx, askPatience)
		err := s.store.Ping(bound)
		if err == nil {
			s.keepOwned(bound)
			s.keepLanes(bound)
		}
		cancel()
		if ctx.Err() == nil {
			s.outage.hear(err)
		}
	}
}

// keepOwned takes the database again after the connection that held it was lost.
func (s *Server) keepOwned(ctx context.Context) {
	err := s.owner.Keep(ctx)
	if lost := errors.Is(err, store.ErrOwned); lost != s.unowned {
		s.unowned = lost
		if lost {
			s.o.Logger.Warn("another server, or an earlier connection of this one, holds the database: a second server would not be kept out by this one")
		} else {
			s.o.Logger.Info("the database is held again")
		}
	}
}

// keepLanes looks whether another server has taken the lanes: this one then
// learns nothing of what that one stores.
func (s *Server) keepLanes(ctx context.Context) {
	for _, l := range s.inner {
		lost, err := l.Lost(ctx, s.store)
		if err == nil && lost {
			s.o.Logger.Error("another server has taken the database over")
			s.o.Fenced()
			return
		}
	}
}

// boundOutage ends all connections when the database has been away for too
// long: their clients then try again, here or elsewhere.
func (s *Server) boundOutage(ctx context.Context) {
	tick := time.NewTicker(min(time.Second, s.o.Config.OutageTimeout/4))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if since := s.awaySince(); !since.IsZero() && time.Since(since) > s.o.Config.OutageTimeout {
			s.hook.DisconnectAll(packets.ErrServerBusy)
		}
	}
}

// awaitDatabase calls open until the database is there, or will not be by
// waiting.
func (s *Server) awaitDatabase(ctx context.Context, open func(context.Context) error) error {
	for began := time.Now(); ; {
		err := open(ctx)
		if err == nil || ctx.Err() != nil || !store.Passes(err) || time.Since(began) > startPatience {
			return err
		}
		s.o.Logger.Warn("the database cannot be used yet: waiting for it", "error", err)
		s.closeDatabase()
		s.store, s.owner, s.lanes, s.inner = nil, nil, nil, nil
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}
