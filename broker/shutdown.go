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

// Shutdown commits and acknowledges what was received, tells the clients, ends
// their connections and those to the database. That the database is away or
// silent is no error, and does not hold it up for longer than eight seconds. It
// is safe to call twice. When ctx ends first, its error is returned, two seconds
// later at most.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.shutdown.Do(func() { e.result = e.end(ctx) })
	return e.result
}

func (e *Engine) end(ctx context.Context) error {
	e.hook.Admit(false)
	e.ending.Store(true)
	// What was received is answered, then everybody is told; the wills of
	// those who are cut off are still stored.
	began, patience := time.Now(), flushTimeout
	if !e.awaySince().IsZero() {
		patience = awayTimeout
	}
	stuck := !e.flush(ctx, patience)
	e.endOperations(ctx, stuck)
	e.hook.DisconnectAll(packets.ErrServerShuttingDown)
	patience = max(patience-time.Since(began), awayTimeout)
	e.hook.Hurry(patience)
	if failed := e.endConnections(ctx, patience); failed != nil {
		e.o.Logger.Warn("the ends of connections could not be noted in time", "error", failed)
		stuck = true
	}
	if !stuck && !e.flush(ctx, awayTimeout) { // their wills
		stuck = true
	}
	for _, l := range e.running() {
		l.Refuse()
	}
	if e.cancel != nil {
		e.cancel()
	}
	e.hook.Hurry(0)
	e.saveCursors(ctx, stuck)
	err := e.endWork(ctx)
	e.tracing.shutdown(ctx)
	return err
}

// flush reports whether the database took in time what was received. If not,
// nobody must wait for it any more.
func (e *Engine) flush(ctx context.Context, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	flushed := true
	for _, l := range e.running() {
		if e.replaced.Load() {
			l.Refuse()
			flushed = false
			continue
		}
		if err := l.Flush(ctx); err != nil {
			e.o.Logger.Warn("the database is away: what it has not taken was not acknowledged, and clients send it again", "error", err)
			l.Refuse()
			flushed = false
		}
	}
	return flushed
}

// endOperations announces the read markers that are left; the next start announces
// what is not announced now.
func (e *Engine) endOperations(ctx context.Context, stuck bool) {
	ctx, cancel := context.WithTimeout(ctx, awayTimeout)
	defer cancel()
	if stuck {
		cancel()
	}
	if err := e.operations.Shutdown(ctx); err != nil && !stuck {
		e.o.Logger.Warn("read markers are announced at the next start", "error", err)
	}
}

// endConnections ends all connections, each of which may tell the database of
// it for as long as the patience lasts. An error means that it did not answer.
func (e *Engine) endConnections(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience+stuckTimeout)
	defer cancel()
	began := time.Now()
	if err := e.door.close(ctx); err != nil {
		return err
	}
	if err := e.hook.AwaitEnds(ctx); err != nil { // those of other listeners
		return err
	}
	if took := time.Since(began); took >= patience {
		return fmt.Errorf("it took %s", took.Round(time.Millisecond))
	}
	return nil
}

// saveCursors saves the progress of all devices, unless the database is stuck.
func (e *Engine) saveCursors(ctx context.Context, stuck bool) {
	ctx, cancel := context.WithTimeout(ctx, stuckTimeout)
	defer cancel()
	if stuck {
		cancel()
	}
	if err := e.hub.Shutdown(ctx); err != nil {
		e.o.Logger.Warn("saving cursors failed: devices get again what they have acknowledged since", "error", err)
	}
}

// endWork waits until everything has ended, and ends the connections to the
// database. A statement that hangs has been told to end; its connection is not
// to be closed under it: what takes longer than a moment is left to itself. It
// may be the first to find that the database is silent, when no device had
// anything with it.
func (e *Engine) endWork(ctx context.Context) error {
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), stuckTimeout)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, l := range e.running() {
			_ = l.Shutdown(context.Background())
		}
		e.door.work.Wait()
		e.hook.Finish()
		e.work.Wait()
		e.closeDatabase()
	}()
	select {
	case <-ended:
	case <-bound.Done():
		e.o.Logger.Warn("the connections to the database are left to end by themselves")
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

// running are the lanes, if they have been started.
func (e *Engine) running() []*inbox.Lane {
	if e.cancel == nil {
		return nil
	}
	return e.lanes
}
