package main

import (
	"context"
	"errors"
	"time"

	"postbox/broker"
)

var (
	// errReplaced ends a server whose database has another lineage now.
	errReplaced = errors.New("the database was replaced")
	errFenced   = errors.New("another postbox server has taken over the database")
)

// restartPause is how long a server that was to start again waits for a
// database that cannot be used yet.
const restartPause = time.Second

// serving is one server, from its start to its end. When the database is replaced
// another one takes its place: nothing that it had in memory counts any more.
type serving struct {
	options broker.Options
	// started is called once it listens; nil: this one takes another's place.
	started func(broker.Addresses) error
	// unhook lets the next signal have its default effect.
	unhook func()
	at     broker.Addresses
}

// once serves until ctx ends. Its error says if it ended for another reason.
func (r *serving) once(ctx context.Context) error {
	ending, end := context.WithCancelCause(ctx)
	defer end(nil)
	// A second signal then has its default effect, the end: also while this
	// server starts, or gives its place to another.
	defer context.AfterFunc(ctx, r.unhook)()
	r.options.Fenced = func() { end(errFenced) }
	r.options.Replaced = func() { end(errReplaced) }
	server, err := r.start(ctx)
	if err != nil || server == nil {
		if ctx.Err() != nil {
			r.unhook() // what was to do it after ctx may be stopped before it begins
		}
		return err
	}
	r.at = server.Addresses()
	if r.started != nil {
		if err := r.started(r.at); err != nil {
			_ = shut(server)
			return err
		}
	}
	<-ending.Done()
	why := context.Cause(ending)
	if ctx.Err() != nil {
		why = nil
		// Once it says so, a second signal must have its effect.
		r.unhook()
	}
	r.options.Logger.Info("shutting down")
	if err := shut(server); err != nil && why == nil {
		return err
	}
	return why
}

// start makes and starts the server. One that takes another's place waits for
// the database as long as it takes; nil when ctx has ended meanwhile.
func (r *serving) start(ctx context.Context) (*broker.Server, error) {
	for {
		server, err := broker.New(ctx, r.options)
		if err == nil {
			if err = server.Start(ctx); err == nil {
				return server, nil
			}
			_ = shut(server)
		}
		if r.started != nil {
			return nil, err
		}
		r.options.Logger.Warn("starting again failed", "error", err, "retry_in", restartPause)
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(restartPause):
		}
	}
}
