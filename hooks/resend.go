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
// the device are read from the database when the first re-send comes.
type sentRecords struct {
	mu     sync.Mutex // guards all fields
	byID   map[uint16]*sentRecord
	order  []*sentRecord // oldest first, for the bound
	open   map[uint16]*sentRecord
	loaded struct{ sent, open bool }
}

// sentRecord is one publish: on its way while draft is set, then stored.
type sentRecord struct {
	packetID uint16
	qos      byte
	digest   postbox.Digest
	draft    *inbox.Draft
	stored   postbox.Stored
}

// recognise settles d in advance when it is the re-send of a publish that is
// known; otherwise it is remembered as the one that uses its packet id.
//
// A DUP publish is a re-send when the last publish with its id asked for the
// same. While a QoS 2 id is open, the same is a re-send whatever DUP says.
func (c *client) recognise(d *inbox.Draft, dup bool) {
	p := &d.Publish
	s := &c.sent
	if p.QoS == 2 {
		c.loadOpen()
	}
	if dup {
		c.loadSent()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.open[p.PacketID]; p.QoS == 2 && r != nil && r.digest == p.Digest {
		r.answer(d)
		return
	}
	if r := s.byID[p.PacketID]; dup && r != nil && r.qos == p.QoS && r.digest == p.Digest {
		r.answer(d)
		return
	}
	if d.Refusal == nil {
		s.remember(&sentRecord{packetID: p.PacketID, qos: p.QoS, digest: p.Digest, draft: d}, c.hook.o.Limits.Inflight)
	}
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
	if r.qos == 2 {
		if s.open == nil {
			s.open = make(map[uint16]*sentRecord)
		}
		s.open[r.packetID] = r
	}
}

// done turns the record of a settled draft into one of a stored message, or
// forgets it if the draft was refused: the next attempt is judged anew.
func (s *sentRecords) done(d *inbox.Draft) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range []map[uint16]*sentRecord{s.byID, s.open} {
		r := m[d.Publish.PacketID]
		switch {
		case r == nil || r.draft != d && r.draft != nil:
		case d.Refusal != nil && r.draft == d:
			delete(m, d.Publish.PacketID)
		case d.Refusal == nil && r.digest == d.Publish.Digest:
			r.stored = d.Stored
		}
	}
	for _, m := range []map[uint16]*sentRecord{s.byID, s.open} {
		if r := m[d.Publish.PacketID]; r != nil && r.draft == d {
			r.draft = nil
		}
	}
}

// close forgets an open QoS 2 id, at PUBREL.
func (s *sentRecords) close(packetID uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, packetID)
}

// loadSent reads the device's records of earlier connections, once.
func (c *client) loadSent() {
	s := &c.sent
	if s.loaded.sent {
		return
	}
	limit := c.hook.o.Limits.Inflight
	records, ok := c.load(func(ctx context.Context) ([]postbox.SentPublish, error) {
		return c.hook.o.Records.SentPublishes(ctx, c.who.ID, c.device, limit)
	})
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loaded.sent = true
	if s.byID == nil {
		s.byID = make(map[uint16]*sentRecord)
	}
	for _, p := range records { // newest first: the last use of an id counts
		if s.byID[p.PacketID] == nil {
			s.byID[p.PacketID] = recordOf(p)
		}
	}
}

// loadOpen reads the open QoS 2 ids of a resumed session, once.
func (c *client) loadOpen() {
	s := &c.sent
	if s.loaded.open || !c.session.Present {
		return
	}
	records, ok := c.load(func(ctx context.Context) ([]postbox.SentPublish, error) {
		return c.hook.o.Records.OpenPublishes(ctx, c.session.Device)
	})
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loaded.open = true
	if s.open == nil {
		s.open = make(map[uint16]*sentRecord)
	}
	for _, p := range records {
		s.open[p.PacketID] = recordOf(p)
	}
}

func recordOf(p postbox.SentPublish) *sentRecord {
	return &sentRecord{packetID: p.PacketID, qos: p.QoS, digest: p.Stored.Digest, stored: p.Stored}
}

// load reads records, again and again while the database is away: without them
// a re-send would be taken for new. It gives up when the connection ends.
func (c *client) load(read func(ctx context.Context) ([]postbox.SentPublish, error)) ([]postbox.SentPublish, bool) {
	pause := 50 * time.Millisecond
	for !c.conn.Closed() {
		ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
		records, err := read(ctx)
		cancel()
		if err == nil {
			return records, true
		}
		c.hook.o.Logger.Warn("reading the publishes of a device failed", "error", err, "user", c.who.Name, "retry_in", pause)
		c.wait(pause)
		pause = min(2*pause, time.Second)
	}
	return nil, false
}
