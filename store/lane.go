package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

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
	// What a lane waits for nothing can take the place of.
	"statement_timeout": "30000",
}

// Lane is the database side of one writer: a connection of its own, and the
// fence that keeps two servers from writing one lane. A Lane is used by one
// goroutine at a time.
type Lane struct {
	id          int
	incarnation int64
	db          *sqlx.DB
	lineage     *lineage
	recent      *recent
	heads       *heads
	fenced      error // returned when another server owns the lane

	// conn is the lane's connection, while it has one. Statements go to it and
	// not to the pool: a pool repeats by itself what a lost connection may
	// have committed.
	conn      *sql.Conn
	statement *sql.Stmt

	// unsure is the batch whose transaction may or may not have committed, or
	// unsureChange the change; next is the incarnation that the fence is being
	// raised to.
	unsure       *postbox.Batch
	unsureChange *postbox.Change
	next         int64

	// mine are the incarnations that the lane's row may have while it is ours:
	// the present one and the next. For other goroutines.
	mine [2]atomic.Int64

	metrics laneMetrics
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
	db, err := open(dsn, s.lineage, patienceOf(dsn))
	if err != nil {
		return nil, fmt.Errorf("open lane %d: %w", id, err)
	}
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	l := &Lane{id: id, db: db, lineage: s.lineage, recent: &s.recent, heads: s.heads, fenced: fenced, incarnation: newIncarnation(), metrics: newLaneMetrics()}
	l.mine[0].Store(l.incarnation)
	const take = `
		INSERT INTO postbox.lanes (id, incarnation) VALUES ($1, $2)
		ON CONFLICT (id) DO UPDATE SET incarnation = EXCLUDED.incarnation`
	if _, err := db.ExecContext(ctx, take, id, l.incarnation); err != nil {
		_ = db.Close()
		return nil, away(fmt.Sprintf("take lane %d", id), err)
	}
	return l, nil
}

// FenceLanes ends the incarnation of every lane there ever was, so that no
// transaction of an earlier server can commit, whatever lanes that one had.
func (s *Store) FenceLanes(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, `UPDATE postbox.lanes SET incarnation = $1`, newIncarnation())
	return away("fence lanes", err)
}

// newIncarnation is a number that no other server uses.
func newIncarnation() int64 { return rand.Int64() }

// connect returns the lane's connection.
func (l *Lane) connect(ctx context.Context) (*sql.Conn, error) {
	if l.conn == nil {
		conn, err := l.db.Conn(ctx)
		if err != nil {
			return nil, away(fmt.Sprintf("connect lane %d", l.id), err)
		}
		l.conn = conn
		l.heads.forgetAll()
	}
	return l.conn, nil
}

// Close ends the lane's connection.
func (l *Lane) Close() error {
	l.drop()
	return l.db.Close()
}

// drop gives the lane's connection up, for good: it is not used again.
func (l *Lane) drop() {
	if l.statement != nil {
		_ = l.statement.Close()
		l.statement = nil
	}
	if l.conn != nil {
		_ = l.conn.Raw(func(any) error { return driver.ErrBadConn })
		_ = l.conn.Close()
		l.conn = nil
	}
}

// refence raises the lane's incarnation. It waits for the lane's last
// transaction, whose share lock on the row it needs; afterwards that one has
// committed or never will. It may be repeated when its own outcome is unknown:
// the number it raises to is chosen once.
func (l *Lane) refence(ctx context.Context) error {
	if l.next == 0 {
		l.next = newIncarnation()
		l.mine[1].Store(l.next)
	}
	conn, err := l.connect(ctx)
	if err != nil {
		return err
	}
	const raise = `UPDATE postbox.lanes SET incarnation = $3 WHERE id = $1 AND incarnation IN ($2, $3)`
	result, err := conn.ExecContext(ctx, raise, l.id, l.incarnation, l.next)
	if err != nil {
		return away(fmt.Sprintf("fence lane %d", l.id), err)
	}
	if n, err := result.RowsAffected(); err == nil && n == 0 {
		return l.fenced
	}
	l.incarnation, l.next = l.next, 0
	l.metrics.fences.Inc()
	l.mine[0].Store(l.incarnation)
	return nil
}

