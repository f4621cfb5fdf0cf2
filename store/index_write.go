package store

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/lib/pq"

	"postbox"
)

// write puts the rows into the index and into its windows, from the next number
// on. newest is when the youngest message so far was sent.
func (r *indexRound) write(ctx context.Context, next *int64, newest *sql.NullTime) error {
	if len(r.rows) == 0 {
		return nil
	}
	var windows, newests, oldests pq.Int64Array
	for i := range r.rows {
		row := &r.rows[i]
		row.number = *next
		if !newest.Valid || newest.Time.Before(row.sent) {
			*newest = sql.NullTime{Time: row.sent, Valid: true}
		}
		small, at := *next>>smallWindow, row.sent.UnixMicro()
		if len(windows) == 0 || windows[len(windows)-1] != small {
			windows, newests, oldests = append(windows, small), append(newests, 0), append(oldests, at)
		}
		last := len(windows) - 1
		newests[last], oldests[last] = newest.Time.UnixMicro(), min(oldests[last], at)
		*next++
	}
	// In this order the index of the keys is written fastest.
	slices.SortFunc(r.rows, func(a, b newRow) int {
		return cmp.Or(cmp.Compare(a.key.conversation, b.key.conversation), cmp.Compare(a.key.seq, b.key.seq))
	})
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

// copyPiece is about how many bytes of rows the driver is given at once.
const copyPiece = 32 << 10

// copying is what a statement of lib/pq does that is a COPY: it takes rows as
// PostgreSQL reads them. By database/sql each value would be converted twice.
type copying interface {
	CopyData(ctx context.Context, rows string) (driver.Result, error)
}

// copyIn writes rows none of which is there.
func (r *indexRound) copyIn(ctx context.Context) error {
	// That the connection is lost must not come out of Raw, which would close it, and
	// wait for the transaction, which waits for Raw (golang/go#81606).
	var failed error
	err := r.conn.Raw(func(c any) error {
		failed = r.copyTo(ctx, c)
		return nil
	})
	return errors.Join(err, failed)
}

func (r *indexRound) copyTo(ctx context.Context, c any) (err error) {
	preparer, ok := c.(driver.ConnPrepareContext)
	if !ok {
		return fmt.Errorf("%T prepares nothing", c)
	}
	statement, err := preparer.PrepareContext(ctx, `COPY postbox.search (conversation_id, seq, sender_id, sent_at, expires_at, terms) FROM STDIN`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, statement.Close()) }()
	to, ok := statement.(copying)
	if !ok {
		return fmt.Errorf("%T takes no rows", statement)
	}
	var piece []byte
	for i := range r.rows {
		if piece = r.appendLine(piece, &r.rows[i]); len(piece) < copyPiece && i < len(r.rows)-1 {
			piece = append(piece, '\n')
			continue
		}
		if _, err := to.CopyData(ctx, string(piece)); err != nil {
			return err
		}
		piece = piece[:0]
	}
	//lint:ignore SA1019 a COPY of lib/pq has no other
	_, err = statement.Exec(nil)
	return err
}

// appendLine appends a row as COPY reads it (PostgreSQL, "COPY", Text Format). There is
// neither a tab nor a backslash in any value.
func (r *indexRound) appendLine(b []byte, row *newRow) []byte {
	const stamp = "2006-01-02 15:04:05.999999Z"
	b = append(strconv.AppendInt(b, int64(row.key.conversation), 10), '\t')
	b = append(strconv.AppendInt(b, int64(row.key.seq), 10), '\t')
	b = append(strconv.AppendInt(b, row.sender, 10), '\t')
	b = append(row.sent.UTC().AppendFormat(b, stamp), '\t')
	if row.expires.Valid {
		b = append(row.expires.Time.UTC().AppendFormat(b, stamp), '\t')
	} else {
		b = append(b, `\N`+"\t"...)
	}
	return r.appendTerms(b, row)
}

// appendTerms appends all terms of a row, with a space between two.
func (r *indexRound) appendTerms(b []byte, row *newRow) []byte {
	b = append(b, r.terms[row.from+1:row.to]...)
	for _, bits := range []int{smallWindow, largeWindow} {
		b = appendWindow(append(b, ' '), bits, row.number>>bits)
	}
	return b
}

// upsert writes rows some of which may be there.
func (r *indexRound) upsert(ctx context.Context) error {
	n := len(r.rows)
	conversations, seqs, senders := make(pq.Int64Array, n), make(pq.Int64Array, n), make(pq.Int64Array, n)
	sent, expires := make(pq.Int64Array, n), make(pq.Int64Array, n)
	var terms []byte
	for i := range r.rows {
		row := &r.rows[i]
		conversations[i], seqs[i], senders[i], sent[i] = int64(row.key.conversation), int64(row.key.seq), row.sender, row.sent.UnixMicro()
		if row.expires.Valid {
			expires[i] = row.expires.Time.UnixMicro()
		}
		if i > 0 {
			terms = append(terms, '\n')
		}
		terms = r.appendTerms(terms, row)
	}
	const insert = `
		INSERT INTO postbox.search AS s (conversation_id, seq, sender_id, sent_at, expires_at, terms)
		SELECT u.conversation, u.seq, u.sender, ` + microTime + `,
		       CASE WHEN u.expires > 0 THEN 'epoch'::timestamptz + u.expires * interval '1 microsecond' END, u.terms
		  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], string_to_array($6, E'\n'))
		       AS u (conversation, seq, sender, at, expires, terms)
		 ORDER BY u.conversation, u.seq
		ON CONFLICT (conversation_id, seq) DO UPDATE
		   SET sender_id = EXCLUDED.sender_id, sent_at = EXCLUDED.sent_at, expires_at = EXCLUDED.expires_at, terms = EXCLUDED.terms`
	_, err := r.tx.ExecContext(ctx, insert, conversations, seqs, senders, sent, expires, string(terms))
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
