package store

import (
	"context"
	"database/sql"
	"math"

	"github.com/lib/pq"

	"postbox"
)

// lookBack is how many numbers back the last message that a user has sent is
// looked for: it moves their read position too, and is not noted for each
// message. With each 500th message of a conversation it is noted for those before
// (schema function postbox.note_own_positions), and whoever asks for positions has
// what is found noted, see SaveOwnPositions.
const lookBack = `1000`

// ownLast finds, in a conversation p with a position kept, the last message that
// a user has sent since.
func ownLast(user, kept string) string {
	return `
		LATERAL (SELECT coalesce((
			SELECT m.seq FROM postbox.messages m
			 WHERE m.conversation_id = p.id AND m.seq > greatest(` + kept + `, p.last - ` + lookBack + `) AND m.seq <= p.last
			   AND m.sender_id = ` + user + `
			 ORDER BY m.seq DESC LIMIT 1), 0) AS seq)`
}

// seesUser decides whether a user may know of another what presence and receipts
// tell (docs/spec.md §7, presence): they share a room, or the other has written
// to the user; and the other has not blocked the user.
func seesUser(user, other, conversation string) string {
	return `(NOT EXISTS (SELECT FROM postbox.blocks b WHERE b.user_id = ` + other + ` AND b.blocked_id = ` + user + `)
		AND (coalesce(CASE WHEN ` + conversation + `.user_low = ` + other + ` THEN ` + conversation + `.low_wrote ELSE ` + conversation + `.high_wrote END, false)
		     OR EXISTS (SELECT FROM postbox.memberships a
		                  JOIN postbox.memberships b ON b.conversation_id = a.conversation_id AND b.user_id = ` + other + ` AND b.left_seq IS NULL
		                  JOIN postbox.conversations r ON r.id = a.conversation_id AND r.deleted_at IS NULL
		                 WHERE a.user_id = ` + user + ` AND a.left_seq IS NULL)))`
}

// readPositions reads positions in stretches of conversations, of which `last` is
// the last message. What is unread is counted in the 10,000 newest messages: others'
// messages that are neither retracted nor expired.
//
// The other side's delivered_seq is a number of its inbox. The numbers that the
// messages of a conversation have there grow with seq, so the last one that was
// delivered is found by halving, and mostly by the first look, at the last.
// Messages from before their numbers were kept count as delivered.
var readPositions = `
	SELECT p.ord, coalesce(k.read_seq, 0), own.seq, unread.n,
	       CASE WHEN o.sees THEN coalesce(delivered.seq, 0) ELSE 0 END,
	       CASE WHEN o.sees AND o.receipts THEN greatest(o.read_seq, peer_own.seq) ELSE 0 END
	  FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) WITH ORDINALITY AS p (id, after, up_to, last, peer, ord)
	  LEFT JOIN postbox.positions k ON k.conversation_id = p.id AND k.user_id = $1
	 CROSS JOIN ` + ownLast("$1", "coalesce(k.read_seq, 0)") + ` own
	 CROSS JOIN LATERAL (
	       SELECT count(*) AS n FROM (
	           SELECT FROM (SELECT * FROM postbox.messages m
	                         WHERE m.conversation_id = p.id AND m.seq > greatest(p.after, k.read_seq, own.seq) AND m.seq <= p.up_to
	                         ORDER BY m.seq DESC LIMIT 10000) m
	            WHERE m.sender_id <> $1 AND m.retracted_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > now())
	            LIMIT 1000) counted) unread
	  LEFT JOIN LATERAL (
	       SELECT u.id, u.receipts, u.delivered_seq, coalesce(q.read_seq, 0) AS read_seq, ` + seesUser("$1", "u.id", "c") + ` AS sees
	         FROM postbox.users u
	         JOIN postbox.conversations c ON c.id = p.id
	         LEFT JOIN postbox.positions q ON q.conversation_id = p.id AND q.user_id = u.id
	        WHERE p.peer <> 0 AND u.id = p.peer) o ON true
	  LEFT JOIN ` + ownLast("o.id", "o.read_seq") + ` peer_own ON o.sees
	  LEFT JOIN LATERAL (
	       WITH RECURSIVE halves (low, high) AS (
	           SELECT CASE WHEN m.number <= o.delivered_seq THEN m.seq ELSE 0 END, CASE WHEN m.number <= o.delivered_seq THEN m.seq + 1 ELSE m.seq END
	             FROM (SELECT m.seq, coalesce(CASE m.sender_id WHEN o.id THEN m.sender_inbox_seq ELSE m.peer_inbox_seq END, 0) AS number
	                     FROM postbox.messages m WHERE m.conversation_id = p.id AND m.seq = p.last) m
	           UNION ALL
	           SELECT CASE WHEN m.number <= o.delivered_seq THEN m.seq ELSE h.low END,
	                  CASE WHEN m.number <= o.delivered_seq THEN h.high ELSE (h.low + h.high) / 2 END
	             FROM halves h
	             LEFT JOIN LATERAL (
	                  SELECT m.seq, coalesce(CASE m.sender_id WHEN o.id THEN m.sender_inbox_seq ELSE m.peer_inbox_seq END, 0) AS number
	                    FROM postbox.messages m
	                   WHERE m.conversation_id = p.id AND m.seq >= (h.low + h.high) / 2 AND m.seq < h.high
	                   ORDER BY m.seq LIMIT 1) m ON true
	            WHERE h.high - h.low > 1)
	       SELECT low AS seq FROM halves WHERE high - low <= 1) delivered ON o.sees`

