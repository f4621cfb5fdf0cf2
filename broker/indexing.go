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
)

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
