package store

import (
	"context"
	"database/sql"

	"github.com/lib/pq"

	"postbox"
)

// Recipient is what is known of the one that a sender writes to.
type Recipient struct {
	Conversation sql.NullInt64 `db:"conversation_id"`
	User         sql.NullInt64 `db:"user_id"`
	Erased       bool          `db:"erased"`
	Blocked      bool          `db:"blocked"` // the recipient has blocked the sender
	Accept       string        `db:"accept"`
	Known        bool          `db:"known"` // the recipient has written to the sender, or shares a room with them
	Wrote        bool          `db:"wrote"` // the sender has written to the recipient, or was about to
}

// Recipients looks up who senders write to, one for each key in order. A
// recipient that does not exist has no User; a pair that has never written has
// no Conversation.
func (s *Store) Recipients(ctx context.Context, keys []postbox.RouteKey) ([]Recipient, error) {
	senders, names := make([]int64, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		senders[i], names[i] = int64(k.Sender), string(k.To)
	}
	look := `
		SELECT c.id AS conversation_id, r.id AS user_id, r.erased_at IS NOT NULL AS erased,
		       coalesce(r.accept, '') AS accept,
		       EXISTS (SELECT 1 FROM postbox.blocks b WHERE b.user_id = r.id AND b.blocked_id = u.sender_id) AS blocked,
		       coalesce(CASE WHEN c.user_low = r.id THEN c.low_wrote ELSE c.high_wrote END, false)
		           OR CASE WHEN r.accept = 'known' THEN ` + sharesRoom("u.sender_id", "r.id") + ` ELSE false END AS known,
		       coalesce(CASE WHEN c.user_low = u.sender_id THEN c.low_wrote ELSE c.high_wrote END, false) AS wrote
		  FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS u (sender_id, name, ord)
		  LEFT JOIN postbox.users r ON r.name = u.name
		  LEFT JOIN postbox.conversations c
		    ON r.id IS NOT NULL -- least and greatest pass NULL over
		   AND c.user_low = least(u.sender_id, r.id) AND c.user_high = greatest(u.sender_id, r.id)
		 ORDER BY u.ord`
	var found []Recipient
	err := s.db.SelectContext(ctx, &found, look, pq.Array(senders), pq.Array(names))
	return found, away("look up recipients", err)
}

// Pair is the two users of a direct conversation: one is about to write to the
// other.
type Pair [2]postbox.UserID

// MakeConversations makes the direct conversations that do not exist yet, notes
// in all who writes in them, and returns the number of each, in order.
func (s *Store) MakeConversations(ctx context.Context, pairs []Pair) ([]postbox.ConversationID, error) {
	low, high, writers := make([]int64, len(pairs)), make([]int64, len(pairs)), make([]int64, len(pairs))
	for i, p := range pairs {
		low[i], high[i], writers[i] = int64(min(p[0], p[1])), int64(max(p[0], p[1])), int64(p[0])
	}
	// Sorted, so that two servers that make the same ones do not wait for each
	// other in a ring.
	const add = `
		WITH made AS (
			INSERT INTO postbox.conversations (user_low, user_high)
			SELECT DISTINCT low, high FROM unnest($1::bigint[], $2::bigint[]) AS u (low, high) ORDER BY low, high
			ON CONFLICT (user_low, user_high) DO NOTHING
			RETURNING id)
		INSERT INTO postbox.logs (id) SELECT id FROM made`
	if _, err := s.db.ExecContext(ctx, add, pq.Array(low), pq.Array(high)); err != nil {
		return nil, away("make conversations", err)
	}
	const note = `
		WITH new AS (
			SELECT c.id, u.low_writes, u.high_writes
			  FROM (SELECT low, high, bool_or(low = writer) AS low_writes, bool_or(high = writer) AS high_writes
			          FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS u (low, high, writer) GROUP BY low, high) u
			  JOIN postbox.conversations c ON c.user_low = u.low AND c.user_high = u.high
			 WHERE low_writes AND NOT low_wrote OR high_writes AND NOT high_wrote
			 ORDER BY c.id FOR NO KEY UPDATE OF c)
		UPDATE postbox.conversations c SET low_wrote = low_wrote OR low_writes, high_wrote = high_wrote OR high_writes
		  FROM new WHERE c.id = new.id`
	if _, err := s.db.ExecContext(ctx, note, pq.Array(low), pq.Array(high), pq.Array(writers)); err != nil {
		return nil, away("note who writes", err)
	}
	const look = `
		SELECT c.id
		  FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS u (low, high, ord)
		  JOIN postbox.conversations c ON c.user_low = u.low AND c.user_high = u.high
		 ORDER BY u.ord`
	var ids []postbox.ConversationID
	err := s.db.SelectContext(ctx, &ids, look, pq.Array(low), pq.Array(high))
	return ids, away("look up conversations", err)
}
