package broker

import (
	"context"

	"postbox"
)

// replace is called when a connection leads to another database than before.
// Nothing of what is in memory may be written there.
func (e *Engine) replace() {
	if !e.replaced.Swap(true) {
		e.o.Logger.Error("the database was replaced, put back to an older state, or has failed over: starting again on it")
		e.o.Replaced()
	}
}

// lineage is what the hook knows of an engine's database.
type lineage struct{ *Engine }

// PositionSince implements hooks.Lineage.
func (l lineage) PositionSince(ctx context.Context, user postbox.UserID, p postbox.Position) (postbox.InboxSeq, bool, error) {
	return l.store.PositionSince(ctx, user, p)
}

// Ahead implements hooks.Lineage: a client that knows more than the database is
// the one witness of an older state in its place, if nothing else has changed.
func (l lineage) Ahead(ctx context.Context) {
	began, err := l.store.NewEpochAfterRollback(ctx, l.epoch)
	switch {
	case err != nil:
		l.o.Logger.Warn("beginning an epoch failed", "error", err)
	case began:
		// The client is told that the epoch is over. What somebody sends upon that must
		// not be stored and delivered in it while this engine ends.
		for _, lane := range l.running() {
			lane.Refuse()
		}
		l.o.Logger.Error("a client knows of entries that the database does not have: it was put back to an older state; starting again in a new epoch")
		l.o.Replaced()
	}
}
