package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jmoiron/sqlx"

	"postbox"
)

// SetBlock blocks another user, or ends that, and tells the servers if that
// changes anything. It is ErrNotFound if there is no such user, and ErrInvalid
// for oneself.
func (s *Store) SetBlock(ctx context.Context, user postbox.UserID, other postbox.User, blocked bool) error {
	const find = `SELECT id FROM postbox.users WHERE name = $1 AND (erased_at IS NULL OR NOT $2)`
	var id postbox.UserID
	err := s.db.GetContext(ctx, &id, find, other, blocked)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return errNoUser(other)
	case err != nil:
		return away("find user", err)
	case id == user:
		return postbox.Errorf(postbox.CodeInvalid, "you cannot block yourself: name another user")
	}
	kind, statement := ControlBlocked, `INSERT INTO postbox.blocks (user_id, blocked_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	if !blocked {
		kind, statement = ControlUnblocked, `DELETE FROM postbox.blocks WHERE user_id = $1 AND blocked_id = $2`
	}
	return s.withWord(ctx, "block or unblock a user", &word{kind: kind, user: user, subject: string(other)}, func(tx *sqlx.Tx) (bool, error) {
		result, err := tx.ExecContext(ctx, statement, user, id)
		if err != nil {
			return false, err
		}
		n, err := result.RowsAffected()
		return n > 0, err
	})
}

// Blocks lists whom a user blocks, by name.
func (s *Store) Blocks(ctx context.Context, user postbox.UserID) ([]postbox.User, error) {
	const list = `
		SELECT u.name FROM postbox.blocks b JOIN postbox.users u ON u.id = b.blocked_id
		 WHERE b.user_id = $1 AND u.erased_at IS NULL ORDER BY u.name`
	var all []postbox.User
	err := s.db.SelectContext(ctx, &all, list, user)
	return all, away("list blocks", err)
}
