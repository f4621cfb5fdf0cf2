package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"time"

	"postbox"
)

// stretch is what one statement reads of a walk: messages in both directions,
// outwards, of each at most so many and one more. A limit of -1 is a direction
// that is not read.
type stretch struct {
	conversation       postbox.ConversationID
	down, up           postbox.Span
	downLimit, upLimit int
}

func (s stretch) arguments() []any {
	return []any{s.conversation, s.down.After, s.down.UpTo, s.downLimit, s.up.After, s.up.UpTo, s.upLimit}
}

// values are the arguments of readPages.
func (s stretch) values(bound int) []driver.NamedValue {
	all := [...]int64{
		int64(s.conversation), int64(s.down.After), int64(s.down.UpTo), int64(s.downLimit),
		int64(s.up.After), int64(s.up.UpTo), int64(s.upLimit), int64(bound),
	}
	values := make([]driver.NamedValue, len(all))
	for i, v := range all {
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return values
}

// readPages reads a stretch as one row: a page is some 600 values, and each
// would have to go through the driver alone. The messages are records in
// PostgreSQL's own binary form, one behind the other. Bodies above $8 bytes stay
// behind.
const readPages = `
	SELECT (SELECT string_agg(record_send(ROW(` + recordColumns + `)), '')
	          FROM (SELECT * FROM postbox.messages
	                 WHERE conversation_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq DESC LIMIT $4 + 1) d),
	       (SELECT string_agg(record_send(ROW(` + recordColumns + `)), '')
	          FROM (SELECT * FROM postbox.messages
	                 WHERE conversation_id = $1 AND seq > $5 AND seq <= $6 ORDER BY seq LIMIT $7 + 1) d)`

const recordColumns = `d.seq, d.sender_id, d.id, d.sent_at, d.expires_at, d.edited_at, d.retracted_at,
	               d.content_type, d.ref, d.device, d.idempotency_key, CASE WHEN octet_length(d.body) <= $8 THEN d.body END`

// readSmall reads a stretch if its bodies are of usual size, as nearly always;
// false: nothing was taken, and readWalk must count what the page holds.
func (w *walk) readSmall(ctx context.Context, a *archive, s stretch) (bool, error) {
	var down, up []sighted
	bound := historyBytes / (max(s.downLimit, s.upLimit) + 1)
	err := a.one(ctx, readPages, s.values(bound), 2, func(row []driver.Value) (err error) {
		downs, _ := row[0].([]byte)
		ups, _ := row[1].([]byte)
		if down, err = sightedIn(downs, s.conversation, s.downLimit); err == nil {
			up, err = sightedIn(ups, s.conversation, s.upLimit)
		}
		return err
	})
	if err != nil || !w.down.fits(down, lastSeq) || !w.up.fits(up, w.up.to) {
		return false, err
	}
	w.down.add(down, lastSeq)
	w.up.add(up, w.up.to)
	return true, nil
}

// sighted is a message that was read, maybe without its body.
type sighted struct {
	*postbox.Message
	whole bool
}

// sightedIn decodes records of recordColumns.
func sightedIn(records []byte, c postbox.ConversationID, limit int) ([]sighted, error) {
	if len(records) == 0 {
		return nil, nil
	}
	all := make([]sighted, 0, limit+1)
	messages := make([]postbox.Message, limit+1)
	d := recordDecoder{rest: slices.Clone(records)} // the driver's memory is used again
	for d.next() && len(messages) > 0 {
		m := &messages[0]
		messages = messages[1:]
		*m = postbox.Message{
			Conversation: c, Seq: postbox.Seq(d.integer()), Sender: postbox.UserID(d.integer()), ID: postbox.MessageID(d.uuid()),
			SentAt: d.time(), ExpiresAt: d.time(), EditedAt: d.time(), RetractedAt: d.time(),
			ContentType: d.text(), Ref: d.text(), Device: d.text(), Key: d.text(),
		}
		body, whole := d.bytes()
		if m.Body = body; !m.RetractedAt.IsZero() {
			m.ContentType, m.Ref, m.Body = "", "", nil
		}
		all = append(all, sighted{m, whole})
	}
	return all, d.err
}

// fits reports whether all that the page would take is there.
func (d *direction) fits(found []sighted, to postbox.Seq) bool {
	size := 0
	for i, m := range found {
		if i >= d.limit || m.Seq > to {
			break
		}
		if size += len(m.Body); !m.whole || size > d.bytes {
			return false
		}
	}
	return true
}

// add takes what was found up to a seq.
func (d *direction) add(found []sighted, to postbox.Seq) {
	for _, m := range found {
		if d.limit <= 0 || m.Seq > to {
			d.more, d.then = true, m.SentAt
			return
		}
		d.found = append(d.found, m.Message)
		d.limit--
		d.bytes -= len(m.Body)
	}
}

// readWalk reads a stretch whose bodies are large: of those that are more than
// the page holds, and of the message behind it, it leaves the body.
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
