package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/lib/pq"

	"postbox"
)

// Seen is a user whom another may see, and when they were last connected.
type Seen struct {
	ID     postbox.UserID
	Name   postbox.User
	SeenAt time.Time // zero: never
}

// Visible returns those of the names that the user may see (docs/spec.md §7,
// presence), by name. Everybody sees themself.
func (s *Store) Visible(ctx context.Context, user postbox.UserID, names []postbox.User) ([]Seen, error) {
	look := `
		SELECT u.id, u.name, u.seen_at
		  FROM unnest($2::text[]) AS w (name)
		  JOIN postbox.users u ON u.name = w.name AND u.erased_at IS NULL
		  LEFT JOIN postbox.conversations c ON c.user_low = least($1, u.id) AND c.user_high = greatest($1, u.id)
		 WHERE u.id = $1 OR ` + seesUser("$1", "u.id", "c") + `
		 GROUP BY u.id ORDER BY u.name`
	return s.seen(ctx, look, user, pq.Array(texts(names)))
}

// AllVisible returns all whom the user may see, by name, at most limit.
func (s *Store) AllVisible(ctx context.Context, user postbox.UserID, limit int) ([]Seen, error) {
	const look = `
		WITH others AS MATERIALIZED (
			SELECT $1::bigint AS id
			UNION SELECT c.user_high FROM postbox.conversations c WHERE c.user_low = $1 AND c.high_wrote
			UNION SELECT c.user_low FROM postbox.conversations c WHERE c.user_high = $1 AND c.room IS NULL AND c.low_wrote
			UNION SELECT b.user_id
			        FROM postbox.memberships a
			        JOIN postbox.conversations r ON r.id = a.conversation_id AND r.deleted_at IS NULL
			        JOIN postbox.memberships b ON b.conversation_id = a.conversation_id AND b.left_seq IS NULL
			       WHERE a.user_id = $1 AND a.left_seq IS NULL)
		SELECT u.id, u.name, u.seen_at
		  FROM others JOIN postbox.users u ON u.id = others.id AND u.erased_at IS NULL
		 WHERE NOT EXISTS (SELECT FROM postbox.blocks b WHERE b.user_id = u.id AND b.blocked_id = $1)
		 ORDER BY u.name LIMIT $2`
	return s.seen(ctx, look, user, limit)
}

// Viewers are all who may see a user: whom the user has written to, and who shares
// a room with the user; nobody whom the user has blocked.
func (s *Store) Viewers(ctx context.Context, user postbox.UserID) ([]postbox.UserID, error) {
	const look = `
		WITH others AS MATERIALIZED (
			SELECT $1::bigint AS id
			UNION SELECT c.user_high FROM postbox.conversations c WHERE c.user_low = $1 AND c.low_wrote
			UNION SELECT c.user_low FROM postbox.conversations c WHERE c.user_high = $1 AND c.room IS NULL AND c.high_wrote
			UNION SELECT b.user_id
			        FROM postbox.memberships a
			        JOIN postbox.conversations r ON r.id = a.conversation_id AND r.deleted_at IS NULL
			        JOIN postbox.memberships b ON b.conversation_id = a.conversation_id AND b.left_seq IS NULL
			       WHERE a.user_id = $1 AND a.left_seq IS NULL)
		SELECT o.id FROM others o
		 WHERE NOT EXISTS (SELECT FROM postbox.blocks b WHERE b.user_id = $1 AND b.blocked_id = o.id)`
	var all []postbox.UserID
	err := s.archive.query(ctx, look, func(rows *sql.Rows) error {
		var id postbox.UserID
		err := rows.Scan(&id)
		all = append(all, id)
		return err
	}, user)
	return all, err
}

func (s *Store) seen(ctx context.Context, look string, args ...any) ([]Seen, error) {
	var all []Seen
	err := s.archive.query(ctx, look, func(rows *sql.Rows) error {
		var one Seen
		var at sql.NullTime
		err := rows.Scan(&one.ID, &one.Name, &at)
		one.SeenAt = at.Time
		all = append(all, one)
		return err
	}, args...)
	return all, away("look up who may be seen", err)
}

// Sight is a question: may the user see the other?
type Sight struct{ User, Other postbox.UserID }

// MaySee answers questions, in their order: whom to tell when somebody comes or
// goes, and whether a read marker may be shown.
func (s *Store) MaySee(ctx context.Context, questions []Sight) ([]bool, error) {
	users, others := make([]int64, len(questions)), make([]int64, len(questions))
	for i, q := range questions {
		users[i], others[i] = int64(q.User), int64(q.Other)
	}
	look := `
		SELECT w.user_id = w.other_id OR ` + seesUser("w.user_id", "w.other_id", "c") + `
		  FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS w (user_id, other_id, ord)
		  LEFT JOIN postbox.conversations c ON c.user_low = least(w.user_id, w.other_id) AND c.user_high = greatest(w.user_id, w.other_id)
		 ORDER BY w.ord`
	answers := make([]bool, 0, len(questions))
	err := s.archive.query(ctx, look, func(rows *sql.Rows) error {
		var may bool
		err := rows.Scan(&may)
		answers = append(answers, may)
		return err
	}, pq.Array(users), pq.Array(others))
	return answers, away("look up who may be seen", err)
}

// SaveSeen notes that users are, or were until now, connected: at most once a
// minute for each.
func (s *Store) SaveSeen(ctx context.Context, users []postbox.UserID) error {
	ids := make([]int64, len(users))
	for i, u := range users {
		ids[i] = int64(u)
	}
	// Sorted, so that two who save the same do not wait for each other in a ring.
	const save = `
		UPDATE postbox.users u SET seen_at = now()
		  FROM (SELECT id FROM postbox.users
		         WHERE id = ANY ($1::bigint[]) AND (seen_at IS NULL OR seen_at < now() - interval '1 minute')
		         ORDER BY id FOR NO KEY UPDATE) due
		 WHERE u.id = due.id`
	_, err := s.db.ExecContext(ctx, save, pq.Array(ids))
	return away("note who was seen", err)
}
