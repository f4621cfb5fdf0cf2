package broker

import (
	"context"
	"time"
)

// Pace of the search index.
const (
	// indexPause is how long a message may wait for the next look at the queue.
	indexPause = 500 * time.Millisecond
	// indexHurry is how far behind the indexer takes no more pauses.
	indexHurry = time.Second
	// indexPatience is how far behind senders begin to wait for it: a message is to be
	// found within five seconds (docs/spec.md).
	indexPatience = 3 * time.Second
)

// restForIndex is how long a lane rests after a commit that took so long.
func (e *Engine) restForIndex(took time.Duration) time.Duration {
	return restFor(e.indexer.Behind(time.Now()), took)
}

// restFor rests the longer the further the index is behind: from one second beyond
// indexPatience on twice as long as the commit took, so that two thirds of the time are
// the index's.
func restFor(behind, took time.Duration) time.Duration {
	beyond := behind - indexPatience
	if beyond <= 0 {
		return 0
	}
	return time.Duration(2 * min(beyond, time.Second).Seconds() * float64(took))
}

// index fills the search index, and leaves the database to others for as long as
// it has used it, unless it falls behind.
func (e *Engine) index(ctx context.Context) {
	failing := false
	for {
		began := time.Now()
		more, err := e.indexer.Round(ctx)
		pause := indexPause
		switch {
		case err != nil:
			pause = time.Second
		case more && e.indexer.Lag(time.Now()) > indexHurry:
			pause = 0
		case more:
			pause = min(time.Since(began), pause)
		}
		if err != nil && !failing && ctx.Err() == nil {
			e.o.Logger.Warn("the search index is not kept for now", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
