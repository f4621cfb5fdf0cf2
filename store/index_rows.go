package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/lib/pq"

	"postbox"
)

// The index numbers its rows. Windows of them have terms of their own, so that
// a search can look at the newest rows first.
const (
	liveFrom    = 1 << 40 // rows of messages that were there before have numbers below
	smallWindow = 12      // bits: 4,096 rows, the term A
	largeWindow = 17      // bits: 131,072 rows, the term B
	placeWindow = 8       // bits: 256 messages of a conversation, the term D
)

// indexKey names a message.
type indexKey struct {
	conversation postbox.ConversationID
	seq          postbox.Seq
}

// indexRows are rows for the index under construction.
type indexRows struct {
	rows  []newRow
	terms []byte // of all rows, one after the other, each after a space
	seen  map[indexKey]bool
}

// mostSpare is how many bytes of terms are kept for the next rows.
const mostSpare = 1 << 20

// reset makes room for other rows in the same memory.
func (x *indexRows) reset() {
	if cap(x.terms) > mostSpare {
		x.terms = nil
	}
	x.rows, x.terms = x.rows[:0], x.terms[:0]
	clear(x.seen)
}

// newRow is a row on its way into the index.
type newRow struct {
	key      indexKey
	sender   int64
	sent     time.Time
	expires  sql.NullTime
	from, to int   // its terms, without those of the windows
	number   int64 // by which these are known; given when it is written
}

// indexColumns are what indexRow takes of a message m in a conversation c.
const indexColumns = `m.conversation_id, m.seq, m.sender_id, m.sent_at, m.expires_at, m.retracted_at IS NOT NULL,
	       coalesce(m.content_type, ''), c.id IS NOT NULL, coalesce(c.user_low, 0), coalesce(c.user_high, 0)`

// indexRow is a message on its way into the index.
type indexRow struct {
	key              indexKey
	sender           int64
	sent             time.Time
	expires          sql.NullTime
	retracted, known bool
	contentType      string
	low, high        int64 // users of a direct conversation, zero for a room
	body             sql.RawBytes
	whole            bool
}

func (r *indexRow) targets() []any {
	return []any{
		&r.key.conversation, &r.key.seq, &r.sender, &r.sent, &r.expires, &r.retracted, &r.contentType, &r.known, &r.low, &r.high, &r.body, &r.whole,
	}
}

// clone is a row that outlives the reading of the next one.
func (r *indexRow) clone() indexRow {
	c := *r
	c.body = slices.Clone(r.body)
	return c
}

// addAll adds messages that were read. Their terms are made afterwards: a
// statement would have to wait for it.
func (r *indexRound) addAll(read []indexRow) {
	for i := range read {
		r.add(&read[i], r.now)
	}
}

// add adds a message, if it is one that can be found. It may have been added
// before: then it is the same.
func (x *indexRows) add(r *indexRow, now time.Time) {
	if r.retracted || !r.known || r.expires.Valid && !r.expires.Time.After(now) || x.seen[r.key] || !indexed(r.contentType, r.body) {
		return
	}
	from := len(x.terms)
	b, found := appendTerms(x.terms, r.body)
	if !found {
		return
	}
	if x.seen == nil {
		x.seen = make(map[indexKey]bool, indexMessages)
	}
	x.seen[r.key] = true
	if r.low != r.high {
		b = appendUser(append(appendUser(append(b, ' '), r.low), ' '), r.high)
	} else {
		b = appendConversation(append(b, ' '), r.key.conversation)
	}
	b = appendPlace(append(b, ' '), r.key.conversation, int64(r.key.seq)>>placeWindow)
	x.rows = append(x.rows, newRow{key: r.key, sender: r.sender, sent: r.sent, expires: r.expires, from: from, to: len(b)})
	x.terms = b
}

// Words are in small letters: a term that begins with a capital is none.

// userTerm is on each message of a user's direct conversations with others.
func userTerm(u postbox.UserID) string { return string(appendUser(nil, int64(u))) }

func appendUser(b []byte, u int64) []byte { return appendHex(append(b, 'U'), u) }

// conversationTerm is on each message of a room, and on notes to oneself.
func conversationTerm(c postbox.ConversationID) string { return string(appendConversation(nil, c)) }

func appendConversation(b []byte, c postbox.ConversationID) []byte {
	return appendHex(append(b, 'C'), int64(c))
}

// placeTerm is on each message of a window of a conversation.
func placeTerm(c postbox.ConversationID, window int64) string {
	return string(appendPlace(nil, c, window))
}

