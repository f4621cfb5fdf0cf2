package model

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/lib/pq"
)

// mirror is what the database has been seen to hold.
type mirror struct {
	names   map[int64]string // users by id
	pairs   map[int64]string // conversations by id: "alice bob"
	heads   map[int64]int64  // of conversations
	rows    map[string]*row  // messages by id
	order   map[int64][]*row // messages by conversation and seq
	inboxes map[string][]*row
}

// row is a stored message.
type row struct {
	id, sender, device, key string
	conversation, seq       int64
	ownSeq                  int64
	text                    *text
	expires                 time.Time
	entries                 int       // in inboxes
	seen                    time.Time // first
}

func newMirror() mirror {
	return mirror{
		names: make(map[int64]string), pairs: make(map[int64]string), heads: make(map[int64]int64),
		rows: make(map[string]*row), order: make(map[int64][]*row), inboxes: make(map[string][]*row),
	}
}

// head is the last number of a user's inbox that has been seen.
func (m *mirror) head(user string) int64 { return int64(len(m.inboxes[user])) }

// entry is entry n of a user's inbox; nil if it has not been seen.
func (m *mirror) entry(user string, n int64) *row {
	if in := m.inboxes[user]; n >= 1 && n <= int64(len(in)) {
		return in[n-1]
	}
	return nil
}

// snapshot is what one look at the database saw, after what was seen before.
type snapshot struct {
	pairs    map[int64]string
	messages []seenMessage
	entries  []seenEntry
	cursors  []seenCursor
}

type seenMessage struct {
	row
	body, ctype, ref string
}

type seenEntry struct {
	user            string
	n, conversation int64
	seq             int64
}

type seenCursor struct {
	user, device string
	cursor       int64
}

// look reads what is new, all at one moment.
func (w *world) look(ctx context.Context, conversations, seqs, users, numbers []int64) (s snapshot, err error) {
	tx, err := w.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return s, err
	}
	defer func() { _ = tx.Rollback() }()
	s.pairs = make(map[int64]string)
	err = each(ctx, tx, func(scan func(...any) error) error {
		var id int64
		var low, high string
		err := scan(&id, &low, &high)
		s.pairs[id] = low + " " + high
		return err
	}, `SELECT c.id, l.name, h.name FROM postbox.conversations c
	      JOIN postbox.users l ON l.id = c.user_low JOIN postbox.users h ON h.id = c.user_high`)
	if err != nil {
		return s, err
	}
	err = each(ctx, tx, func(scan func(...any) error) error {
		var m seenMessage
		var expires sql.NullTime
		err := scan(&m.id, &m.conversation, &m.seq, &m.ownSeq, &m.sender, &m.device, &m.key, &m.body, &m.ctype, &m.ref, &expires)
		m.expires = expires.Time
		s.messages = append(s.messages, m)
		return err
	}, `SELECT m.id, m.conversation_id, m.seq, m.sender_inbox_seq, u.name, coalesce(m.device, ''),
	           coalesce(m.idempotency_key, ''), m.body, coalesce(m.content_type, ''), coalesce(m.ref, ''), m.expires_at
	      FROM postbox.messages m JOIN postbox.users u ON u.id = m.sender_id
	      LEFT JOIN unnest($1::bigint[], $2::bigint[]) AS k (id, seq) ON k.id = m.conversation_id
	     WHERE m.seq > coalesce(k.seq, 0) ORDER BY m.conversation_id, m.seq`, pq.Array(conversations), pq.Array(seqs))
	if err != nil {
		return s, err
	}
	err = each(ctx, tx, func(scan func(...any) error) error {
		var e seenEntry
		err := scan(&e.user, &e.n, &e.conversation, &e.seq)
		s.entries = append(s.entries, e)
		return err
	}, `SELECT u.name, i.inbox_seq + n.n, i.conversation_id, i.seq + n.n
	      FROM unnest($1::bigint[], $2::bigint[]) AS k (id, n) JOIN postbox.users u ON u.id = k.id
	      JOIN postbox.inbox i ON i.user_id = k.id AND i.inbox_seq > k.n
	     CROSS JOIN LATERAL generate_series(0, i.entries - 1) AS n (n)
	     ORDER BY i.user_id, i.inbox_seq + n.n`, pq.Array(users), pq.Array(numbers))
	if err != nil {
		return s, err
	}
	err = each(ctx, tx, func(scan func(...any) error) error {
		var c seenCursor
		err := scan(&c.user, &c.device, &c.cursor)
		s.cursors = append(s.cursors, c)
		return err
	}, `SELECT u.name, d.client_id, d.cursor FROM postbox.devices d JOIN postbox.users u ON u.id = d.user_id`)
	return s, err
}

func each(ctx context.Context, tx *sql.Tx, f func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("%w in %.60s", err, query)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
