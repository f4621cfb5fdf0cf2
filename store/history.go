package store

import (
	"cmp"
	"context"
	"database/sql"
	"math"
	"slices"
	"time"

	"postbox"
)

// historyBytes is how much body one side of a page of history holds, in bytes:
// with its first message it may be more.
const historyBytes = 1 << 20

// lastSeq is beyond every message; the number after it still fits.
const lastSeq = postbox.Seq(math.MaxInt64 - 1)

// Page reads messages of a place: at most as many as asked for, and fewer when
// they are large, one at least. A bound that names a message which is not in it,
// as far as the user may see, is ErrNotFound. It costs the same however much
// lies before and behind.
//
// A page that was asked for by a time does not end between two messages of one
// moment, as those of one commit are: whoever goes on by the time of its last one
// would miss the others. It has fewer messages instead; or, when all are of one
// moment, more than was asked for, up to 500.
func (s *Store) Page(ctx context.Context, p postbox.Place, r postbox.PageRequest) (postbox.Page, error) {
	w, err := s.walkOf(ctx, p, r)
	if err != nil {
		return postbox.Page{}, err
	}
	if err := w.walk(ctx, s.archive, p); err != nil {
		return postbox.Page{}, away("read history", err)
	}
	if byTime(r.Before) || byTime(r.After) || byTime(r.Around) {
		if err := w.keepMoments(ctx, s.archive, p); err != nil {
			return postbox.Page{}, away("read history", err)
		}
	}
	page := postbox.Page{
		Messages:  append(w.down.found, w.up.found...),
		HasBefore: w.down.more, HasAfter: w.up.more,
	}
	slices.SortFunc(page.Messages, func(a, b *postbox.Message) int { return cmp.Compare(a.Seq, b.Seq) })
	return page, s.nameAuthors(ctx, p, page.Messages)
}

// walk is a page as a walk from one point in both directions.
type walk struct{ down, up direction }

// direction is one side of a page: the messages from a seq on, outwards, and
// whether there are more behind them.
type direction struct {
	from  postbox.Seq // the first that belongs to it
	to    postbox.Seq // the last that the page may have, upwards
	limit int         // of the messages that it may still take
	bytes int         // of the bodies, the same
	spans []postbox.Span

	found []*postbox.Message
	more  bool
	then  time.Time // when the first of those was sent
}

// walkOf translates a request.
func (s *Store) walkOf(ctx context.Context, p postbox.Place, r postbox.PageRequest) (walk, error) {
	after, before, err := postbox.Seq(0), lastSeq+1, error(nil)
	if r.After.Set {
		if after, err = s.lowerBound(ctx, p, r.After); err != nil {
			return walk{}, err
		}
	}
	if r.Before.Set {
		if before, err = s.upperBound(ctx, p, r.Before); err != nil {
			return walk{}, err
		}
	}
	limit := max(r.Limit, 1)
	w := walk{
		down: direction{from: before - 1, limit: limit},
		up:   direction{from: before, to: lastSeq},
	}
	switch {
	case r.Around.Set:
		middle, err := s.middle(ctx, p, r.Around)
		if err != nil {
			return walk{}, err
		}
		w.down = direction{from: middle - 1, limit: limit / 2}
		w.up = direction{from: middle, to: lastSeq, limit: limit - limit/2}
	case r.After.Set:
		within := min(postbox.Seq(limit), before-1-after) // below zero if the bounds have crossed
		w.down = direction{from: after}
		w.up = direction{from: after + 1, to: before - 1, limit: int(max(within, 0))}
	}
	w.down.bytes, w.up.bytes = historyBytes, historyBytes
	w.divide(p)
	return w, nil
}

// divide gives each direction its stretches of what may be read, the nearest
// first.
func (w *walk) divide(p postbox.Place) {
	w.down.spans, w.up.spans = nil, nil
	if p.Conversation == 0 {
		return
	}
	for _, s := range p.Spans {
		if s.UpTo == 0 {
			s.UpTo = lastSeq
		}
		if down := (postbox.Span{After: s.After, UpTo: min(s.UpTo, w.down.from)}); down.After < down.UpTo {
			w.down.spans = append(w.down.spans, down)
		}
		if up := (postbox.Span{After: max(s.After, w.up.from-1), UpTo: s.UpTo}); up.After < up.UpTo {
			w.up.spans = append(w.up.spans, up)
		}
	}
	slices.Reverse(w.down.spans)
}

// next takes the next stretch of a direction; false when it is done.
func (d *direction) next() (postbox.Span, bool) {
	if d.more || len(d.spans) == 0 {
		return postbox.Span{}, false
	}
	span := d.spans[0]
	d.spans = d.spans[1:]
	return span, true
}

