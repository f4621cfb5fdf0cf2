package store

import (
	"context"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// importBatch is a transaction of an import: what the schema function append does
// in one call for a lane, with a time for each message, and without a fence, since
// whoever imports may try again at any time.
type importBatch struct {
	tx      *sqlx.Tx
	columns *columns
	heads   pq.Int64Array // last numbers of the columns' logs
	stamps  pq.Int64Array // when the last message of each conversation was sent, in milliseconds
	times   pq.Int64Array // of the messages, in milliseconds
}

// lock locks the logs, in the order of their ids as everybody does.
func (b *importBatch) lock(ctx context.Context) error {
	const lock = `SELECT l.id FROM postbox.logs l WHERE l.id = ANY ($1) ORDER BY l.id FOR NO KEY UPDATE`
	var locked []int64
	if err := b.tx.SelectContext(ctx, &locked, lock, b.columns.logs); err != nil {
		return err
	}
	if len(locked) != len(b.columns.logs) {
		return errLogGone
	}
	return nil
}

// readHeads is a statement of its own, which sees what the one who held the locks
// before has stored.
func (b *importBatch) readHeads(ctx context.Context) error {
	const read = `
		SELECT array_agg(greatest(l.floor, i.inbox_seq, m.seq) ORDER BY u.ord),
		       array_agg(coalesce((extract(epoch FROM m.sent_at) * 1000)::bigint, 0) ORDER BY u.ord) FILTER (WHERE u.ord <= $2)
		  FROM unnest($1::bigint[]) WITH ORDINALITY AS u (id, ord)
		  JOIN postbox.logs l ON l.id = u.id
		  LEFT JOIN LATERAL (SELECT e.inbox_seq + e.entries - 1 AS inbox_seq FROM postbox.inbox e
		                      WHERE u.ord > $2 AND e.user_id = u.id ORDER BY e.inbox_seq DESC LIMIT 1) i ON true
		  LEFT JOIN LATERAL (SELECT e.seq, e.sent_at FROM postbox.messages e
		                      WHERE u.ord <= $2 AND e.conversation_id = u.id ORDER BY e.seq DESC LIMIT 1) m ON true`
	return b.tx.QueryRowContext(ctx, read, b.columns.logs, b.columns.conversations).Scan(&b.heads, &b.stamps)
}

// insert stores the messages, their entries, and the word for the indexer.
func (b *importBatch) insert(ctx context.Context) error {
	c := b.columns
	const messages = `
		INSERT INTO postbox.messages (conversation_id, seq, sender_id, sender_inbox_seq, peer_inbox_seq, sent_at, id,
		       qos, digest, idempotency_key, content_type, body)
		SELECT ($1::bigint[])[u.log], ($2::bigint[])[u.log] + u.rank, ($1::bigint[])[u.slog], ($2::bigint[])[u.slog] + u.srank,
		       ($2::bigint[])[NULLIF(u.plog, 0)] + u.prank, 'epoch'::timestamptz + u.at * interval '1 millisecond', u.id,
		       -1, substring($13::bytea FROM (u.ord::integer - 1) * 16 + 1 FOR 16), u.key, NULLIF(u.type, ''),
		       substring($14::bytea FROM u.off + 1 FOR u.len)
		  FROM unnest($3::integer[], $4::integer[], $5::integer[], $6::integer[], $7::integer[], $8::integer[],
		              $9::bigint[], $10::uuid[], $11::text[], $12::text[], $15::integer[], $16::integer[]) WITH ORDINALITY
		       AS u (log, rank, slog, srank, plog, prank, at, id, key, type, off, len, ord)`
	if _, err := b.tx.ExecContext(ctx, messages, c.logs, b.heads, c.log, c.rank, c.ownLog, c.ownRank, c.peerLog, c.peerRank,
		b.times, c.ids, c.keys, c.types, c.digests, c.bodies, c.offsets, c.lengths); err != nil {
		return err
	}
	const inbox = `
		INSERT INTO postbox.inbox (user_id, inbox_seq, conversation_id, seq, entries)
		SELECT ($1::bigint[])[u.log], ($2::bigint[])[u.log] + u.rank,
		       ($1::bigint[])[($3::integer[])[u.message]], ($2::bigint[])[($3::integer[])[u.message]] + ($4::integer[])[u.message], u.entries
		  FROM (SELECT ($5::integer[])[i][1], ($5::integer[])[i][2], ($5::integer[])[i][3], ($5::integer[])[i][4]
		          FROM generate_series(1, array_length($5::integer[], 1)) AS i) AS u (log, rank, message, entries)`
	if _, err := b.tx.ExecContext(ctx, inbox, c.logs, b.heads, c.log, c.rank, c.inboxRows().matrix); err != nil {
		return err
	}
	const queue = `
		WITH own AS (SELECT postbox.note_own_positions($1, $2, $3))
		INSERT INTO postbox.search_queue (queued_at, conversations, afters, counts) SELECT clock_timestamp(), $1, $2, $3 FROM own`
	_, err := b.tx.ExecContext(ctx, queue, c.logs[:c.conversations], b.heads[:c.conversations], c.counts[:c.conversations])
	return err
}
