package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"time"
)

// Bounds of a look at what is not in the index yet.
const (
	// coveredMargin is how long a message may have been on its way into the database,
	// or how far the clock of the server that took it may be behind PostgreSQL's: what
	// is from so long before the time to which the index is complete may be missing in
	// it as well.
	coveredMargin = 5 * time.Second
	// mostUnindexed is how many of the newest entries of an inbox are looked at, and
	// firstUnindexed how many at first, then moreUnindexed times as many.
	// unindexedBytes is after how much body no more is.
	mostUnindexed  = 2000
	firstUnindexed = 16
	moreUnindexed  = 16
	unindexedBytes = 8 << 20
)

// entryIsFresh says whether an entry i of an inbox, with its message m and its event e,
// is from after the time to which the index is complete by its state s; or that nobody
// knows: what was imported has the time of elsewhere.
var entryIsFresh = fmt.Sprintf(`coalesce(m.qos, 0) < 0 OR coalesce(e.happened_at, m.sent_at, 'infinity') >= s.covered - interval '%g seconds'`,
	coveredMargin.Seconds())

// entryParts are the event and the message of an entry i, if it is a message or an edit.
const entryParts = `LEFT JOIN postbox.events e ON e.id = i.event_id
	     LEFT JOIN postbox.messages m ON i.kind IN (0, 1) AND m.conversation_id = i.conversation_id AND m.seq = i.seq`

// newestIsFresh says so of the newest entry of a user's inbox: usually none is.
func newestIsFresh(user string) string {
	return `coalesce((
	       SELECT ` + entryIsFresh + `
	         FROM (SELECT conversation_id, seq + entries - 1 AS seq, kind, event_id
	                 FROM postbox.inbox WHERE user_id = ` + user + ` ORDER BY inbox_seq DESC LIMIT 1) i ` + entryParts + `), false)`
}

// newestEntries are so many entries of a user's inbox before one, the newest first. No more
// rows are taken apart than that takes.
const newestEntries = `
	SELECT r.conversation_id, r.kind, r.event_id, r.inbox_seq + n.n AS inbox_seq, r.seq + n.n AS seq
	  FROM (SELECT r.*, sum(r.n) OVER (ORDER BY r.inbox_seq DESC) - r.n AS before
	          FROM (SELECT i.*, least(i.entries, $2 - i.inbox_seq) AS n
	                  FROM postbox.inbox i WHERE i.user_id = $1 AND i.inbox_seq < $2 ORDER BY i.inbox_seq DESC LIMIT $3) r) r
	 CROSS JOIN LATERAL generate_series(0, r.n - 1) AS n (n)
	 WHERE r.before < $3
	 ORDER BY r.inbox_seq + n.n DESC LIMIT $3`

// readUnindexed reads the newest entries of an inbox before one, and of the messages
// that are in them, or were edited, those that can be hits, with their bodies as long as
// there is room.
var readUnindexed = `
	SELECT d.inbox_seq, d.fresh, d.fits, d.before < $11, d.entry_conversation,
	       coalesce((date_part('epoch', d.sent_at) * 1000000)::bigint, 0), coalesce(c.user_low, 0), coalesce(c.user_high, 0), coalesce(c.room, ''),
	       coalesce(d.seq, 0), coalesce(d.sender_id, 0), uuid_send(d.id), ` + messageTimes + `, ` + messageTexts + `,
	       CASE WHEN d.fits AND d.before < $11 THEN d.body END
	  FROM (
	       SELECT d.*, coalesce(sum(octet_length(d.body)) FILTER (WHERE d.fits) OVER
	                            (ORDER BY d.inbox_seq DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
	         FROM (
	              SELECT m.*, i.inbox_seq, i.conversation_id AS entry_conversation, f.fresh,
	                     f.fresh AND m.id IS NOT NULL AND ($4 = 0 OR m.sender_id = $4)
	                         AND (m.sent_at, m.conversation_id, m.seq) < ($5::timestamptz, $6::bigint, $7::bigint)
	                         AND (m.sent_at, m.conversation_id, m.seq) > ($8::timestamptz, $9::bigint, $10::bigint) AS fits
	                FROM (` + newestEntries + `) i
	               CROSS JOIN postbox.search_state s ` + entryParts + `
	               CROSS JOIN LATERAL (SELECT ` + entryIsFresh + ` AS fresh) f) d) d
	  LEFT JOIN postbox.conversations c ON c.id = d.entry_conversation
	 ORDER BY d.inbox_seq DESC`

// lookAtUnindexed finds what the index may not have yet: in the inbox of who searches,
// from its end to where the index is complete, or as far as is looked. It is called
// before the index is asked, so that nothing is missed that is indexed meanwhile.
func (f *find) lookAtUnindexed(ctx context.Context) error {
	r := &unindexedReading{find: f, next: math.MaxInt64, now: time.Now()}
	for n := firstUnindexed; !r.ended && r.entries < mostUnindexed && r.bytes < unindexedBytes; n *= moreUnindexed {
		if err := r.readOn(ctx, min(n, mostUnindexed-r.entries)); err != nil {
			return err
		}
	}
	return nil
}

// unindexedReading is a walk towards older entries of an inbox.
type unindexedReading struct {
	*find
	now            time.Time
	next           int64 // the last entry that was looked at
	ended          bool
	entries, bytes int // that were looked at
}

// readOn looks at the next n entries, or fewer if their bodies are large.
func (r *unindexedReading) readOn(ctx context.Context, n int) error {
	var row hitRow
	var entry int64
	var fresh, fits, whole bool
	rest, cut := n, false
	targets := append([]any{&entry, &fresh, &fits, &whole, &row.conversation, &row.at, &row.low, &row.high, &row.room}, row.targets()...)
	err := r.store.finder.query(ctx, readUnindexed, func(rows *sql.Rows) error {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		rest--
		if cut = cut || fits && !whole; cut { // the next statement begins with it
			return nil
		}
		if r.ended = r.ended || !fresh; r.ended {
			return nil
		}
		r.next, r.entries, r.bytes = entry, r.entries+1, r.bytes+len(row.body)
		if row.there = fits; !fits || !indexed(row.contentType, row.body[:min(len(row.body), bodyBytes)]) {
			return nil
		}
		if h := r.hitOf(&row, r.now); h != nil {
			h.moment = moment{timeOf(row.at), row.conversation, row.seq}
			r.recent = append(r.recent, h)
		}
		return nil
	}, r.request.User, r.next, n, r.sender, r.below.at.UTC(), r.below.conversation, r.below.seq,
		r.above.at.UTC(), r.above.conversation, r.above.seq, 2*searchBytes)
	r.ended = r.ended || !cut && rest > 0
	return away("search", err)
}

// join puts what the index may not have beside what it has; some may be in both.
func (f *find) join() {
	f.found = append(f.found, f.recent...)
	slices.SortStableFunc(f.found, func(a, b *hit) int { return b.compare(a.moment) })
	f.found = slices.CompactFunc(f.found, func(a, b *hit) bool { return a.compare(b.moment) == 0 })
}
