package broker

import (
	"context"
	"time"

	"postbox/inbox"
)

// Pace of the search index. What comes to somebody's inbox is found before the index
// has it (store/search_unindexed.go), so the index may be behind while much is sent.
const (
	// indexPause is how long a message may wait for the next look at the queue.
	indexPause = 500 * time.Millisecond
	// indexHurry is how far behind the indexer takes no more pauses, unless senders wait.
	indexHurry = time.Second
	// indexGivesWay is for how long the indexer rests while senders wait, in times of
	// what it took for a round: at first, and the less the further it is behind.
	indexGivesWay = 10
	// indexPatience is how far behind the indexer rests no more, and senders begin to
	// wait for it: docs/spec.md says when a message is found at the latest.
	indexPatience = 25 * time.Second
	// indexFull is the same for the memory that is taken by what waits for it.
	indexFull = 0.75
)

// restForIndex is how long a lane rests after a commit that took so long.
func (e *Engine) restForIndex(took time.Duration) time.Duration {
	now := time.Now()
	return restFor(e.indexer.Behind(now), e.indexer.Full(now), took)
}

// restFor rests the longer the further the index is behind, or the more of the memory
// for what waits is full: from one second beyond indexPatience on, or with no room
// left, twice as long as the commit took, so that two thirds of the time are the index's.
func restFor(behind time.Duration, full float64, took time.Duration) time.Duration {
	beyond := max((behind - indexPatience).Seconds(), (full-indexFull)/(1-indexFull))
	return time.Duration(2 * max(0, min(beyond, 1)) * float64(took))
}

// pauseAfter is how long the indexer rests after a round that took so long: more says
// that there is more to do, and waiting how many drafts wait to be committed.
func pauseAfter(more bool, waiting int, behind time.Duration, full float64, took time.Duration) time.Duration {
	switch {
	case !more:
		return indexPause
	case waiting >= inbox.Pressed:
		left := 1 - min(1, max(behind.Seconds()/indexPatience.Seconds(), full/indexFull))
		return time.Duration(indexGivesWay * left * float64(min(took, indexPause)))
	case behind > indexHurry:
		return 0
	}
	return min(took, indexPause)
}

// index fills the search index, and leaves the database to others for as long as
// it has used it, or longer, unless it falls behind.
func (e *Engine) index(ctx context.Context) {
	failing := false
	for {
		began := time.Now()
		more, err := e.indexer.Round(ctx)
		pause := time.Second
		if err == nil {
			now := time.Now()
			pause = pauseAfter(more, e.waiting(), e.indexer.Lag(now), e.indexer.Full(now), now.Sub(began))
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
