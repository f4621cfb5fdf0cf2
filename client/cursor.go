package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"postbox"
)

// CursorStore keeps the place of a program in its user's inbox, for
// Options.Cursor. A client calls its methods one at a time; two clients do not
// share a store.
type CursorStore interface {
	// Load returns what was saved last. One without an epoch says that nothing was.
	Load(ctx context.Context) (postbox.Position, error)
	// Save keeps a place that replaces the last one. When it has returned, the
	// place must survive a crash: what is before it never comes again.
	Save(ctx context.Context, at postbox.Position) error
}

const (
	// saveTimeout bounds one Save.
	saveTimeout = 10 * time.Second
	// saveEvery is the least time from one Save to the next: a save that flushes a
	// disk slows all others that use it, the database among them.
	saveEvery = 50 * time.Millisecond
)

// keeper brings the ledger's place into the store: what the program has
// acknowledged without a hole. What is acknowledged during one save, and for a
// moment after it, goes with the next.
type keeper struct {
	store  CursorStore // nil: none
	ledger *ledger

	saving sync.Mutex // held during a save; guards saved
	saved  postbox.Position

	mu  sync.Mutex // guards err
	err error
}

func newKeeper(store CursorStore, g *ledger) *keeper { return &keeper{store: store, ledger: g} }

// load lets the ledger begin where the store says.
func (k *keeper) load(ctx context.Context) error {
	if k.store == nil {
		return nil
	}
	at, err := k.store.Load(ctx)
	if err != nil {
		return fmt.Errorf("load the cursor: %w", err)
	}
	k.saved = at
	if at.Epoch != "" {
		k.ledger.start(at)
	}
	return nil
}

// empty reports whether there is a store that has no place.
func (k *keeper) empty() bool {
	k.saving.Lock()
	defer k.saving.Unlock()
	return k.store != nil && k.saved.Epoch == ""
}

// begin stores the first place, unless the program has come further.
func (k *keeper) begin(ctx context.Context, at postbox.Position) error {
	k.ledger.start(at)
	return k.save(ctx)
}

// run saves until ctx ends, and then once more. Its error is the store's.
func (k *keeper) run(ctx context.Context) error {
	for k.store != nil {
		ended := false
		select {
		case <-k.ledger.moved:
		case <-ctx.Done():
			ended = true
		}
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
		err := k.save(within)
		cancel()
		if err != nil {
			k.mu.Lock()
			k.err = err
			k.mu.Unlock()
			return err
		}
		if ended {
			break
		}
		rest := time.NewTimer(saveEvery)
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
		}
	}
	return nil
}

func (k *keeper) save(ctx context.Context) error {
	k.saving.Lock()
	defer k.saving.Unlock()
	at, ok := k.ledger.resume()
	if !ok || at == k.saved {
		return nil
	}
	if err := k.store.Save(ctx, at); err != nil {
		return fmt.Errorf("save the cursor %s: %w", at, err)
	}
	k.saved = at
	return nil
}

func (k *keeper) failure() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}
