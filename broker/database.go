package broker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"postbox/auth"
	"postbox/inbox"
	"postbox/schema"
	"postbox/store"
)

// startPatience is how long a start waits for a database that is away: it may
// be starting too.
const startPatience = 30 * time.Second

// awaitDatabase calls open until the database is there, or will not be by
// waiting.
func (e *Engine) awaitDatabase(ctx context.Context, open func(context.Context) error) error {
	for began := time.Now(); ; {
		err := open(ctx)
		if err == nil || ctx.Err() != nil || !store.Passes(err) || time.Since(began) > startPatience {
			return err
		}
		e.o.Logger.Warn("the database cannot be used yet: waiting for it", "error", err)
		e.closeDatabase()
		e.store, e.owner, e.lanes, e.inner, e.crowds = nil, nil, nil, nil, nil
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func (e *Engine) openDatabase(ctx context.Context) error {
	var err error
	e.store, err = store.Open(store.Options{
		URL: e.o.DatabaseURL, PoolSize: e.o.Config.Database.PoolSize, Replaced: e.replace,
	})
	if err != nil {
		return err
	}
	if err := e.store.Ping(ctx); err != nil {
		return fmt.Errorf("the database cannot be used: %w", err)
	}
	if e.owner, err = e.store.Own(ctx); err != nil {
		return err
	}
	if err := e.store.Migrating(ctx, schema.Migrate); err != nil {
		return err
	}
	if _, err := e.store.Durability(ctx); err != nil {
		e.o.Logger.Warn("the database does not promise what postbox does", "error", err)
	}
	if e.control, err = e.store.WatchControl(ctx); err != nil {
		return err
	}
	if e.epoch, err = e.store.Epoch(ctx); err != nil {
		return err
	}
	if err := e.store.DisconnectAll(ctx); err != nil {
		return err
	}
	if err := e.store.ForgetExpired(ctx); err != nil {
		return err
	}
	if err := e.store.ForgetLogins(ctx); err != nil {
		return err
	}
	e.indexer = e.store.NewIndexer()
	e.hub = inbox.NewHub(e.store, e.epoch, e.o.Logger)
	e.hub.Waiting = e.waiting
	return e.openLanes(ctx)
}

func (e *Engine) openLanes(ctx context.Context) error {
	if err := e.store.FenceLanes(ctx); err != nil {
		return err
	}
	for i := range e.o.Config.Database.Lanes {
		inner, err := e.store.OpenLane(ctx, i, inbox.ErrFenced)
		if err != nil {
			return err
		}
		e.inner = append(e.inner, inner)
		crowd, err := e.store.OpenLane(ctx, e.o.Config.Database.Lanes+i, inbox.ErrFenced)
		if err != nil {
			return err
		}
		e.crowds = append(e.crowds, crowd)
		e.lanes = append(e.lanes, inbox.NewLane(inbox.LaneOptions{
			Appender: inner, Crowd: crowd, Router: e.router(), Hub: e.hub, Logger: e.o.Logger, Rest: e.restForIndex, Fenced: e.o.Fenced,
		}))
	}
	return nil
}

// waiting is how many drafts wait to be committed.
func (e *Engine) waiting() (n int) {
	for _, l := range e.lanes {
		n += l.Waiting()
	}
	return n
}

// OpenTokens reads the signing keys of a database, and makes the first.
func OpenTokens(ctx context.Context, st *store.Store) (*auth.Tokens, error) {
	fresh := auth.NewKey()
	kept, err := st.SigningKeys(ctx, store.SigningKey{ID: fresh.ID, Secret: fresh.Secret})
	if err != nil {
		return nil, err
	}
	keys := make([]auth.Key, len(kept))
	for i, k := range kept {
		keys[i] = auth.Key{ID: k.ID, Secret: k.Secret, Created: k.CreatedAt}
	}
	return auth.NewTokens(keys, nil)
}

func (e *Engine) closeDatabase() {
	for _, l := range slices.Concat(e.inner, e.crowds) {
		_ = l.Close()
	}
	if e.owner != nil {
		_ = e.owner.Close()
	}
	if e.store != nil {
		_ = e.store.Close()
	}
}
