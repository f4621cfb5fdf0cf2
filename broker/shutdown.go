package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/inbox"
)

// Bounds of Shutdown. What the database does not take in time was not
// acknowledged either: to reach one of them is no failure.
const (
	// flushTimeout is how long it may take to store what was received, and to
	// note the ends of the connections.
	flushTimeout = 4 * time.Second
	// awayTimeout is the same while the database is known to be away, and the
	// least that the ends of the connections have.
	awayTimeout = time.Second
	// stuckTimeout is how long a statement may take that hangs and has been
	// told to end.
	stuckTimeout = 1500 * time.Millisecond
)

// Shutdown stops accepting, commits and acknowledges what was received, tells
// the clients, and ends. That the database is away or silent is no error, and
// does not hold it up for longer than eight seconds. It is safe to call twice.
// When ctx ends first, its error is returned, two seconds later at most.
func (s *Server) Shutdown(ctx context.Context) error {
	s.shutdown.Do(func() { s.result = s.end(ctx) })
	return s.result
}

func (s *Server) end(ctx context.Context) error {
	if s.listener != nil {
		_ = s.listener.Close()
	}
	// What was received is answered, then everybody is told; the wills of
	// those who are cut off are still stored.
	began, patience := time.Now(), flushTimeout
	if !s.awaySince().IsZero() {
		patience = awayTimeout
	}
	stuck := !s.flush(ctx, patience)
	s.hook.DisconnectAll(packets.ErrServerShuttingDown)
	patience = max(patience-time.Since(began), awayTimeout)
	s.hook.Hurry(patience)
	if failed := s.endConnections(ctx, patience); failed != nil {
		s.o.Logger.Warn("the ends of connections could not be noted in time", "error", failed)
		stuck = true
	}
	if !stuck && !s.flush(ctx, awayTimeout) { // their wills
		stuck = true
	}
	for _, l := range s.running() {
		l.Refuse()
	}
	if s.cancel != nil {
		s.cancel()
	}
	s.hook.Hurry(0)
	if s.public != nil {
		_ = s.public.Close()
		_ = s.private.Close()
	}
	s.saveCursors(ctx, stuck)
	_ = s.mochi.Close()
	return s.endWork(ctx, stuck)
}

// flush reports whether the database took in time what was received. If not,
// nobody must wait for it any more.
func (s *Server) flush(ctx context.Context, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	flushed := true
	for _, l := range s.running() {
		if s.replaced.Load() {
			l.Refuse()
			flushed = false
			continue
		}
		if err := l.Flush(ctx); err != nil {
			s.o.Logger.Warn("the database is away: what it has not taken was not acknowledged, and clients send it again", "error", err)
			l.Refuse()
			flushed = false
		}
	}
	return flushed
}

// endConnections ends all connections, each of which may tell the database of
// it for as long as the patience lasts. An error means that it did not answer.
func (s *Server) endConnections(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience+stuckTimeout)
	defer cancel()
	began := time.Now()
	if err := s.door.close(ctx); err != nil {
		return err
	}
	if took := time.Since(began); took >= patience {
		return fmt.Errorf("it took %s", took.Round(time.Millisecond))
	}
	return nil
}

// saveCursors saves the progress of all devices, unless the database is stuck.
func (s *Server) saveCursors(ctx context.Context, stuck bool) {
	ctx, cancel := context.WithTimeout(ctx, stuckTimeout)
	defer cancel()
	if stuck {
		cancel()
	}
	if err := s.hub.Shutdown(ctx); err != nil {
		s.o.Logger.Warn("saving cursors failed: devices get again what they have acknowledged since", "error", err)
	}
}

// endWork waits until everything has ended, and ends the connections to the
// database. A statement that hangs has been told to end; its connection is not
// to be closed under it: what takes longer than a moment is left to itself.
func (s *Server) endWork(ctx context.Context, stuck bool) error {
	bound := ctx
	if stuck || ctx.Err() != nil {
		var cancel context.CancelFunc
		bound, cancel = context.WithTimeout(context.WithoutCancel(ctx), stuckTimeout)
		defer cancel()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, l := range s.running() {
			_ = l.Shutdown(context.Background())
		}
		s.door.work.Wait()
		s.work.Wait()
		s.closeDatabase()
	}()
	select {
	case <-ended:
	case <-bound.Done():
		s.o.Logger.Warn("the connections to the database are left to end by themselves")
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

// running are the lanes, if they have been started.
func (s *Server) running() []*inbox.Lane {
	if s.cancel == nil {
		return nil
	}
	return s.lanes
}

func (s *Server) closeDatabase() {
	for _, l := range s.inner {
		_ = l.Close()
	}
	if s.owner != nil {
		_ = s.owner.Close()
	}
	if s.store != nil {
		_ = s.store.Close()
	}
}
