package store

import (
	"sync"
	"sync/atomic"
	"time"

	"postbox"
)

// Bounds of what is remembered for the indexer. What there is no room for is read
// from the database when its turn comes.
const (
	recentBytes    = 32 << 20
	recentBody     = 4 << 10 // of one message; there are fewer of larger ones, and the memory is dearer
	recentOverhead = 256     // of a message besides its body, about
	// recentAge is after how long nobody will ask any more: another server indexes.
	recentAge = time.Minute
)

// recent is what was stored a moment ago, so that the indexer of the same process
// need not read it back. Its methods may be called from any goroutine.
type recent struct {
	asked atomic.Bool // there is an indexer

	mu    sync.Mutex // guards the fields below
	rows  map[indexKey]indexRow
	bytes int
	since time.Time // of the oldest
}

// put remembers what was stored. While there is no room it remembers nothing: the
// oldest is what is asked for first.
func (r *recent) put(all []*postbox.Publish, now time.Time) {
	if !r.asked.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes+recentOverhead > recentBytes && now.Sub(r.since) > recentAge {
		clear(r.rows)
		r.bytes = 0
	}
	if r.rows == nil {
		r.rows = make(map[indexKey]indexRow)
	}
	if len(r.rows) == 0 {
		r.since = now
	}
	for _, p := range all {
		row := rowOf(p)
		if size := len(row.body) + recentOverhead; len(row.body) <= recentBody && r.bytes+size <= recentBytes {
			r.bytes += size
			r.rows[row.key] = row
		}
	}
}

// take appends all messages of a stretch to rows; false, and nothing appended, if one is
// not there. It forgets them in any case.
func (r *recent) take(s indexStretch, rows []indexRow) (all []indexRow, there bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all = rows
	for seq := s.after + 1; seq <= s.after+postbox.Seq(s.count); seq++ {
		if row, ok := r.rows[indexKey{s.conversation, seq}]; ok {
			all = append(all, row)
			delete(r.rows, row.key)
			r.bytes -= len(row.body) + recentOverhead
		}
	}
	if len(all) < len(rows)+s.count {
		return rows, false
	}
	return all, true
}

// rowOf is what the indexer would read of a message that was stored just now.
func rowOf(p *postbox.Publish) indexRow {
	m := p.Message
	row := indexRow{
		key: indexKey{m.Conversation, m.Seq}, sender: int64(m.Sender), sent: m.SentAt, known: true, contentType: m.ContentType, body: m.Body,
	}
	row.expires.Time, row.expires.Valid = m.ExpiresAt, !m.ExpiresAt.IsZero()
	if m.Room == "" {
		other := m.Sender // a note to oneself has no other recipient
		if len(p.Recipients) > 0 {
			other = p.Recipients[0]
		}
		row.low, row.high = int64(min(m.Sender, other)), int64(max(m.Sender, other))
	}
	return row
}
