package inbox

import (
	"time"

	"postbox"
)

// Pages begin with firstPage entries. They grow to maxPage, and shrink while
// the reader gives less because the entries are large.
const (
	firstPage = 64
	minPage   = 16
	maxPage   = 512
)

// ahead is what has been read for a device that is behind, before it can take
// it. The mailbox's lock guards it.
type ahead struct {
	page    []*postbox.Entry
	bytes   int              // of the page, counted in the hub's budget
	limit   int              // entries of the next page
	reading bool             // a goroutine reads
	stale   bool             // what it reads just now is not wanted any more
	reach   postbox.InboxSeq // what is being read goes up to here
	pace    pace             // catchUp's own
	dry     bool             // there was nothing behind the page
	stood   postbox.InboxSeq // next at the last look for devices that stand still
	still   bool             // it stood still: nothing is kept in memory for it
}

// catchUp reads pages for a device that is behind, a page ahead of what it
// takes, until it has met the tail or takes no more. It runs at most once per
// subscription.
func (s *Subscription) catchUp() {
	pause := 20 * time.Millisecond
	for {
		after, upTo, limit, more := s.wanted()
		if !more {
			return
		}
		far := upTo-after > nearly
		if far && !s.hub.enter(s.hub.rests) || !s.hub.enter(s.hub.reads) {
			return
		}
		began := time.Now()
		entries, err := s.hub.reader.Entries(s.hub.ctx, s.box.user, after, upTo, limit)
		took := time.Since(began)
		<-s.hub.reads
		if err == nil {
			pause = 20 * time.Millisecond
			s.hub.metrics.pages.Inc()
			s.hub.metrics.pageEntries.Add(float64(len(entries)))
			s.accept(after, upTo, entries)
			if far {
				s.rest(took, upTo, len(entries))
			}
		}
		if far {
			<-s.hub.rests
		}
		if err != nil {
			s.hub.metrics.readFailures.Inc()
			s.hub.log.Warn("reading an inbox for a device failed", "error", err, "user_id", s.box.user, "retry_in", pause)
			if !s.hub.pause(pause) {
				return
			}
			pause = min(2*pause, time.Second)
		}
	}
}

// wanted says what to read next. It ends the reading when nothing is wanted or
// the device takes no more, not even the news of a gap: pump starts it again.
func (s *Subscription) wanted() (after, upTo postbox.InboxSeq, limit int, more bool) {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if !s.wantsMore() {
		s.ahead.reading = false
		s.pump()
		s.box.trim()
		return 0, 0, 0, false
	}
	if s.ahead.limit == 0 {
		s.ahead.limit = firstPage
	}
	after, upTo, limit = s.tip(), s.box.head, s.ahead.limit
	s.ahead.reach = min(upTo, after+postbox.InboxSeq(limit))
	return after, upTo, limit, true
}

// wantsMore reports whether there is something to read for the device: it is
// behind what is in memory, and would take it now or soon.
func (s *Subscription) wantsMore() bool {
	a, tip := &s.ahead, s.tip()
	switch {
	case !s.started || s.closed || tip >= s.box.head || s.box.at(tip+1) != nil:
		return false
	case len(a.page) == 0:
		return s.ready()
	}
	return !a.dry && len(a.page) <= a.limit/2 && s.hub.held.Load() < heldBudget/2
}

// tip is the number up to which the device was served or has a page.
func (s *Subscription) tip() postbox.InboxSeq {
	if n := len(s.ahead.page); n > 0 {
		return s.ahead.page[n-1].InboxSeq
	}
	return s.next - 1
}

// accept takes a page that was read, unless the subscription was moved
// meanwhile.
func (s *Subscription) accept(after, upTo postbox.InboxSeq, entries []*postbox.Entry) {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	a := &s.ahead
	stale := a.stale
	if a.stale = false; stale || s.closed || s.tip() != after {
		return
	}
	a.dry = len(entries) == 0
	if a.dry && len(a.page) > 0 {
		return // asked again after the page
	}
	if a.dry {
		// All of it was removed by retention.
		s.gap(postbox.CodeExpired, upTo+1)
		s.outlet.Flush()
		return
	}
	if last := entries[len(entries)-1].InboxSeq; last < min(upTo, after+postbox.InboxSeq(a.limit)) {
		a.limit = max(2*len(entries), minPage)
	} else {
		a.limit = min(2*a.limit, maxPage)
	}
	a.page = append(a.page, entries...)
	for _, e := range entries {
		a.bytes += entrySize(e)
		s.hub.held.Add(int64(entrySize(e)))
	}
	before := len(a.page)
	s.pump()
	if len(a.page) > 0 && s.hub.held.Load() > heldBudget {
		// Too many devices are behind: this one reads what it takes at once.
		a.limit = max(before-len(a.page), minPage)
		s.dropPage()
	}
}

// fromPage takes the first entry off the page; nil if there is none.
func (s *Subscription) fromPage() *postbox.Entry {
	a := &s.ahead
	if len(a.page) == 0 {
		return nil
	}
	e := a.page[0]
	a.page[0] = nil
	a.page = a.page[1:]
	a.bytes -= entrySize(e)
	s.hub.held.Add(-int64(entrySize(e)))
	if len(a.page) == 0 {
		a.page = nil
	}
	return e
}

// putBack undoes fromPage.
func (s *Subscription) putBack(e *postbox.Entry) {
	a := &s.ahead
	a.page = append([]*postbox.Entry{e}, a.page...)
	a.bytes += entrySize(e)
	s.hub.held.Add(int64(entrySize(e)))
}

// dropPage forgets what was read ahead; it is read again when it is wanted.
func (s *Subscription) dropPage() {
	s.hub.held.Add(-int64(s.ahead.bytes))
	s.ahead.page, s.ahead.bytes = nil, 0
}

// readOn starts reading when there is something to read.
func (s *Subscription) readOn() {
	if !s.ahead.reading && s.wantsMore() {
		s.ahead.reading = true
		s.hub.work.spawn(s.catchUp)
	}
}
