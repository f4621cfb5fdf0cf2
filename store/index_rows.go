package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	keys    []indexKey
	senders pq.Int64Array
	sent    []time.Time
	expires []sql.NullTime
	terms   []string // of the message, without those of the windows
	seen    map[indexKey]bool
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
	terms := termsOf(string(r.body))
	if len(terms) == 0 {
		return
	}
	if x.seen == nil {
		x.seen = make(map[indexKey]bool)
	}
	x.seen[r.key] = true
	var b strings.Builder
	if r.low != r.high {
		b.WriteString(userTerm(postbox.UserID(r.low)) + " " + userTerm(postbox.UserID(r.high)))
	} else {
		b.WriteString(conversationTerm(r.key.conversation))
	}
	b.WriteString(" " + placeTerm(r.key.conversation, int64(r.key.seq)>>placeWindow))
	for _, t := range terms {
		b.WriteByte(' ')
		b.WriteString(quoteTerm(t))
	}
	x.keys = append(x.keys, r.key)
	x.senders = append(x.senders, r.sender)
	x.sent = append(x.sent, r.sent)
	x.expires = append(x.expires, r.expires)
	x.terms = append(x.terms, b.String())
}

// Words are in small letters: a term that begins with a capital is none.

// userTerm is on each message of a user's direct conversations with others.
func userTerm(u postbox.UserID) string { return "U" + strconv.FormatInt(int64(u), 16) }

// conversationTerm is on each message of a room, and on notes to oneself.
func conversationTerm(c postbox.ConversationID) string { return "C" + strconv.FormatInt(int64(c), 16) }

// placeTerm is on each message of a window of a conversation.
func placeTerm(c postbox.ConversationID, window int64) string {
	return "D" + strconv.FormatInt(int64(c), 16) + "x" + strconv.FormatInt(window, 16)
}

// windowTerm is on each row of a window.
func windowTerm(bits int, window int64) string {
	name := "A"
	if bits == largeWindow {
		name = "B"
	}
	return name + strconv.FormatInt(window, 16)
}

// bodyWithin are the last columns of a reading of messages m: the body, as long as
// those before it are less than $1 bytes, and whether it is there. Of one body no
// more is read than is indexed.
var bodyWithin = fmt.Sprintf(`CASE WHEN m.before < $1 THEN substring(m.body FOR %d) END, m.before < $1`, maxIndexedBytes+4)

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

// write puts the rows into the index and into its windows, from the next number
// on. newest is when the youngest message so far was sent.
func (r *indexRound) write(ctx context.Context, next *int64, newest *sql.NullTime) error {
	if len(r.keys) == 0 {
		return nil
	}
	var windows, newests, oldests pq.Int64Array
	for i := range r.keys {
		small := *next >> smallWindow
		r.terms[i] = windowTerm(smallWindow, small) + " " + windowTerm(largeWindow, *next>>largeWindow) + " " + r.terms[i]
		if !newest.Valid || newest.Time.Before(r.sent[i]) {
			*newest = sql.NullTime{Time: r.sent[i], Valid: true}
		}
		at := r.sent[i].UnixMicro()
		if len(windows) == 0 || windows[len(windows)-1] != small {
			windows, newests, oldests = append(windows, small), append(newests, 0), append(oldests, at)
		}
		last := len(windows) - 1
		newests[last], oldests[last] = newest.Time.UnixMicro(), min(oldests[last], at)
		*next++
	}
	put := r.copyIn
	if r.again {
		put = r.upsert
	}
	if err := put(ctx); err != nil {
		return fmt.Errorf("write terms: %w", err)
	}
	const note = `
		INSERT INTO postbox.search_windows AS w (id, newest, oldest)
		SELECT u.id, ` + microTime + `, 'epoch'::timestamptz + u.oldest * interval '1 microsecond'
		  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS u (id, at, oldest)
		ON CONFLICT (id) DO UPDATE SET newest = greatest(w.newest, EXCLUDED.newest), oldest = least(w.oldest, EXCLUDED.oldest)`
	if _, err := r.tx.ExecContext(ctx, note, windows, newests, oldests); err != nil {
		return fmt.Errorf("write windows: %w", err)
	}
	return nil
}

