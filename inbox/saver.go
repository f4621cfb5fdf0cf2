package inbox

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"postbox"
)

// saveEvery is how long a cursor may wait to be saved. A lost save costs
// deliveries with a number the device has seen, never a gap.
const saveEvery = time.Second

// saver writes the cursors that have moved, all in one statement.
type saver struct {
	reader  Reader
	log     *slog.Logger
	soon    chan struct{}
	once    sync.Once
	metrics *hubMetrics

	mu     sync.Mutex // guards the fields below; may be taken under a mailbox's lock
	moved  []*Subscription
	failed map[owner]postbox.CursorSave // of saves under way or failed

	saving chan struct{} // holds one value while a save runs
}

// owner is whose progress it is. Devices without a session only move their
// user's mark, which they share.
type owner struct {
	user   postbox.UserID
	device postbox.DeviceID
}

func (v *saver) init() {
	v.once.Do(func() {
		v.soon = make(chan struct{}, 1)
		v.saving = make(chan struct{}, 1)
	})
}

// add notes a subscription whose cursor has moved.
func (v *saver) add(s *Subscription) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.moved = append(v.moved, s)
}

// kick asks for a save before the next second is over.
func (v *saver) kick() {
	v.init()
	select {
	case v.soon <- struct{}{}:
	default:
	}
}

func (v *saver) run(ctx context.Context) {
	v.init()
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.soon:
		case <-tick.C:
		}
		if err := v.save(ctx); err != nil && ctx.Err() == nil {
			v.log.Warn("saving cursors failed: they are saved with the next", "error", err)
		}
	}
}

// unsaved is a device's cursor that is not in the database yet.
func (v *saver) unsaved(user postbox.UserID, d postbox.DeviceID) (postbox.InboxSeq, bool) {
	if d == 0 {
		return 0, false
	}
	v.mu.Lock()
	moved := v.moved
	failed, ok := v.failed[owner{user, d}]
	v.mu.Unlock()
	best := failed.Cursor
	for _, s := range moved {
		if s.device.ID == d {
			best, ok = max(best, s.lastCursor()), true
		}
	}
	return best, ok
}

// save writes everything that has moved since the last save. What fails is
// tried again with the next. One save runs at a time: others wait, as long as
// their contexts.
func (v *saver) save(ctx context.Context) error {
	v.init()
	select {
	case v.saving <- struct{}{}:
		defer func() { <-v.saving }()
	case <-ctx.Done():
		return ctx.Err()
	}
	v.mu.Lock()
	moved := v.moved
	v.moved = nil
	v.mu.Unlock()
	saves := make(map[owner]postbox.CursorSave)
	for _, s := range moved {
		c, ok := s.progress()
		if !ok {
			continue
		}
		if old, ok := saves[owner{c.User, c.Device}]; !ok || old.Cursor < c.Cursor {
			saves[owner{c.User, c.Device}] = c
		}
	}
	v.mu.Lock()
	for o, c := range v.failed {
		if saves[o].Cursor < c.Cursor {
			saves[o] = c
		}
	}
	v.failed = saves
	v.mu.Unlock()
	if len(saves) == 0 {
		return nil
	}
	all := make([]postbox.CursorSave, 0, len(saves))
	for _, c := range saves {
		all = append(all, c)
	}
	if err := v.reader.SaveCursors(ctx, all); err != nil {
		v.metrics.saveFailures.Inc()
		return err
	}
	v.metrics.saves.Add(float64(len(all)))
	v.mu.Lock()
	v.failed = nil
	v.mu.Unlock()
	return nil
}

// progress takes the subscription off the saver's list. It reports false when
// there is nothing to save: what the device must hear first it has not.
func (s *Subscription) progress() (postbox.CursorSave, bool) {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	s.marked = false
	return postbox.CursorSave{
		User: s.device.User, Device: s.device.ID, Cursor: s.cursor, Epoch: s.hub.epoch,
	}, s.unheard == ""
}

func (s *Subscription) lastCursor() postbox.InboxSeq {
	return s.Cursor()
}
