package store

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lib/pq"
)

// heads remembers the last number of logs, so that a batch need not look for it, and
// lets one batch at a time have a log. It may be behind: an import, an erasure, some
// changes and what another server stores are not told here, or late. Then the batch
// takes a number that there is, PostgreSQL refuses it as a whole, and it looks after
// all. A number whose entry was deleted is not refused: what was learnt before a
// deletion does not count. It is never ahead, which would leave a hole: only what was
// committed is remembered, and nothing when a connection was lost and there may be
// another database behind the next one.
//
// The methods may be called from any goroutine.
type heads struct {
	mu    sync.Mutex // guards all below
	freed sync.Cond
	of    map[int64]*head

	// deletions is the newest value of postbox.deletions that a batch was told;
	// zero: none, it begins with 1.
	deletions int64
}

type head struct {
	held   bool  // by a batch
	void   bool  // what the batch learns is of another database
	number int64 // -1: not known
	stamp  int64 // of the last message of a conversation, in milliseconds since 1970
	// deletions is the value that postbox.deletions had when number was learnt.
	deletions int64
}

func newHeads() *heads {
	h := &heads{of: make(map[int64]*head)}
	h.freed.L = &h.mu
	return h
}

// holdPatience is how long a batch waits for those of others that have the same logs:
// longer than any takes while the database answers. Without a hold it is as good, and
// slower.
const holdPatience = 2 * time.Second

// holding is what is known of logs that a batch has: their last numbers, -1 where
// it is not known, and stamps, at a value of postbox.deletions.
type holding struct {
	numbers, stamps pq.Int64Array
	deletions       int64
}

// hold waits for logs, conversations before inboxes and each in ascending order,
// until the batch has all of them, and tells what is known. It is false when that
// takes too long or ctx has ended: then nothing is held, or known.
func (h *heads) hold(ctx context.Context, logs []int64) (known holding, held bool) {
	known.numbers, known.stamps = make(pq.Int64Array, len(logs)), make(pq.Int64Array, len(logs))
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.of)+len(logs) > maxRemembered {
		maps.DeleteFunc(h.of, func(_ int64, one *head) bool { return !one.held })
	}
	for i, log := range logs {
		if !h.await(ctx, log) {
			h.free(logs[:i])
			return unknown(len(logs)), false
		}
		one := h.of[log]
		if one == nil {
			one = &head{number: -1}
			h.of[log] = one
		}
		one.held = true
		known.numbers[i], known.stamps[i] = one.number, one.stamp
	}
	known.deletions = h.deletions
	for i, log := range logs { // another batch may have told of a deletion meanwhile
		if h.of[log].deletions != h.deletions {
			known.numbers[i] = -1
		}
	}
	return known, true
}

// unknown is what is known of logs of which nothing is.
func unknown(logs int) holding {
	return holding{numbers: slices.Repeat(pq.Int64Array{-1}, logs), stamps: make(pq.Int64Array, logs)}
}

// await waits until nobody holds a log; false: in vain.
func (h *heads) await(ctx context.Context, log int64) bool {
	free := func() bool { return h.of[log] == nil || !h.of[log].held }
	if free() {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, holdPatience)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.freed.Broadcast()
	})()
	for !free() && ctx.Err() == nil {
		h.freed.Wait()
	}
	return free()
}

// release ends a hold of which nothing was stored.
func (h *heads) release(logs []int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.free(logs)
}

func (h *heads) free(logs []int64) {
	for _, log := range logs {
		one := h.of[log]
		if one.held = false; one.void {
			delete(h.of, log)
		}
	}
	h.freed.Broadcast()
}

// forget ends a hold of which nobody knows whether it was stored, or that rested on
// numbers that are behind.
func (h *heads) forget(logs []int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, log := range logs {
		delete(h.of, log)
	}
	h.freed.Broadcast()
}

// learn ends a hold with what was stored: the last numbers, and the stamps of the
// conversations, which come first.
func (h *heads) learn(logs []int64, stored holding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, log := range logs {
		one := h.of[log]
		if one.void {
			delete(h.of, log)
			continue
		}
		one.held = false
		one.number, one.deletions = max(one.number, stored.numbers[i]), stored.deletions
		if i < len(stored.stamps) {
			one.stamp = max(one.stamp, stored.stamps[i])
		}
		h.deletions = max(h.deletions, stored.deletions)
	}
	h.freed.Broadcast()
}

// raise notes numbers that were given, with a hold or without; there may be none.
func (h *heads) raise(logs, numbers []int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, number := range numbers {
		if one := h.of[logs[i]]; one != nil && one.number >= 0 {
			one.number = max(one.number, number)
		}
	}
}

// forgetAll forgets all numbers, also what batches learn that have begun.
func (h *heads) forgetAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deletions = 0
	for log, one := range h.of {
		if one.void, one.number = true, -1; !one.held {
			delete(h.of, log)
		}
	}
}
