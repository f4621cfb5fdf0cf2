package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"

	"postbox"
)

// AddInvite makes an invitation, of whose code it keeps the hash.
func (s *Store) AddInvite(ctx context.Context, codeHash []byte, note string, uses int, life time.Duration) (postbox.Invite, error) {
	const add = `
		INSERT INTO postbox.invites (code_hash, note, uses, expires_at) VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 second')
		RETURNING ` + inviteColumns
	var i postbox.Invite
	return i, away("add an invitation", s.db.GetContext(ctx, &i, add, codeHash, note, uses, life.Seconds()))
}

const inviteColumns = `id, note, uses, used, created_at AS created, expires_at AS expires`

// Invites lists the invitations that can still be used, the newest first.
func (s *Store) Invites(ctx context.Context) ([]postbox.Invite, error) {
	const list = `SELECT ` + inviteColumns + ` FROM postbox.invites WHERE used < uses AND expires_at > now() ORDER BY id DESC`
	var all []postbox.Invite
	return all, away("list invitations", s.db.SelectContext(ctx, &all, list))
}

// RemoveInvite takes an invitation back: ErrNotFound if there is none, or nothing
// is left of it.
func (s *Store) RemoveInvite(ctx context.Context, id int64) error {
	r, err := s.db.ExecContext(ctx, `DELETE FROM postbox.invites WHERE id = $1 AND used < uses AND expires_at > now()`, id)
	if err != nil {
		return away("remove an invitation", err)
	}
	if n, err := r.RowsAffected(); err == nil && n == 0 {
		return postbox.Errorf(postbox.CodeNotFound, "there is no invitation %d that can still be used", id)
	}
	return nil
}

// ErrInvite is the answer to an invitation that does not count.
var ErrInvite = postbox.Errorf(postbox.CodeForbidden, "the invitation is not valid, or used up, or too old: ask for a new one")

// InviteCounts tells whether an invitation can be used.
func (s *Store) InviteCounts(ctx context.Context, codeHash []byte) error {
	var id int64
	err := s.db.GetContext(ctx, &id, `SELECT id FROM postbox.invites WHERE code_hash = $1 AND used < uses AND expires_at > now()`, codeHash)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrInvite
	}
	return away("look at an invitation", err)
}

// NewUser is an account that somebody makes for themself.
type NewUser struct {
	Name         postbox.User
	DisplayName  string
	PasswordHash string
	// Invite is the hash of an invitation's code, which is used; nil: none is needed.
	Invite []byte
}

// Register makes an account and its first login. It is ErrConflict if the name is
// taken, then the invitation is not used; and ErrForbidden if that does not count.
func (s *Store) Register(ctx context.Context, u NewUser, n NewLogin) (postbox.UserID, Begun, error) {
	var id postbox.UserID
	var b Begun
	err := s.transact(ctx, "register", func(tx *sqlx.Tx) (err error) {
		if u.Invite != nil {
			const use = `UPDATE postbox.invites SET used = used + 1 WHERE code_hash = $1 AND used < uses AND expires_at > now()`
			r, err := tx.ExecContext(ctx, use, u.Invite)
			if err != nil {
				return err
			}
			if n, err := r.RowsAffected(); err != nil || n == 0 {
				return errors.Join(ErrInvite, err)
			}
		}
		if id, err = addUser(ctx, tx, u.Name, u.DisplayName, u.PasswordHash, false); err != nil {
			return err
		}
		b, err = addLogin(ctx, tx, id, n)
		return err
	})
	return id, b, err
}
