package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"postbox"
)

// Steps of a search through the index.
const (
	firstStep = 2 << smallWindow  // rows
	smallStep = 12 << smallWindow // up to which small windows cost less than large ones
	mostHits  = 1000              // that one statement reads
	// fewHits is how many hits PostgreSQL may look at to find the newest of them.
	fewHits = 1500

	// The same in one conversation; it has less to put together.
	firstInPlace = 4 << placeWindow
	mostInPlace  = 64 << placeWindow
	fewInPlace   = 300
)

// section is a part of the index whose rows came one after another: those from
// before the index, and the others. top is the number after the last.
type section struct{ bottom, top int64 }

// look finds the newest hits. If there will not be many it looks at all of them;
// else it goes through the newest messages first, until there are enough hits than
// which no newer ones can follow.
func (f *find) look(ctx context.Context) error {
	if f.request.Place != nil {
		return f.lookInPlace(ctx)
	}
	rate, known := f.store.frequencies.rate(ctx, f.store.finder, f.scopes, f.terms)
	sections, fresh, err := f.sections(ctx)
	if err != nil {
		return err
	}
	if fresh {
		if err := f.lookAtUnindexed(ctx); err != nil {
			return err
		}
	}
	all, seen := int64(0), int64(0)
	for _, s := range sections {
		all += s.top - s.bottom
	}
	if known && rate*float64(all) <= fewHits {
		return f.lookAtAll(ctx)
	}
	for _, s := range sections {
		size := int64(firstStep)
		for low := s.top; low > s.bottom; {
			// From the top again: so it is few windows that PostgreSQL looks at.
			before := len(f.found)
			low = max(s.bottom, aligned(s.top-size, size))
			settled, barrier, err := f.step(ctx, windowsOf(low, s.top), low, low > s.bottom)
			if settled || err != nil || barrier.Before(f.above.at) {
				return err
			}
			found := int64(len(f.found))
			if found*all <= fewHits*(seen+s.top-low) {
				return f.lookAtAll(ctx)
			}
			if low > s.bottom {
				size = f.nextStep(size, found-int64(before))
				f.found = f.found[:before]
			}
		}
		seen += s.top - s.bottom
	}
	return nil
}

// lookAtAll looks at all hits there are.
func (f *find) lookAtAll(ctx context.Context) error {
	f.found = nil
	_, _, err := f.step(ctx, nil, -1, false)
	return err
}

// readHead reads the last number of a conversation.
var readHead = `
	SELECT coalesce((SELECT seq FROM postbox.messages WHERE conversation_id = $1 ORDER BY seq DESC LIMIT 1), 0), ` + newestIsFresh("$2") + `
	  FROM postbox.search_state s`

// lookInPlace goes through one conversation, whose messages are in order.
func (f *find) lookInPlace(ctx context.Context) error {
	top, fresh := postbox.Seq(0), false
	err := f.store.finder.query(ctx, readHead, func(rows *sql.Rows) error { return rows.Scan(&top, &fresh) }, f.request.Place.Conversation, f.request.User)
	if err != nil {
		return away("search", err)
	}
	if fresh {
		if err := f.lookAtUnindexed(ctx); err != nil {
			return err
		}
	}
	if f.below != always {
		top = min(top, f.below.seq-1)
	}
	if rate, known := f.store.frequencies.rate(ctx, f.store.finder, nil, f.terms); known && rate*float64(top) <= fewInPlace {
		return f.lookAtAll(ctx)
	}
	for size := int64(firstInPlace); ; {
		low := max(0, int64(top)-size) >> placeWindow
		var windows []string
		for w := int64(top) >> placeWindow; w >= low; w-- {
			windows = append(windows, placeTerm(f.request.Place.Conversation, w))
		}
		settled, _, err := f.step(ctx, windows, -1, false)
		if settled || err != nil || low == 0 {
			return err
		}
		found := int64(len(f.found))
		size = f.nextStep(size, found)
		if found*int64(top) <= fewInPlace*(int64(top)-low<<placeWindow) || size > mostInPlace {
			return f.lookAtAll(ctx)
		}
		f.found = nil
	}
}

// aligned is the beginning of the window in which a row is: of a large one if
// the step is larger than several small ones.
func aligned(row, step int64) int64 {
	bits := smallWindow
	if step > smallStep {
		bits = largeWindow
	}
	return row >> bits << bits
}

// nextStep is how many rows to go through next: about as many as have what is
// asked for, by what was found in the last step.
func (f *find) nextStep(size, found int64) int64 {
	wanted := 3 * int64(f.request.Limit+1) * size / (2 * max(found, 1))
	return max(2*size, min(wanted, 32*size))
}

