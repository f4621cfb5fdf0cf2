package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/lib/pq"

	"postbox"
)

const appendStatement = `
	SELECT coalesce(deletions, 0), heads, stamps, taken, gone, stale FROM postbox.append(
		$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
		$20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33)`

// Append commits a batch in one round trip (schema function postbox.append)
// and fills in the numbers of its publishes, or Used for those whose
// idempotency key was used before, or Gone for wills that are not there any
// more. With postbox.ErrStaleRoute those are marked whose room has changed. See
// inbox.Appender for its other errors. After an
// outcome that is not known the same batch must be given again: Append then
// finds out first.
func (l *Lane) Append(ctx context.Context, b *postbox.Batch) error {
	if l.unsure != nil || l.unsureChange != nil {
		if l.unsure != b {
			return fmt.Errorf("append to lane %d: the last batch has no known outcome yet", l.id)
		}
		if committed, err := l.settleUnsure(ctx); committed || err != nil {
			return err
		}
	}
	for behind := false; ; {
		fresh := unused(b.Publishes)
		c := columnsOf(fresh)
		not, err := l.callHolding(ctx, b, c, behind)
		switch {
		case isBehind(err) && !behind:
			behind = true
			l.metrics.behind.Inc()
		case err != nil:
			return l.failed(b, err)
		case len(not.gone) > 0:
			for _, ord := range not.gone {
				fresh[ord-1].Gone = true
			}
		case len(not.taken) > 0:
			if err := l.fillUsed(ctx, fresh, not.taken); err != nil {
				return err
			}
		case len(not.stale) > 0:
			c.stale(not.stale)
			return postbox.ErrStaleRoute
		default:
			if len(fresh) > 0 {
				l.lineage.committed(fresh[len(fresh)-1].Message.ID)
				l.recent.put(fresh)
			}
			return nil
		}
	}
}

// failed sorts the error of a call: fenced, rolled back for sure, or unknown.
func (l *Lane) failed(b *postbox.Batch, err error) error {
	countError(err)
	var pe *pq.Error
	if errors.As(err, &pe) {
		switch pe.Code {
		case "PB001":
			return l.fenced
		case "PB002":
			return errLogGone
		case "40P01", "40001", "55P03", somethingDeleted:
			return &unavailable{"append", err} // rolled back, and worth another try
		case "23505":
			switch pe.Constraint {
			case "messages_idempotency_key", "inbox_pkey", "messages_pkey":
				// Another server has just stored a key of this batch, or has taken its
				// numbers: the next try finds that.
				return &unavailable{"append", err}
			case "messages_id_key":
				// The ids are ours: an earlier try of this batch has committed.
				return l.lost(b, err)
			}
		case "23503":
			if pe.Constraint == "open_publishes_device_id_fkey" {
				// The session has just ended: the next try does not find it.
				return &unavailable{"append", err}
			}
		}
		if !isAway(err) {
			return fmt.Errorf("append batch of %d: %w", len(b.Publishes), err)
		}
	}
	return l.lost(b, err)
}

// lost notes that a batch may or may not have been committed.
func (l *Lane) lost(b *postbox.Batch, err error) error {
	l.unsure = b
	l.metrics.unknown.Inc()
	l.drop()
	return &unavailable{fmt.Sprintf("append batch of %d", len(b.Publishes)), err}
}

// obstacles are why nothing of a batch was stored; none if it was.
type obstacles struct{ taken, gone, stale pq.Int64Array }

func (o obstacles) any() bool { return len(o.taken)+len(o.gone)+len(o.stale) > 0 }

// callHolding makes the call when no other batch of this server has the same logs,
// from the last numbers that are remembered; or, when behind, from none and with all
// logs locked.
func (l *Lane) callHolding(ctx context.Context, b *postbox.Batch, c *columns, behind bool) (obstacles, error) {
	if err := l.prepare(ctx); err != nil {
		return obstacles{}, err
	}
	var held bool
	if c.known, held = l.heads.hold(ctx, c.logs); behind || !held {
		c.lookAndLock()
	}
	learnt, not, err := l.call(ctx, b, c)
	stored := err == nil && !not.any()
	if stored {
		c.number(learnt.numbers, learnt.stamps)
		for i, n := range c.counts {
			learnt.numbers[i] += int64(n)
		}
	}
	switch {
	case !held: // whoever holds them is behind now
	case err != nil:
		l.heads.forget(c.logs) // behind, or nobody knows
	case stored:
		l.heads.learn(c.logs, learnt)
	default:
		l.heads.release(c.logs)
	}
	return not, err
}