// readWalk reads one stretch in each direction, outwards. Beyond what the page
// takes it reads one message more, without its body: so it is known whether there
// is more.
const readWalk = `
	SELECT false AS up, d.n <= $4 AND d.before < $9 AS whole,
	       ` + messageColumns + `, CASE WHEN d.n <= $4 AND d.before < $9 THEN d.body END
	  FROM (SELECT *, row_number() OVER outwards AS n, sum(octet_length(body)) OVER outwards - octet_length(body) AS before
	          FROM (SELECT * FROM postbox.messages
	                 WHERE conversation_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq DESC LIMIT $4 + 1) m
	        WINDOW outwards AS (ORDER BY seq DESC ROWS UNBOUNDED PRECEDING)) d
	UNION ALL
	SELECT true, d.n <= $7 AND d.before < $10 AND d.seq <= $8,
	       ` + messageColumns + `, CASE WHEN d.n <= $7 AND d.before < $10 AND d.seq <= $8 THEN d.body END
	  FROM (SELECT *, row_number() OVER outwards AS n, sum(octet_length(body)) OVER outwards - octet_length(body) AS before
	          FROM (SELECT * FROM postbox.messages
	                 WHERE conversation_id = $1 AND seq > $5 AND seq <= $6 ORDER BY seq LIMIT $7 + 1) m
	        WINDOW outwards AS (ORDER BY seq ROWS UNBOUNDED PRECEDING)) d`

// walk reads stretch after stretch until both directions are done; nearly
// always there is one.
func (w *walk) walk(ctx context.Context, a *archive, p postbox.Place) error {
	for {
		downLimit, upLimit := -1, -1
		down, downwards := w.down.next()
		if downwards {
			downLimit = w.down.limit
		}
		up, upwards := w.up.next()
		if upwards {
			upLimit = w.up.limit
		}
		if !downwards && !upwards {
			return nil
		}
		err := a.query(ctx, readWalk, w.take(p.Conversation),
			p.Conversation, down.After, down.UpTo, downLimit, up.After, up.UpTo, upLimit, w.up.to, w.down.bytes, w.up.bytes)
		if err != nil {
			return err
		}
	}
}

// take returns what puts a row where it belongs.
func (w *walk) take(c postbox.ConversationID) func(*sql.Rows) error {
	var r messageRow
	var up, whole bool
	targets := append([]any{&up, &whole}, r.targets()...)
	return func(rows *sql.Rows) error {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		d := &w.down
		if up {
			d = &w.up
		}
		if !whole {
			if !d.more {
				d.more, d.then = true, timeOf(r.sent)
			}
			return nil
		}
		m := r.message(c)
		d.found = append(d.found, m)
		d.limit--
		d.bytes -= len(m.Body)
		return nil
	}
}

// messageColumns are what a messageRow takes of a row d, with the body behind
// them. Times are microseconds, zero for never: as text they would have to be
// written and read.
const (
	messageColumns = `d.seq, d.sender_id, uuid_send(d.id), ` + messageTimes + `, ` + messageTexts
	messageTimes   = `
	       coalesce((date_part('epoch', d.sent_at) * 1000000)::bigint, 0),
	       coalesce((date_part('epoch', d.expires_at) * 1000000)::bigint, 0),
	       coalesce((date_part('epoch', d.edited_at) * 1000000)::bigint, 0),
	       coalesce((date_part('epoch', d.retracted_at) * 1000000)::bigint, 0)`
	messageTexts = `coalesce(d.content_type, ''), coalesce(d.ref, ''), coalesce(d.device, ''), coalesce(d.idempotency_key, '')`
)

// messageRow is a row of messageColumns.
type messageRow struct {
	seq                              postbox.Seq
	sender                           postbox.UserID
	id, body                         sql.RawBytes
	sent, expires, edited, retracted int64
	contentType, ref, device, key    string
}

func (r *messageRow) targets() []any {
	return []any{
		&r.seq, &r.sender, &r.id, &r.sent, &r.expires, &r.edited, &r.retracted,
		&r.contentType, &r.ref, &r.device, &r.key, &r.body,
	}
}

// message is the message of a row, without names. Of one that was retracted
// nothing is left but that.
func (r *messageRow) message(c postbox.ConversationID) *postbox.Message {
	m := &postbox.Message{
		Conversation: c, Seq: r.seq, Sender: r.sender, SentAt: time.UnixMicro(r.sent).UTC(),
		ContentType: r.contentType, Ref: r.ref, Device: r.device, Key: r.key,
		ExpiresAt: timeOf(r.expires), EditedAt: timeOf(r.edited), RetractedAt: timeOf(r.retracted),
	}
	copy(m.ID[:], r.id)
	if r.retracted == 0 {
		m.Body = slices.Clone([]byte(r.body))
	} else {
		m.ContentType, m.Ref = "", ""
	}
	return m
}

func timeOf(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