// MarkRead moves the user's read marker, which only grows, to at most the last
// message of the place that the user may see. It returns the position now kept,
// which is also moved by what the user sends, and whether the marker moved. What
// it returns is kept, though the message that moved it may be removed. A marker
// that moved is among Unannounced until a Change has told of it.
func (s *Store) MarkRead(ctx context.Context, user postbox.UserID, p postbox.Place, seq postbox.Seq) (postbox.Seq, bool, error) {
	afters, upTos := make([]int64, len(p.Spans)), make([]int64, len(p.Spans))
	for i, span := range p.Spans {
		afters[i], upTos[i] = int64(span.After), int64(span.UpTo)
		if span.UpTo == 0 {
			upTos[i] = math.MaxInt64
		}
	}
	mark := `
		WITH p AS MATERIALIZED (
			SELECT $2::bigint AS id, coalesce(max(m.seq), 0) AS last
			  FROM unnest($4::bigint[], $5::bigint[]) AS s (after, up_to)
			 CROSS JOIN LATERAL (SELECT m.seq FROM postbox.messages m
			                      WHERE m.conversation_id = $2 AND m.seq > s.after AND m.seq <= s.up_to
			                      ORDER BY m.seq DESC LIMIT 1) m),
		was AS MATERIALIZED (
			SELECT coalesce(k.read_seq, 0) AS kept, own.seq AS own, least($3::bigint, p.last) AS wanted
			  FROM p
			  LEFT JOIN postbox.positions k ON k.conversation_id = p.id AND k.user_id = $1
			 CROSS JOIN ` + ownLast("$1", "coalesce(k.read_seq, 0)") + ` own),
		moved AS (
			INSERT INTO postbox.positions AS k (conversation_id, user_id, read_seq)
			SELECT $2, $1, wanted FROM was WHERE wanted > greatest(kept, own)
			ON CONFLICT (conversation_id, user_id) DO UPDATE SET read_seq = EXCLUDED.read_seq WHERE k.read_seq < EXCLUDED.read_seq
			RETURNING read_seq)
		SELECT kept, own, wanted, (SELECT read_seq FROM moved) IS NOT NULL FROM was`
	for {
		var kept, own, wanted postbox.Seq
		var moved bool
		err := s.archive.query(ctx, mark, func(rows *sql.Rows) error {
			return rows.Scan(&kept, &own, &wanted, &moved)
		}, user, p.Conversation, seq, pq.Array(afters), pq.Array(upTos))
		switch {
		case err != nil:
			return 0, false, away("move a read marker", err)
		case moved:
			return wanted, true, nil
		case own > kept && wanted <= own:
			return own, false, s.SaveOwnPositions(ctx, []ReadPosition{{user, p.Conversation, own}})
		case wanted <= kept:
			return kept, false, nil
		}
		// Meanwhile somebody else has moved it further: look again.
	}
}

// ReadPosition is how far a user has read in a conversation.
type ReadPosition struct {
	User         postbox.UserID
	Conversation postbox.ConversationID
	Seq          postbox.Seq
}

// SaveOwnPositions notes that users have read up to messages which they have
// sent themselves. Nobody has to be told: who got the message knows. A position
// that is behind the saved one changes nothing.
func (s *Store) SaveOwnPositions(ctx context.Context, all []ReadPosition) error {
	if len(all) == 0 {
		return nil
	}
	users, conversations, seqs := make([]int64, len(all)), make([]int64, len(all)), make([]int64, len(all))
	for i, p := range all {
		users[i], conversations[i], seqs[i] = int64(p.User), int64(p.Conversation), int64(p.Seq)
	}
	// Sorted, so that two who save the same do not wait for each other in a ring.
	const save = `
		INSERT INTO postbox.positions AS k (conversation_id, user_id, read_seq, told_seq)
		SELECT conversation_id, user_id, max(seq), max(seq)
		  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS u (user_id, conversation_id, seq)
		 GROUP BY conversation_id, user_id ORDER BY conversation_id, user_id
		ON CONFLICT (conversation_id, user_id) DO UPDATE
		   SET read_seq = EXCLUDED.read_seq, told_seq = greatest(k.told_seq, EXCLUDED.told_seq)
		 WHERE k.read_seq < EXCLUDED.read_seq`
	_, err := s.db.ExecContext(ctx, save, pq.Array(users), pq.Array(conversations), pq.Array(seqs))
	return away("save positions", err)
}

// Unannounced is a read marker that was moved and not told of: no entry of it is
// in an inbox.
type Unannounced struct {
	User  postbox.UserID
	Name  postbox.User
	Place postbox.Place // without Spans
	Seq   postbox.Seq
}

// Unannounced lists at most limit of the markers that were not told of. It reads
// the positions of all users: it is for the start of a server.
func (s *Store) Unannounced(ctx context.Context, limit int) ([]Unannounced, error) {
	const list = `
		SELECT k.user_id, u.name, k.conversation_id, coalesce(c.room, ''), coalesce(o.id, 0), coalesce(o.name, ''), k.read_seq
		  FROM postbox.positions k
		  JOIN postbox.conversations c ON c.id = k.conversation_id
		  JOIN postbox.users u ON u.id = k.user_id
		  LEFT JOIN postbox.users o ON o.id = CASE WHEN c.user_low = k.user_id THEN c.user_high ELSE c.user_low END
		 WHERE k.told_seq < k.read_seq
		 LIMIT $1`
	var all []Unannounced
	err := s.archive.query(ctx, list, func(rows *sql.Rows) error {
		var a Unannounced
		err := rows.Scan(&a.User, &a.Name, &a.Place.Conversation, &a.Place.Room, &a.Place.WithID, &a.Place.With, &a.Seq)
		a.Place.Self, a.Place.SelfID = a.Name, a.User
		all = append(all, a)
		return err
	}, limit)
	return all, away("list read markers that were not told of", err)
}
