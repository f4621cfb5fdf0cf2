package inbox

import (
	"context"
	"sync"
	"time"

	"postbox"
)

// Bounds of the tail that a mailbox keeps for devices that are nearly up to
// date. What falls out of it is read from the database.
const (
	maxTail      = 512
	maxTailBytes = 256 << 10
	maxEarly     = 1024
)

// holePause is how long entries may wait for one below them before the
// database is asked.
const holePause = time.Second

// mailbox is the live end of one user's inbox, there while a device of the
// user is connected: the newest entries that some device still waits for, and
// the subscriptions. Its lock guards all of it and all of its subscriptions.
type mailbox struct {
	hub  *Hub
	user postbox.UserID

	mu    sync.Mutex
	subs  []*Subscription
	known bool             // head has been read from the database
	head  postbox.InboxSeq // all entries up to here are committed
	// tail holds contiguous entries that end at head.
	tail      []*postbox.Entry
	tailBytes int
	// early holds entries that came before one below them: two lanes commit
	// side by side and what they commit arrives in either order.
	early    map[postbox.InboxSeq]*postbox.Entry
	highest  postbox.InboxSeq // of all that came too early, also of those that early had no room for
	checking bool             // a goroutine waits to see whether early stays
	doubted  bool             // there may be entries above head that nobody brings
	woken    bool             // on the list of mailboxes to wake after a group
}

// loadHead reads the head once, when the mailbox is new. Entries that arrive
// meanwhile wait in early.
func (b *mailbox) loadHead(ctx context.Context, r Reader) (postbox.InboxSeq, error) {
	b.mu.Lock()
	known, head := b.known, b.head
	b.mu.Unlock()
	if known {
		return head, nil
	}
	head, err := r.Head(ctx, b.user)
	if err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.known {
		b.known, b.head = true, head
		b.dropTail(len(b.tail))
		for n := range b.early {
			if n <= head {
				delete(b.early, n)
			}
		}
		b.advance()
	}
	return head, nil
}

// doubt has the head looked up again a moment later.
func (b *mailbox) doubt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.doubted = true
	if !b.checking {
		b.checking = true
		b.hub.work.spawn(b.check)
	}
}

// check looks a moment later whether entries still wait for one below them,
// which then will not come by itself: it asks the database for the head and
// goes on from there. So it does when the head is doubted.
func (b *mailbox) check() {
	for b.hub.pause(holePause) {
		b.mu.Lock()
		if b.known && b.head >= b.highest && !b.doubted {
			b.checking = false
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		if b.reload() {
			b.wake()
		}
	}
}

// reload loads the head in its turn among those who read: it may be that of many
// mailboxes at once, and until then what comes is delivered. It reports whether it
// has.
func (b *mailbox) reload() bool {
	if !b.hub.enter(b.hub.reads) {
		return false
	}
	defer func() { <-b.hub.reads }()
	b.mu.Lock()
	b.known, b.doubted = false, false
	b.mu.Unlock()
	_, err := b.loadHead(b.hub.ctx, b.hub.reader)
	return err == nil
}

// add takes a committed entry. It reports true when the caller must wake the
// mailbox: the first time in a group.
func (b *mailbox) add(e *postbox.Entry) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(b.subs) == 0, b.known && e.InboxSeq <= b.head:
		return false // the last device has gone meanwhile; or there already
	case b.known && e.InboxSeq == b.head+1:
		b.push(e)
		b.advance()
	default:
		if b.early == nil {
			b.early = make(map[postbox.InboxSeq]*postbox.Entry)
		}
		b.highest = max(b.highest, e.InboxSeq)
		if len(b.early) < maxEarly {
			b.early[e.InboxSeq] = e
		}
		if !b.checking {
			b.checking = true
			b.hub.work.spawn(b.check)
		}
		return false
	}
	if b.woken {
		return false
	}
	b.woken = true
	return true
}

func (b *mailbox) push(e *postbox.Entry) {
	b.tail = append(b.tail, e)
	b.tailBytes += entrySize(e)
	b.hub.held.Add(int64(entrySize(e)))
	b.head = e.InboxSeq
}

// advance moves entries that no longer wait for one below them to the tail.
func (b *mailbox) advance() {
	for len(b.early) > 0 {
		e, ok := b.early[b.head+1]
		if !ok {
			return
		}
		delete(b.early, e.InboxSeq)
		b.push(e)
	}
}

// wake hands new entries to the devices.
func (b *mailbox) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.woken = false
	for _, s := range b.subs {
		if s.news != nil {
			s.tell()
			continue
		}
		s.pump()
	}
	b.trim()
}

// at returns the entry n if the tail has it.
func (b *mailbox) at(n postbox.InboxSeq) *postbox.Entry {
	i := len(b.tail) - 1 - int(b.head-n)
	if i < 0 || i >= len(b.tail) {
		return nil
	}
	return b.tail[i]
}

// trim drops from the tail what no device waits for, and what exceeds its
// bounds. A device that must read the database before it comes to the tail
// holds nothing back.
func (b *mailbox) trim() {
	first := b.head + 1 - postbox.InboxSeq(len(b.tail))
	need := b.head + 1
	if b.hub.held.Load() <= heldBudget {
		for _, s := range b.subs {
			if due := s.due(); s.started && !s.ahead.still && due >= first {
				need = min(need, due)
			}
		}
	}
	drop, bytes := 0, b.tailBytes
	for drop < len(b.tail) {
		e := b.tail[drop]
		if e.InboxSeq >= need && len(b.tail)-drop <= maxTail && bytes <= maxTailBytes {
			break
		}
		bytes -= entrySize(e)
		drop++
	}
	b.dropTail(drop)
}

// dropTail drops the first n entries of the tail.
func (b *mailbox) dropTail(n int) {
	for _, e := range b.tail[:n] {
		b.tailBytes -= entrySize(e)
		b.hub.held.Add(-int64(entrySize(e)))
	}
	if n == len(b.tail) {
		b.tail = nil
		return
	}
	clear(b.tail[:n])
	b.tail = b.tail[n:]
}

func (b *mailbox) remove(s *Subscription) {
	for i, other := range b.subs {
		if other == s {
			b.subs = append(b.subs[:i], b.subs[i+1:]...)
			return
		}
	}
}

// entrySize is about how many bytes an entry takes in memory.
func entrySize(e *postbox.Entry) int {
	if e.Message == nil {
		return 64
	}
	return 512 + len(e.Message.Body) + len(e.Message.Ref)
}
