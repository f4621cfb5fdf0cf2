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

// circle selects, as `others`, the user $1, those of the user's direct
// conversations in which the named side wrote when it is the low one or the high
// one, and all who share a room with the user.
func circle(whenLow, whenHigh string) string {
	return `
		WITH others AS MATERIALIZED (
			SELECT $1::bigint AS id
			UNION SELECT c.user_high FROM postbox.conversations c WHERE c.user_low = $1 AND c.` + whenLow + `
			UNION SELECT c.user_low FROM postbox.conversations c WHERE c.user_high = $1 AND c.room IS NULL AND c.` + whenHigh + `
			UNION SELECT b.user_id
			        FROM postbox.memberships a
			        JOIN postbox.conversations r ON r.id = a.conversation_id AND r.deleted_at IS NULL
			        JOIN postbox.memberships b ON b.conversation_id = a.conversation_id AND b.left_seq IS NULL
			       WHERE a.user_id = $1 AND a.left_seq IS NULL)`
}

// AllVisible returns all whom the user may see, by name, at most limit: who have
// written to the user, or share a room; nobody who has blocked the user.
func (s *Store) AllVisible(ctx context.Context, user postbox.UserID, limit int) ([]Seen, error) {
	look := circle("high_wrote", "low_wrote") + `
		SELECT u.id, u.name, u.seen_at
		  FROM others JOIN postbox.users u ON u.id = others.id AND u.erased_at IS NULL
		 WHERE NOT EXISTS (SELECT FROM postbox.blocks b WHERE b.user_id = u.id AND b.blocked_id = $1)
		 ORDER BY u.name LIMIT $2`
	return s.seen(ctx, look, user, limit)
}

// Viewers are all who may see a user: whom the user has written to, and who shares
// a room with the user; nobody whom the user has blocked.
func (s *Store) Viewers(ctx context.Context, user postbox.UserID) ([]postbox.UserID, error) {
	look := circle("low_wrote", "high_wrote") + `
		SELECT o.id FROM others o
		 WHERE NOT EXISTS (SELECT FROM postbox.blocks b WHERE b.user_id = $1 AND b.blocked_id = o.id)`
	var all []postbox.UserID
	err := s.archive.query(ctx, look, func(rows *sql.Rows) error {
		var id postbox.UserID
		err := rows.Scan(&id)
		all = append(all, id)
		return err
	}, user)
	return all, away("look up who may see a user", err)
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
