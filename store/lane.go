package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"postbox"
)

// laneSettings are those of a lane's connection. The batches are arrays, of
// whose length a planner knows nothing: it is told to look rows up by index.
var laneSettings = map[string]string{
	"enable_seqscan":   "off",
	"enable_hashjoin":  "off",
	"enable_mergejoin": "off",
	"plan_cache_mode":  "force_generic_plan",
}

// Lane is the database side of one writer: a connection of its own, and the
// fence that keeps two servers from writing one lane. A Lane is used by one
// goroutine at a time.
type Lane struct {
	id          int
	incarnation int64
	db          *sqlx.DB
	statement   *sql.Stmt
	fenced      error // returned when another server owns the lane

	// unsure is the batch whose transaction may or may not have committed.
	unsure *postbox.Batch
}

// OpenLane takes lane id for this server: from now on no transaction of an
// earlier owner can commit. It waits for one that is about to. fenced is what
// Append returns once another server has taken the lane.
func (s *Store) OpenLane(ctx context.Context, id int, fenced error) (*Lane, error) {
	settings := make(map[string]string, len(connectionSettings)+len(laneSettings))
	for k, v := range connectionSettings {
		settings[k] = v
	}
	for k, v := range laneSettings {
		settings[k] = v
	}
	dsn, err := withSettings(s.options.URL, settings)
	if err != nil {
		return nil, err
	}
	db, err := sqlx.Open("postgres", dsn)
	if err != nil {
		return nil, fmt.Errorf("open lane %d: %w", id, err)
	}
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	l := &Lane{id: id, db: db, fenced: fenced}
	const take = `
		INSERT INTO postbox.lanes AS l (id, incarnation) VALUES ($1, 1)
		ON CONFLICT (id) DO UPDATE SET incarnation = l.incarnation + 1
		RETURNING incarnation`
	if err := db.GetContext(ctx, &l.incarnation, take, id); err != nil {
		_ = db.Close()
		return nil, away(fmt.Sprintf("take lane %d", id), err)
	}
	return l, nil
}

// Close ends the lane's connection.
func (l *Lane) Close() error {
	l.drop()
	return l.db.Close()
}

// drop forgets the prepared statement, whose connection is gone.
func (l *Lane) drop() {
	if l.statement != nil {
		_ = l.statement.Close()
		l.statement = nil
	}
}

// refence raises the lane's incarnation. It waits for the lane's last
// transaction, whose share lock on the row it needs; afterwards that one has
// committed or never will.
func (l *Lane) refence(ctx context.Context) error {
	const raise = `UPDATE postbox.lanes SET incarnation = incarnation + 1 WHERE id = $1 AND incarnation = $2 RETURNING incarnation`
	err := l.db.GetContext(ctx, &l.incarnation, raise, l.id, l.incarnation)
	if errors.Is(err, sql.ErrNoRows) {
		return l.fenced
	}
	return away(fmt.Sprintf("fence lane %d", l.id), err)
}

// settleUnsure finds out whether the batch whose outcome is unknown was
// committed, and if so fills in its numbers: fence first, then look. It
// reports true when it was.
func (l *Lane) settleUnsure(ctx context.Context) (bool, error) {
	if err := l.refence(ctx); err != nil {
		return false, err
	}
	b := l.unsure
	ids := make([]string, len(b.Publishes))
	for i, p := range b.Publishes {
		ids[i] = p.Message.ID.String()
	}
	const look = `
		SELECT u.ord - 1, m.conversation_id, m.seq, m.sender_inbox_seq, m.sent_at
		  FROM unnest($1::uuid[]) WITH ORDINALITY AS u (id, ord)
		  JOIN postbox.messages m ON m.id = u.id`
	rows, err := l.db.QueryContext(ctx, look, pq.Array(ids))
	if err != nil {
		return false, away("look for a batch of unknown outcome", err)
	}
	defer rows.Close()
	found := 0
	for rows.Next() {
		var i int
		m := postbox.Message{}
		var own postbox.InboxSeq
		if err := rows.Scan(&i, &m.Conversation, &m.Seq, &own, &m.SentAt); err != nil {
			return false, away("look for a batch of unknown outcome", err)
		}
		p := b.Publishes[i]
		p.Message.Seq, p.Message.SentAt, p.InboxSeq = m.Seq, m.SentAt, own
		found++
	}
	if err := rows.Err(); err != nil {
		return false, away("look for a batch of unknown outcome", err)
	}
	if found == 0 {
		l.unsure = nil
		return false, nil
	}
	if err := l.numberRecipients(ctx, b); err != nil {
		return false, err
	}
	l.unsure = nil
	return true, nil
}

// numberRecipients reads the numbers that a committed batch took in its
// recipients' inboxes.
func (l *Lane) numberRecipients(ctx context.Context, b *postbox.Batch) error {
	var users, conversations, seqs []int64
	var of []*postbox.Publish
	for _, p := range b.Publishes {
		p.InboxSeqs = make([]postbox.InboxSeq, 0, len(p.Recipients))
		for _, r := range p.Recipients {
			users = append(users, int64(r))
			conversations = append(conversations, int64(p.Message.Conversation))
			seqs = append(seqs, int64(p.Message.Seq))
			of = append(of, p)
		}
	}
	// Bounded from below by the lowest number that can be meant: the inbox is
	// indexed by number, not by message, and what is looked for is at its end.
	const look = `
		SELECT i.inbox_seq
		  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS u (user_id, conversation_id, seq, ord)
		 CROSS JOIN LATERAL (
		       SELECT e.inbox_seq FROM postbox.inbox e
		        WHERE e.user_id = u.user_id AND e.kind = 0
		          AND e.conversation_id = u.conversation_id AND e.seq = u.seq
		        ORDER BY e.inbox_seq DESC LIMIT 1) i
		 ORDER BY u.ord`
	var numbers []int64
	if err := l.db.SelectContext(ctx, &numbers, look, pq.Array(users), pq.Array(conversations), pq.Array(seqs)); err != nil {
		return away("read the numbers of a committed batch", err)
	}
	if len(numbers) != len(of) {
		return fmt.Errorf("read the numbers of a committed batch: %d of %d found", len(numbers), len(of))
	}
	for i, n := range numbers {
		of[i].InboxSeqs = append(of[i].InboxSeqs, postbox.InboxSeq(n))
	}
	return nil
}