// Lost reports whether another server has taken the lane. It may be called from
// any goroutine.
func (l *Lane) Lost(ctx context.Context, s *Store) (bool, error) {
	before := [2]int64{l.mine[0].Load(), l.mine[1].Load()}
	var now int64
	if err := s.db.GetContext(ctx, &now, `SELECT incarnation FROM postbox.lanes WHERE id = $1`, l.id); err != nil {
		return false, away(fmt.Sprintf("look at the owner of lane %d", l.id), err)
	}
	// It may have been raised by ourselves meanwhile.
	return now != before[0] && now != before[1] && now != l.mine[0].Load() && now != l.mine[1].Load(), nil
}

// settleUnsure finds out whether the batch whose outcome is unknown was
// committed, and if so fills in its numbers: fence first, then look. It
// reports true when it was.
func (l *Lane) settleUnsure(ctx context.Context) (bool, error) {
	committed, err := l.lookUnsure(ctx)
	if err == nil {
		l.unsure = nil
		return committed, nil
	}
	if errors.Is(err, l.fenced) {
		return false, err
	}
	// Whatever it is, the outcome is still unknown and must be asked for again.
	countError(err)
	l.drop()
	return false, &unavailable{"settle a batch of unknown outcome", err}
}

func (l *Lane) lookUnsure(ctx context.Context) (bool, error) {
	if err := l.refence(ctx); err != nil {
		return false, err
	}
	publishes := unused(l.unsure.Publishes)
	ids := make([]string, len(publishes))
	for i, p := range publishes {
		ids[i] = p.Message.ID.String()
	}
	const look = `
		SELECT u.ord - 1, m.seq, m.sender_inbox_seq, m.sent_at
		  FROM unnest($1::uuid[]) WITH ORDINALITY AS u (id, ord)
		  JOIN postbox.messages m ON m.id = u.id`
	rows, err := l.conn.QueryContext(ctx, look, pq.Array(ids))
	if err != nil {
		return false, err
	}
	defer rows.Close()
	var found []func()
	for rows.Next() {
		var i int
		var seq postbox.Seq
		var own postbox.InboxSeq
		var at time.Time
		if err := rows.Scan(&i, &seq, &own, &at); err != nil {
			return false, err
		}
		found = append(found, func() { publishes[i].Numbered(seq, own, at) })
	}
	// All or none: what is there of a batch that was not committed are wills
	// that an earlier one has stored. A batch of ids alone is given again.
	if err := rows.Err(); err != nil || len(found) == 0 || len(found) < len(publishes) {
		return false, err
	}
	for _, number := range found {
		number()
	}
	return true, l.numberRecipients(ctx, publishes)
}

// numberRecipients reads the numbers that a committed batch took in its
// recipients' inboxes.
func (l *Lane) numberRecipients(ctx context.Context, publishes []*postbox.Publish) error {
	var users, conversations, seqs []int64
	var of []*postbox.Publish
	for _, p := range publishes {
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
	// Of who has been erased since then there is none, and nobody to be told.
	const look = `
		SELECT coalesce(i.inbox_seq + u.seq - i.seq, 0)
		  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS u (user_id, conversation_id, seq, ord)
		  LEFT JOIN LATERAL (
		       SELECT e.inbox_seq, e.seq FROM postbox.inbox e
		        WHERE e.user_id = u.user_id AND e.kind = 0
		          AND e.conversation_id = u.conversation_id AND e.seq <= u.seq AND e.seq + e.entries > u.seq
		        ORDER BY e.inbox_seq DESC LIMIT 1) i ON true
		 ORDER BY u.ord`
	rows, err := l.conn.QueryContext(ctx, look, pq.Array(users), pq.Array(conversations), pq.Array(seqs))
	if err != nil {
		return err
	}
	defer rows.Close()
	i := 0
	for ; rows.Next() && i < len(of); i++ {
		var n postbox.InboxSeq
		if err := rows.Scan(&n); err != nil {
			return err
		}
		of[i].InboxSeqs = append(of[i].InboxSeqs, n)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if i != len(of) {
		return fmt.Errorf("%d of %d inbox entries of a committed batch found", i, len(of))
	}
	return nil
}
