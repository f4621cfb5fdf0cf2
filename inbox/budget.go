package inbox

import (
	"context"
	"time"

	"postbox"
)

// heldBudget is how many bytes of entries the hub keeps in memory for devices
// that do not have them yet: tails of mailboxes and pages read ahead. Above it
// devices that are not up to date are served from the database, in portions
// that they take at once.
const heldBudget = 4 << 20

// lookEvery is how long a device may stand still before nothing is kept in
// memory for it any more, when the budget runs short.
const lookEvery = time.Second

// reclaim looks for devices that take nothing, while the budget runs short.
func (h *Hub) reclaim(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if h.held.Load() < heldBudget/2 {
			continue
		}
		for _, box := range h.all() {
			box.forget()
		}
	}
}

// all lists the mailboxes.
func (h *Hub) all() []*mailbox {
	h.mu.RLock()
	defer h.mu.RUnlock()
	boxes := make([]*mailbox, 0, len(h.boxes))
	for _, box := range h.boxes {
		boxes = append(boxes, box)
	}
	return boxes
}

// forget drops what is kept for devices that have taken nothing since the last
// look.
func (b *mailbox) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.subs {
		a := &s.ahead
		if a.still = a.stood == s.next && s.next <= b.head; a.still {
			s.dropPage()
		}
		a.stood = s.next
	}
	b.trim()
}

// due is the first number that the device still needs of the tail.
func (s *Subscription) due() postbox.InboxSeq {
	if s.ahead.reading {
		return max(s.tip(), s.ahead.reach) + 1
	}
	return s.tip() + 1
}
