package hooks

import (
	"context"
	"sync"
	"time"

	"postbox"
	"postbox/inbox"
)

// sentRecords are a connection's own publishes, by packet id, by which its
// re-sends are recognised (docs/spec.md §5). Those of earlier connections of
// the device are looked up in the database when a re-send comes.
type sentRecords struct {
	// The reader's own: open has been read; the connection ended while it
	// was, and a publish was dropped for that.
	loaded, ended bool

	mu    sync.Mutex // guards the fields below
	known knowledge
	byID  map[uint16]*sentRecord
	order []*sentRecord // oldest first, for the bound
	open  map[uint16]*sentRecord
}

// sentRecord is one publish: on its way while draft is set, then stored.
type sentRecord struct {
	packetID uint16
	qos      byte
	digest   postbox.Digest
	draft    *inbox.Draft
	stored   postbox.Stored
	refused  bool // only says that the id was used anew
}

// recognise settles d in advance when it is the re-send of a publish that is
// known; otherwise it is remembered as the one that uses its packet id.
//
// A DUP publish is a re-send when the last publish with its id asked for the
// same. While a QoS 2 id is open, the same is a re-send whatever DUP says; what
// uses the id for something else, at whatever QoS, ends that. It reports false
// when the connection ended before that could be told: the publish must then be
// dropped, unanswered.
func (c *client) recognise(d *inbox.Draft, dup bool) bool {
	p := &d.Publish
	s := &c.sent
	if !c.loadOpen() || dup && !c.lookUp(p.PacketID) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last, open := s.byID[p.PacketID], s.open[p.PacketID]
	switch {
	case p.QoS == 2 && open != nil && open.digest == p.Digest:
		open.answer(d)
	case dup && last != nil && last.qos == p.QoS && last.digest == p.Digest && s.mayComeAgain(last):
		last.answer(d)
		if p.QoS == 2 {
			s.opens(p.PacketID, last)
		}
	case open != nil && d.Refusal != nil && d.Refusal.Code == postbox.CodeRateLimited:
		return true // it may be the same once more, which nobody has looked at
	default:
		if open != nil {
			d.Frees, d.Device = true, c.session.Device
			delete(s.open, p.PacketID)
		}
		s.remember(&sentRecord{packetID: p.PacketID, qos: p.QoS, digest: p.Digest, draft: d}, c.hook.o.Limits.Inflight)
		return true
	}
	c.hook.metrics.resends.Inc()
	return true
}

// mayComeAgain reports whether the publish of a record may be sent again: it
// was stored, and the client has not shown that it knows.
func (s *sentRecords) mayComeAgain(r *sentRecord) bool {
	return !r.refused && (r.draft != nil || !s.known.covers(r.stored.ID))
}

// answer gives d the outcome of the publish that it repeats.
func (r *sentRecord) answer(d *inbox.Draft) {
	d.Refusal = nil
	if r.draft != nil {
		d.Earlier = r.draft
		return
	}
	d.Stored, d.Duplicate = r.stored, true
}

// remember makes r the record of its packet id.
func (s *sentRecords) remember(r *sentRecord, limit int) {
	s.keep(r, limit)
	if r.qos == 2 {
		s.opens(r.packetID, r)
	}
}

// opens notes that a QoS 2 id is open.
func (s *sentRecords) opens(packetID uint16, r *sentRecord) {
	if s.open == nil {
		s.open = make(map[uint16]*sentRecord)
	}
	s.open[packetID] = r
}

// keep files r, and forgets the oldest beyond limit: the database knows them.
func (s *sentRecords) keep(r *sentRecord, limit int) {
	if s.byID == nil {
		s.byID = make(map[uint16]*sentRecord)
	}
	s.byID[r.packetID] = r
	s.order = append(s.order, r)
	for len(s.order) > limit {
		if old := s.order[0]; s.byID[old.packetID] == old {
			delete(s.byID, old.packetID)
		}
		s.order[0] = nil
		s.order = s.order[1:]
	}
}

// done turns the record of a settled draft into one of a stored message, or of
// a refusal: the next attempt is judged anew.
func (s *sentRecords) done(d *inbox.Draft) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := d.Publish.PacketID
	if r := s.open[id]; r != nil && r.draft == d && d.Refusal != nil {
		delete(s.open, id)
	}
	for _, r := range []*sentRecord{s.byID[id], s.open[id]} {
		if r != nil && r.draft == d {
			r.draft, r.stored, r.refused = nil, d.Stored, d.Refusal != nil
		}
	}
}

// close forgets an open QoS 2 id, at PUBREL, and reports whether it was open.
func (s *sentRecords) close(packetID uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, open := s.open[packetID]
	delete(s.open, packetID)
	return open
}

// lookRest is how long a device rests, in units of what a look at a part of its publishes
// took, before the next: others are to have more of the database than who has published
// thousands under a few packet ids, and sends again what nobody has seen.
const lookRest = 4

// lookUp makes sure that the last publish of the device under a packet id is
// known here, if there was one. False: the connection has ended.
func (c *client) lookUp(packetID uint16) bool {
	s := &c.sent
	s.mu.Lock()
	known := s.byID[packetID] != nil
	s.mu.Unlock()
	if known {
		return true
	}
	upTo, before := s.knows(), postbox.InboxSeq(0)
	for {
		var p *postbox.SentPublish
		began := time.Now()
		next := before
		loaded := c.load(func(ctx context.Context) (err error) {
			p, next, err = c.hook.o.Records.SentPublish(ctx, c.who.ID, c.device, packetID, upTo, before)
			return err
		})
		switch {
		case !loaded:
			return false
		case p != nil:
			s.mu.Lock()
			s.keep(recordOf(*p), c.hook.o.Limits.Inflight)
			s.mu.Unlock()
			return true
		case next == 0:
			return true
		}
		before = next
		c.wait(lookRest * time.Since(began))
	}
}

// loadOpen reads the open QoS 2 ids of a resumed session, once, if it has any.
// False: the connection has ended.
func (c *client) loadOpen() bool {
	s := &c.sent
	if s.loaded || !c.session.Present || !c.session.Open {
		return true
	}
	return c.load(func(ctx context.Context) error {
		records, err := c.hook.o.Records.OpenPublishes(ctx, c.session.Device)
		if err != nil {
			return err
		}
		s.loaded = true
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range records {
			s.opens(p.PacketID, recordOf(p))
		}
		return nil
	})
}

func recordOf(p postbox.SentPublish) *sentRecord {
	return &sentRecord{packetID: p.PacketID, qos: p.QoS, digest: p.Stored.Digest, stored: p.Stored}
}

// load reads records, again and again while the database is away: without them
// a re-send would be taken for new. It gives up when the connection ends.
func (c *client) load(read func(ctx context.Context) error) bool {
	pause := 50 * time.Millisecond
	for !c.conn.Closed() && c.hook.ctx.Err() == nil {
		ctx, cancel := c.hook.within(connectTimeout)
		err := read(ctx)
		cancel()
		if err == nil {
			return true
		}
		c.hook.o.Logger.Warn("reading the publishes of a device failed", "error", err, "user", c.who.Name, "retry_in", pause)
		c.wait(pause)
		pause = min(2*pause, time.Second)
	}
	return false
}