// copyIn writes rows none of which is there.
func (r *indexRound) copyIn(ctx context.Context) (err error) {
	copying, err := r.tx.PrepareContext(ctx, `COPY postbox.search (conversation_id, seq, sender_id, sent_at, expires_at, terms) FROM STDIN`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, copying.Close()) }()
	for _, i := range r.byKey() {
		k := r.keys[i]
		if _, err := copying.ExecContext(ctx, int64(k.conversation), int64(k.seq), r.senders[i], r.sent[i], r.expires[i], r.terms[i]); err != nil {
			return err
		}
	}
	_, err = copying.ExecContext(ctx)
	return err
}

// byKey are the places of the rows in the order of their keys, in which the index
// of these is written fastest.
func (x *indexRows) byKey() []int {
	places := make([]int, len(x.keys))
	for i := range places {
		places[i] = i
	}
	slices.SortFunc(places, func(a, b int) int {
		return cmp.Or(cmp.Compare(x.keys[a].conversation, x.keys[b].conversation), cmp.Compare(x.keys[a].seq, x.keys[b].seq))
	})
	return places
}

// upsert writes rows some of which may be there.
func (r *indexRound) upsert(ctx context.Context) error {
	n := len(r.keys)
	conversations, seqs := make(pq.Int64Array, n), make(pq.Int64Array, n)
	sent, expires := make(pq.Int64Array, n), make(pq.Int64Array, n)
	for i, k := range r.keys {
		conversations[i], seqs[i], sent[i] = int64(k.conversation), int64(k.seq), r.sent[i].UnixMicro()
		if r.expires[i].Valid {
			expires[i] = r.expires[i].Time.UnixMicro()
		}
	}
	const insert = `
		INSERT INTO postbox.search AS s (conversation_id, seq, sender_id, sent_at, expires_at, terms)
		SELECT u.conversation, u.seq, u.sender, ` + microTime + `,
		       CASE WHEN u.expires > 0 THEN 'epoch'::timestamptz + u.expires * interval '1 microsecond' END, u.terms::tsvector
		  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], string_to_array($6, E'\n'))
		       AS u (conversation, seq, sender, at, expires, terms)
		 ORDER BY u.conversation, u.seq
		ON CONFLICT (conversation_id, seq) DO UPDATE
		   SET sender_id = EXCLUDED.sender_id, sent_at = EXCLUDED.sent_at, expires_at = EXCLUDED.expires_at, terms = EXCLUDED.terms`
	_, err := r.tx.ExecContext(ctx, insert, conversations, seqs, r.senders, sent, expires, strings.Join(r.terms, "\n"))
	return err
}

// microTime is the time of microseconds u.at.
const microTime = `'epoch'::timestamptz + u.at * interval '1 microsecond'`

// forget removes the messages of stretches that cannot be found any more, though
// they may be in the index.
func (r *indexRound) forget(ctx context.Context, done []indexStretch) error {
	var conversations, seqs pq.Int64Array
	for _, s := range done {
		if !s.changed {
			continue // it was not there before
		}
		for seq := s.after + 1; seq <= s.after+postbox.Seq(s.count); seq++ {
			if !r.seen[indexKey{s.conversation, seq}] {
				conversations, seqs = append(conversations, int64(s.conversation)), append(seqs, int64(seq))
			}
		}
	}
	if len(seqs) == 0 {
		return nil
	}
	const remove = `
		DELETE FROM postbox.search s USING unnest($1::bigint[], $2::bigint[]) AS u (conversation, seq)
		 WHERE s.conversation_id = u.conversation AND s.seq = u.seq`
	if _, err := r.tx.ExecContext(ctx, remove, conversations, seqs); err != nil {
		return fmt.Errorf("remove terms: %w", err)
	}
	return nil
}