func appendPlace(b []byte, c postbox.ConversationID, window int64) []byte {
	return appendHex(append(appendHex(append(b, 'D'), int64(c)), 'x'), window)
}

// windowTerm is on each row of a window.
func windowTerm(bits int, window int64) string { return string(appendWindow(nil, bits, window)) }

func appendWindow(b []byte, bits int, window int64) []byte {
	name := byte('A')
	if bits == largeWindow {
		name = 'B'
	}
	return appendHex(append(b, name), window)
}

func appendHex(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 16) }

// bodyWithin are the last columns of a reading of messages m: the body, as long as
// those before it are less than $1 bytes, and whether it is there. Of one body no
// more is read than is indexed.
var bodyWithin = fmt.Sprintf(`CASE WHEN m.before < $1 THEN substring(m.body FOR %d) END, m.before < $1`, bodyBytes)

// bodyBytes is how much of a body is looked at: what is indexed, and a whole character.
const bodyBytes = maxIndexedBytes + 4

// cut is where reading has stopped: at a message of a stretch.
type cut struct {
	at  int
	seq postbox.Seq
}

// readStretches adds the messages of stretches, in their order, and tells where
// it has stopped because the bodies were too large; nil: it has not.
func (r *indexRound) readStretches(ctx context.Context, all []indexStretch) (*cut, error) {
	var conversations, afters pq.Int64Array
	var counts pq.Int32Array
	for _, s := range all {
		conversations, afters = append(conversations, int64(s.conversation)), append(afters, int64(s.after))
		counts = append(counts, int32(s.count))
	}
	look := `
		SELECT m.ord, ` + indexColumns + `, ` + bodyWithin + `
		  FROM (SELECT m.*, u.ord,
		               sum(octet_length(m.body)) OVER (ORDER BY u.ord, m.seq ROWS UNBOUNDED PRECEDING) - octet_length(m.body) AS before
		          FROM unnest($2::bigint[], $3::bigint[], $4::integer[]) WITH ORDINALITY AS u (conversation, after, count, ord)
		         CROSS JOIN LATERAL (SELECT * FROM postbox.messages m
		                              WHERE m.conversation_id = u.conversation AND m.seq > u.after AND m.seq <= u.after + u.count
		                              ORDER BY m.seq OFFSET 0) m) m
		  LEFT JOIN postbox.conversations c ON c.id = m.conversation_id
		 ORDER BY m.ord, m.seq`
	var stop *cut
	var read []indexRow
	var ord int
	var row indexRow
	targets := append([]any{&ord}, row.targets()...)
	err := r.read(ctx, look, func(rows *sql.Rows) error {
		err := rows.Scan(targets...)
		switch {
		case err != nil:
		case !row.whole && stop == nil:
			stop = &cut{ord - 1, row.key.seq}
		case stop == nil:
			read = append(read, row.clone())
		}
		return err
	}, indexBytes, conversations, afters, counts)
	r.addAll(read)
	return stop, err
}

// readBefore adds the next messages that were there before the index, by their
// ids, which is about the order in which they came. It returns the last id; none
// when all are indexed.
func (r *indexRound) readBefore(ctx context.Context) (last sql.NullString, err error) {
	look := `
		SELECT m.id, ` + indexColumns + `, ` + bodyWithin + `
		  FROM (SELECT m.*, sum(octet_length(m.body)) OVER (ORDER BY m.id ROWS UNBOUNDED PRECEDING) - octet_length(m.body) AS before
		          FROM (SELECT * FROM postbox.messages m WHERE m.id > $2 AND m.id <= $3 ORDER BY m.id LIMIT $4) m) m
		  LEFT JOIN postbox.conversations c ON c.id = m.conversation_id
		 ORDER BY m.id`
	var id string
	var row indexRow
	targets := append([]any{&id}, row.targets()...)
	stopped := false
	var read []indexRow
	err = r.read(ctx, look, func(rows *sql.Rows) error {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		if stopped = stopped || !row.whole; !stopped {
			last = sql.NullString{String: id, Valid: true}
			read = append(read, row.clone())
		}
		return nil
	}, indexBytes, r.state.after.String, r.state.upTo.String, indexMessages)
	r.addAll(read)
	return last, err
}

func (r *indexRound) read(ctx context.Context, look string, scan func(*sql.Rows) error, args ...any) error {
	rows, err := r.tx.QueryContext(ctx, look, args...)
	if err != nil {
		return fmt.Errorf("read messages: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("read messages: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read messages: %w", err)
	}
	return nil
}
