package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"postbox"
)

// User is an account.
type User struct {
	ID               postbox.UserID `db:"id"`
	Name             postbox.User   `db:"name"`
	DisplayName      string         `db:"display_name"`
	PasswordHash     string         `db:"password_hash"`
	Admin            bool           `db:"admin"`
	CreatedAt        time.Time      `db:"created_at"`
	DisabledAt       sql.NullTime   `db:"disabled_at"`
	ErasedAt         sql.NullTime   `db:"erased_at"`
	TokensValidAfter time.Time      `db:"tokens_valid_after"`
}

const userColumns = `id, name, display_name, password_hash, admin, created_at, disabled_at, erased_at, tokens_valid_after`

// AddUser makes an account with its inbox. The name must be of the right form;
// one that is taken, also by an erased account, is ErrConflict.
func (s *Store) AddUser(ctx context.Context, name postbox.User, passwordHash string, admin bool) (postbox.UserID, error) {
	const add = `
		WITH u AS (
			INSERT INTO postbox.users (name, password_hash, admin) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO NOTHING RETURNING id),
		l AS (INSERT INTO postbox.logs (id) SELECT id FROM u)
		SELECT id FROM u`
	var id postbox.UserID
	err := s.db.GetContext(ctx, &id, add, name, passwordHash, admin)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, postbox.Errorf(postbox.CodeConflict, "the name %s is taken: choose another", name)
	}
	return id, away("add user", err)
}

// AddUsers makes many accounts with one password hash, for load tests; names
// that exist are left as they are.
func (s *Store) AddUsers(ctx context.Context, names []postbox.User, passwordHash string) error {
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = string(n)
	}
	const add = `
		WITH u AS (
			INSERT INTO postbox.users (name, password_hash) SELECT DISTINCT unnest($1::text[]), $2
			ON CONFLICT (name) DO NOTHING RETURNING id)
		INSERT INTO postbox.logs (id) SELECT id FROM u`
	_, err := s.db.ExecContext(ctx, add, pq.Array(texts), passwordHash)
	return away("add users", err)
}

// UserByName finds an account, erased ones too; ErrNotFound if there is none.
func (s *Store) UserByName(ctx context.Context, name postbox.User) (User, error) {
	var u User
	err := s.db.GetContext(ctx, &u, `SELECT `+userColumns+` FROM postbox.users WHERE name = $1`, name)
	if errors.Is(err, sql.ErrNoRows) {
		return u, errNoUser(name)
	}
	return u, away("find user", err)
}

// Users lists the accounts that are not erased, by name.
func (s *Store) Users(ctx context.Context) ([]User, error) {
	var users []User
	err := s.db.SelectContext(ctx, &users, `SELECT `+userColumns+` FROM postbox.users WHERE erased_at IS NULL ORDER BY name`)
	return users, away("list users", err)
}

// SetPassword changes a password, ends the tokens issued before, and tells the
// servers.
func (s *Store) SetPassword(ctx context.Context, name postbox.User, passwordHash string) error {
	const set = `UPDATE postbox.users SET password_hash = $2, tokens_valid_after = date_trunc('second', now())
	              WHERE name = $1 AND erased_at IS NULL RETURNING id`
	return s.changeUser(ctx, "set password", name, ControlPassword, set, name, passwordHash)
}

// RenewPassword replaces a hash by a stronger one of the same password. A hash
// that was changed meanwhile stays.
func (s *Store) RenewPassword(ctx context.Context, id postbox.UserID, old, renewed string) error {
	_, err := s.db.ExecContext(ctx, `UPDATE postbox.users SET password_hash = $3 WHERE id = $1 AND password_hash = $2`, id, old, renewed)
	return away("renew password hash", err)
}

// SetDisabled disables an account, or enables it again, and tells the servers.
func (s *Store) SetDisabled(ctx context.Context, name postbox.User, disabled bool) error {
	const set = `UPDATE postbox.users
	                SET disabled_at = CASE WHEN $2::boolean THEN coalesce(disabled_at, now()) END
	              WHERE name = $1 AND erased_at IS NULL RETURNING id`
	kind := ControlDisabled
	if !disabled {
		kind = ControlEnabled
	}
	return s.changeUser(ctx, "disable or enable user", name, kind, set, name, disabled)
}

// changeUser runs a statement that returns the user's id, and leaves word for
// the servers, in one transaction.
func (s *Store) changeUser(ctx context.Context, doing string, name postbox.User, kind ControlKind, statement string, args ...any) error {
	w := word{kind: kind}
	err := s.withWord(ctx, doing, &w, func(tx *sqlx.Tx) (bool, error) {
		err := tx.GetContext(ctx, &w.user, statement, args...)
		return true, err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return errNoUser(name)
	}
	return err
}

func errNoUser(name postbox.User) error {
	return postbox.Errorf(postbox.CodeNotFound, "there is no user %s", name)
}
