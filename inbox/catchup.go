package inbox

import (
	"time"

	"postbox"
)

// Pages grow from firstPage to maxPage entries while they stay below
// pageBytes, and shrink above it.
const (
	firstPage = 16
	maxPage   = 512
	pageBytes = 256 << 10
)

// catchUp reads pages for a device that is behind until its window is full, or
// it has met the tail, or it is gone. It runs at most once per subscription.
func (s *Subscription) catchUp() {
	limit := firstPage
	pause := 20 * time.Millisecond
	for {
		after, upTo, more := s.wanted()
		if !more {
			return
		}
		select {
		case s.hub.reads <- struct{}{}:
		case <-s.hub.ctx.Done():
			return
		}
		entries, err := s.hub.reader.Entries(s.hub.ctx, s.box.user, after, upTo, limit)
		<-s.hub.reads
		if err != nil {
			s.hub.log.Warn("reading an inbox for a device failed", "error", err, "user_id", s.box.user, "retry_in", pause)
			if !s.hub.pause(pause) {
				return
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 20 * time.Millisecond
		size := 0
		for _, e := range entries {
			size += entrySize(e)
		}
		switch {
		case size > pageBytes:
			limit = max(limit/2, 1)
		case size < pageBytes/2:
			limit = min(limit*2, maxPage)
		}
		s.accept(after, upTo, entries)
	}
}

// wanted says what to read next. It ends the reading when nothing is wanted or
// the device takes no more, not even the news of a gap: pump starts it again.
func (s *Subscription) wanted() (after, upTo postbox.InboxSeq, more bool) {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if !s.ready() || len(s.page) > 0 || s.next > s.box.head || s.box.at(s.next) != nil {
		s.reading = false
		s.pump()
		s.box.trim()
		return 0, 0, false
	}
	return s.next - 1, s.box.head, true
}

// accept takes a page that was read, unless the subscription was moved
// meanwhile.
func (s *Subscription) accept(after, upTo postbox.InboxSeq, entries []*postbox.Entry) {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if s.closed || s.next != after+1 {
		return
	}
	if len(entries) == 0 {
		// All of it was removed by retention.
		s.gap(postbox.CodeExpired, upTo+1)
		s.outlet.Flush()
		return
	}
	s.page = entries
	s.pump()
}