// call makes the call, and tells what is known of the logs by it: their numbers before
// it and the times of their messages, unless there are obstacles.
func (l *Lane) call(ctx context.Context, b *postbox.Batch, c *columns) (learnt holding, not obstacles, err error) {
	open, closed := idColumnsOf(b.Opened), idColumnsOf(b.Closed)
	rows := c.inboxRows()
	now, stamps := b.Now.UnixMilli(), c.known.stamps[:c.conversations]
	for i := range stamps {
		stamps[i] = max(stamps[i], now)
	}
	err = l.statement.QueryRowContext(ctx,
		l.id, l.incarnation, now, c.logs, c.conversations, c.messages(),
		c.ids, c.devices, orNull(c.keys), orNull(c.types), orNull(c.refs), orNull(c.expires),
		c.digests, c.bodies, rows.matrix, rows.publishers, rows.offsets, rows.packets,
		open.devices, open.packets, open.messages, open.digests,
		closed.devices, closed.packets, c.wills, c.roomLog, c.roomVersion,
		c.locks, !slices.Contains(c.known.numbers, -1), int8Array(c.known.numbers), int8Array(stamps), c.known.deletions, c.counts[:c.conversations],
	).Scan(&learnt.deletions, &learnt.numbers, &learnt.stamps, &not.taken, &not.gone, &not.stale)
	if learnt.numbers == nil {
		learnt.numbers, learnt.stamps = c.known.numbers, stamps
	}
	return learnt, not, err
}

// prepare connects, if need be, and prepares the statement.
func (l *Lane) prepare(ctx context.Context) error {
	if l.statement != nil {
		return nil
	}
	conn, err := l.connect(ctx)
	if err != nil {
		return err
	}
	statement, err := conn.PrepareContext(ctx, appendStatement)
	if err == nil {
		l.statement = statement
	}
	return err
}

// fillUsed reads the messages whose keys were used before.
func (l *Lane) fillUsed(ctx context.Context, fresh []*postbox.Publish, taken []int64) error {
	senders := make([]int64, len(taken))
	keys := make([]string, len(taken))
	for i, ord := range taken {
		m := fresh[ord-1].Message
		senders[i], keys[i] = int64(m.Sender), m.Key
	}
	const look = `
		SELECT u.ord, m.id, m.seq, m.sender_inbox_seq, m.sent_at, m.digest
		  FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS u (sender_id, key, ord)
		  JOIN postbox.messages m ON m.sender_id = u.sender_id AND m.idempotency_key = u.key`
	rows, err := l.conn.QueryContext(ctx, look, pq.Array(senders), pq.Array(keys))
	if err != nil {
		l.drop()
		return &unavailable{"read messages of used keys", err}
	}
	defer rows.Close()
	for rows.Next() {
		var ord int
		stored, err := scanStored(rows, &ord)
		if err != nil {
			return away("read messages of used keys", err)
		}
		fresh[taken[ord-1]-1].Used = &stored
	}
	return away("read messages of used keys", rows.Err())
}

// scanStored scans leading columns into first, then id, seq, sender_inbox_seq,
// sent_at and digest.
func scanStored(rows *sql.Rows, first ...any) (postbox.Stored, error) {
	var s postbox.Stored
	var id string
	var digest []byte
	if err := rows.Scan(append(first, &id, &s.Seq, &s.InboxSeq, &s.SentAt, &digest)...); err != nil {
		return s, err
	}
	copy(s.Digest[:], digest)
	var err error
	s.ID, err = postbox.ParseMessageID(id)
	return s, err
}

func unused(all []*postbox.Publish) []*postbox.Publish {
	fresh := make([]*postbox.Publish, 0, len(all))
	for _, p := range all {
		if p.Used == nil && !p.Gone {
			fresh = append(fresh, p)
		}
	}
	return fresh
}