// readSections reads how far the sections go, up to a time if there is one.
var readSections = `
	SELECT s.next, s.fill_next,
	       CASE WHEN $1 THEN (SELECT max(w.id) FROM postbox.search_windows w WHERE w.id >= $3 AND w.oldest <= $2) END,
	       CASE WHEN $1 THEN (SELECT max(w.id) FROM postbox.search_windows w WHERE w.id < $3 AND w.oldest <= $2) END,
	       ` + newestIsFresh("$4") + `
	  FROM postbox.search_state s`

// sections are the parts of the index that may have something older than the
// upper bound, the newer one first. It also tells whether there is something in the
// user's inbox that may not be in the index.
func (f *find) sections(ctx context.Context) (all []section, fresh bool, err error) {
	live, filled := section{bottom: liveFrom}, section{}
	var liveWindow, filledWindow sql.NullInt64
	bounded := f.below != always
	err = f.store.finder.query(ctx, readSections, func(rows *sql.Rows) error {
		return rows.Scan(&live.top, &filled.top, &liveWindow, &filledWindow, &fresh)
	}, bounded, f.below.at.UTC(), int64(liveFrom>>smallWindow), f.request.User)
	if err != nil {
		return nil, false, away("search", err)
	}
	const window = 1 << smallWindow
	for _, s := range []struct {
		*section
		last sql.NullInt64
	}{{&live, liveWindow}, {&filled, filledWindow}} {
		s.top = (s.top + window - 1) / window * window
		switch {
		case !bounded:
		case s.last.Valid:
			s.top = min(s.top, (s.last.Int64+1)*window)
		default:
			s.top = s.bottom
		}
	}
	return []section{live, filled}, fresh, nil
}

// step reads the hits in some windows, or all if none are named. It reports
// whether they are enough, and when the newest message was sent that may be in the
// rows below low; not if that is less than zero. If all is read again in a larger
// step it does not go on to where no hit is sure.
func (f *find) step(ctx context.Context, windows []string, low int64, again bool) (settled bool, barrier time.Time, err error) {
	question := f.question(windows)
	for below := f.below; ; {
		p, err := f.read(ctx, question, low, below)
		if err != nil {
			return false, barrier, err
		}
		f.found = append(f.found, p.hits...)
		slices.SortFunc(f.found, func(a, b *hit) int { return b.compare(a.moment) })
		if f.settled(p) {
			return true, barrier, nil
		}
		if f.looks > mostLooks {
			return false, barrier, postbox.Errorf(postbox.CodeInvalid, "too many messages have all of these words, but not together: look for another word, too, or in one conversation")
		}
		if !p.more || again && !p.last.at.After(p.barrier) {
			return false, p.barrier, nil
		}
		below = p.last
	}
}

// question is what the index is asked.
func (f *find) question(windows []string) string {
	q := "(" + strings.Join(f.scopes, " | ") + ") & " + strings.Join(f.terms, " & ")
	if len(windows) > 0 {
		q += " & (" + strings.Join(windows, " | ") + ")"
	}
	return q
}

// settled reports whether there are enough hits that are newer than all that was
// not read.
func (f *find) settled(p reading) bool {
	n, size := 0, 0
	for _, h := range f.found {
		if !h.at.After(p.barrier) || p.more && h.compare(p.last) < 0 {
			return false
		}
		if n++; n > f.request.Limit || n > 1 && size >= searchBytes {
			return true
		}
		size += len(h.message.Body)
	}
	return false
}

// windowsOf are the terms of the windows in which a stretch of rows is, at the end
// of a section.
func windowsOf(low, high int64) []string {
	bits := smallWindow
	if low&(1<<largeWindow-1) == 0 && high-low > 1<<smallWindow {
		bits = largeWindow
	}
	var all []string
	for low < high {
		all = append(all, windowTerm(bits, low>>bits))
		low += 1 << bits
	}
	return all
}

// reading is what one statement has read of a stretch of rows.
type reading struct {
	hits []*hit
	// barrier is when the newest message was sent that may be in the rows below
	// the stretch.
	barrier time.Time
	// more is true if the stretch has more, all of it before last.
	more bool
	last moment
}

