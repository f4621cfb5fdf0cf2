package broker

import (
	"context"
	"errors"
	"slices"
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
)

// outage knows since when the database does not answer.
type outage struct {
	mu    sync.Mutex // guards the fields below
	asked time.Time  // since when there is no answer; zero: there is
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
	switch first := !o.fails; {
	case err == nil:
		o.asked = time.Time{}
	case first && time.Since(o.asked) < askPatience:
		// When it was asked the database may have been there: nobody is to be cut
		// off before the bound. A question that nobody has answered counts whole.
		o.asked = time.Now()
	}
	o.fails = err != nil
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
func (e *Engine) awaySince() time.Time {
	var answered time.Time
	for _, l := range e.lanes {
		if since := l.AwaySince(); !since.IsZero() {
			return since
		}
		if at := l.Answered(); at.After(answered) {
			answered = at
		}
	}
	since := e.outage.since()
	if since.IsZero() || answered.Before(since) {
		return since
	}
	return time.Time{}
}

// Ready tells whether messages can be stored, for a readiness check: nil, or
// postbox.ErrUnavailable (in the chain) and since when not, or that the server
// ends.
func (e *Engine) Ready(ctx context.Context) error {
	if e.ending.Load() {
		return postbox.Errorf(postbox.CodeUnavailable, "the server is shutting down")
	}
	if since := e.awaySince(); !since.IsZero() {
		return postbox.Errorf(postbox.CodeUnavailable, "the database has been away for %s", time.Since(since).Round(time.Second))
	}
	return e.store.Ping(ctx)
}

// askDatabase asks the database all the time whether it is there, and holds on
// to it: the lock that keeps a second server out is lost with its connection.
func (e *Engine) askDatabase(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		e.outage.ask()
		bound, cancel := context.WithTimeout(ctx, askPatience)
		err := e.store.Ping(bound)
		if err == nil {
			e.keepOwned(bound)
			e.keepLanes(bound)
		}
		cancel()
		if ctx.Err() == nil {
			e.outage.hear(err)
		}
		e.away.seconds(e.awaySince(), time.Now())
	}
}

// keepOwned takes the database again after the connection that held it was lost.
func (e *Engine) keepOwned(ctx context.Context) {
	err := e.owner.Keep(ctx)
	if lost := errors.Is(err, store.ErrOwned); lost != e.unowned {
		e.unowned = lost
		if lost {
			e.o.Logger.Warn("another server, or an earlier connection of this one, holds the database: a second server would not be kept out by this one")
		} else {
			e.o.Logger.Info("the database is held again")
		}
	}
}

// keepLanes looks whether another server has taken the lanes: this one then
// learns nothing of what that one stores.
func (e *Engine) keepLanes(ctx context.Context) {
	for _, l := range slices.Concat(e.inner, e.crowds) {
		lost, err := l.Lost(ctx, e.store)
		if err == nil && lost {
			e.o.Logger.Error("another server has taken the database over")
			e.o.Fenced()
			return
		}
	}
}

// boundOutage ends all connections when the database has been away for too
// long: their clients then try again, here or elsewhere.
func (e *Engine) boundOutage(ctx context.Context) {
	tick := time.NewTicker(min(time.Second, e.o.Config.OutageTimeout/4))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if since := e.awaySince(); !since.IsZero() && time.Since(since) > e.o.Config.OutageTimeout {
			e.hook.DisconnectAll(packets.ErrServerBusy)
		}
	}
}
