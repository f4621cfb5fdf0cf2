package hooks

import (
	"sync"

	"postbox/inbox"
)

// errands are done one after another by a goroutine that exists while there are
// some. A draft that waits for one is handed on after it, and those that come
// behind it wait, too, so that their order stays what it was.
type errands struct {
	mu      sync.Mutex // guards the fields below
	queue   []errand
	running bool
}

type errand struct {
	draft *inbox.Draft // nil if nothing waits
	do    func()       // nil for a draft that only keeps its place
}

// put queues an errand with its draft, or a draft behind earlier errands. It
// reports false for a draft that has nothing to wait for.
func (q *errands) put(h *Hook, d *inbox.Draft, do func(), give func(*inbox.Draft)) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if do == nil && !q.running {
		return false
	}
	q.queue = append(q.queue, errand{d, do})
	if !q.running {
		q.running = true
		h.work.Go(func() { q.run(give) })
	}
	return true
}

// waiting is how many are queued.
func (q *errands) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queue)
}

func (q *errands) run(give func(*inbox.Draft)) {
	for {
		q.mu.Lock()
		if len(q.queue) == 0 {
			q.queue, q.running = nil, false
			q.mu.Unlock()
			return
		}
		next := q.queue[0]
		q.queue = q.queue[1:]
		q.mu.Unlock()
		if next.do != nil {
			next.do()
		}
		if next.draft != nil {
			give(next.draft)
		}
	}
}