// readHits finds messages in one stretch of rows of the index, the newest first,
// with their bodies as long as there is room. Nothing but the index of the terms
// is used: who is not to be found by it is looked at once more here and by what
// takes the rows.
const readHits = `
	WITH hits AS MATERIALIZED (
		SELECT s.conversation_id, s.seq, s.sent_at
		  FROM postbox.search s
		 WHERE array_to_tsvector(string_to_array(s.terms, ' ')) @@ $1::text::tsquery AND ($2 = 0 OR s.sender_id = $2)
		   AND (s.sent_at, s.conversation_id, s.seq) < ($3::timestamptz, $4::bigint, $5::bigint)
		   AND (s.sent_at, s.conversation_id, s.seq) > ($6::timestamptz, $7::bigint, $8::bigint)
		 ORDER BY s.sent_at DESC, s.conversation_id DESC, s.seq DESC LIMIT $9),
	b AS MATERIALIZED (
		SELECT greatest((SELECT nullif(w.newest, '-infinity') FROM postbox.search_windows w WHERE w.id = $10),
		                (SELECT nullif(s.fill_newest, '-infinity') FROM postbox.search_state s WHERE $11)) AS barrier)
	SELECT coalesce((date_part('epoch', b.barrier) * 1000000)::bigint, 0), d.hit IS NOT NULL, coalesce(d.conversation, 0),
	       coalesce((date_part('epoch', d.at) * 1000000)::bigint, 0), d.before < $12,
	       d.seq IS NOT NULL, coalesce(c.user_low, 0), coalesce(c.user_high, 0), coalesce(c.room, ''),
	       coalesce(d.hit, 0), coalesce(d.sender_id, 0), uuid_send(d.id), ` + messageTimes + `, ` + messageTexts + `,
	       CASE WHEN d.before < $12 THEN d.body END
	  FROM b
	  LEFT JOIN (
	       SELECT m.*, h.conversation_id AS conversation, h.seq AS hit, h.sent_at AS at,
	              coalesce(sum(octet_length(m.body)) OVER outwards - octet_length(m.body), 0) AS before
	         FROM hits h
	         LEFT JOIN postbox.messages m ON m.conversation_id = h.conversation_id AND m.seq = h.seq
	       WINDOW outwards AS (ORDER BY h.sent_at DESC, h.conversation_id DESC, h.seq DESC ROWS UNBOUNDED PRECEDING)) d ON true
	  LEFT JOIN postbox.conversations c ON c.id = d.conversation
	 ORDER BY d.at DESC, d.conversation DESC, d.hit DESC`

// hitRow is a row of readHits.
type hitRow struct {
	barrier      int64
	found, there bool
	conversation postbox.ConversationID
	at           int64
	low, high    postbox.UserID
	room         postbox.Room
	messageRow
}

// read reads the hits of a stretch of rows that are before a moment.
func (f *find) read(ctx context.Context, question string, low int64, below moment) (reading, error) {
	limit := max(f.request.Limit+1-len(f.found), 1) + 4
	if len(f.terms) > 1 { // a message may have them all in another order
		limit *= 2
	}
	limit = min(limit, mostHits)
	var p reading
	var row hitRow
	var whole sql.NullBool
	n, stopped, now := 0, false, time.Now()
	var rows []hitRow // matched when all are here: PostgreSQL does not wait for that
	targets := append([]any{&row.barrier, &row.found, &row.conversation, &row.at, &whole, &row.there, &row.low, &row.high, &row.room}, row.targets()...)
	err := f.store.finder.query(ctx, readHits, func(r *sql.Rows) error {
		if err := r.Scan(targets...); err != nil {
			return err
		}
		p.barrier = timeOf(row.barrier)
		if !row.found || stopped {
			return nil
		}
		if n++; !whole.Bool {
			stopped = true
			return nil
		}
		p.last = moment{time.UnixMicro(row.at).UTC(), row.conversation, row.seq}
		one := row // the driver's memory is used again
		one.id, one.body = slices.Clone(row.id), slices.Clone(row.body)
		rows = append(rows, one)
		return nil
	}, question, f.sender, below.at.UTC(), below.conversation, below.seq, f.above.at.UTC(), f.above.conversation, f.above.seq,
		limit, low>>smallWindow-1, low >= liveFrom, 2*searchBytes)
	for i := range rows {
		r := &rows[i]
		if h := f.hitOf(r, now); h != nil {
			h.moment = moment{time.UnixMicro(r.at).UTC(), r.conversation, r.seq}
			p.hits = append(p.hits, h)
		}
	}
	f.looks += n
	p.more = stopped || n == limit
	return p, away("search", err)
}

// hitOf is the message of a row, if it is one that the user may read, and has
// what is asked for in its present text.
func (f *find) hitOf(r *hitRow, now time.Time) *hit {
	if !r.there || r.retracted != 0 || r.expires != 0 && !now.Before(timeOf(r.expires)) {
		return nil
	}
	h := &hit{room: r.room}
	mine := r.room == "" && (r.low == f.request.User || r.high == f.request.User)
	if r.room == "" {
		h.to = r.low + r.high - r.sender
	}
	place := f.places[r.conversation]
	switch {
	case place != nil && !place.Shows(r.seq), place == nil && f.request.Place != nil, place == nil && !mine:
		return nil
	case !f.wanted.matches(string(r.body)):
		return nil
	}
	h.message = r.message(r.conversation)
	return h
}
