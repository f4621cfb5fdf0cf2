package store

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/lib/pq"
)

// heads remembers the last number of logs, so that a batch need not look for it, and
// lets one batch at a time have a log. It may be behind: an import, an erasure, some
// changes and what another server stores are not told here, or late. Then the batch
// takes a number that there is, PostgreSQL refuses it as a whole, and it looks after
// all. It is never ahead, which would leave a hole: only what was committed is
// remembered, and nothing when a connection was lost and there may be another
// database behind the next one.
//
// The methods may be called from any goroutine.
type heads struct {
	mu    sync.Mutex // guards all below
	freed sync.Cond
	of    map[int64]*head
}

type head struct {
	held   bool  // by a batch
	void   bool  // what the batch learns is of another database
	number int64 // -1: not known
	stamp  int64 // of the last message of a conversation, in milliseconds since 1970
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

// hold waits for logs, given in ascending order, until the batch has all of them, and
// tells their last numbers, -1 where it is not known, and stamps. It is false when that
// takes too long or ctx has ended: then nothing is held, or known.
func (h *heads) hold(ctx context.Context, logs []int64) (numbers, stamps pq.Int64Array, held bool) {
	numbers, stamps = make(pq.Int64Array, len(logs)), make(pq.Int64Array, len(logs))
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.of)+len(logs) > maxRemembered {
		maps.DeleteFunc(h.of, func(_ int64, one *head) bool { return !one.held })
	}
	for i, log := range logs {
		if !h.await(ctx, log) {
			h.free(logs[:i])
			for i := range logs {
				numbers[i], stamps[i] = -1, 0
			}
			return numbers, stamps, false
		}
		one := h.of[log]
		if one == nil {
			one = &head{number: -1}
			h.of[log] = one
		}
		one.held = true
		numbers[i], stamps[i] = one.number, one.stamp
	}
	return numbers, stamps, true
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

// learn ends a hold with what was stored: the last numbers and stamps.
func (h *heads) learn(logs, numbers, stamps []int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, log := range logs {
		one := h.of[log]
		if one.void {
			delete(h.of, log)
			continue
		}
		one.held = false
		one.number, one.stamp = max(one.number, numbers[i]), max(one.stamp, stamps[i])
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
	for log, one := range h.of {
		if one.void, one.number = true, -1; !one.held {
			delete(h.of, log)
		}
	}
}
