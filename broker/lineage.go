package broker

import (
	"context"

	"postbox"
)

// replace is called when a connection leads to another database than before.
// Nothing of what is in memory may be written there.
func (s *Server) replace() {
	if !s.replaced.Swap(true) {
		s.o.Logger.Error("the database was replaced, put back to an older state, or has failed over: starting again on it")
		s.o.Replaced()
	}
}

// PositionSince implements hooks.Lineage.
func (s *Server) PositionSince(ctx context.Context, user postbox.UserID, p postbox.Position) (postbox.InboxSeq, bool, error) {
	return s.store.PositionSince(ctx, user, p)
}

// Ahead implements hooks.Lineage: a client that knows more than the database is
// the one witness of an older state in its place, if nothing else has changed.
func (s *Server) Ahead(ctx context.Context) {
	began, err := s.store.NewEpochAfterRollback(ctx, s.epoch)
	switch {
	case err != nil:
		s.o.Logger.Warn("beginning an epoch failed", "error", err)
	case began:
		s.o.Logger.Error("a client knows of entries that the database does not have: it was put back to an older state; starting again in a new epoch")
		s.o.Replaced()
	}
}
