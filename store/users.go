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
	// ReadAt is the database's time when this was read: what it says is true of.
	ReadAt time.Time `db:"read_at"`
}

const userColumns = `id, name, display_name, password_hash, admin, created_at, disabled_at, erased_at, tokens_valid_after, statement_timestamp() AS read_at`

// AddUser makes an account with its inbox. The name must be of the right form;
// one that is taken, also by an erased account, is ErrConflict.
func (s *Store) AddUser(ctx context.Context, name postbox.User, passwordHash string, admin bool) (postbox.UserID, error) {
	id, err := addUser(ctx, s.db, name, "", passwordHash, admin)
	return id, awayUnlessTold("add user", err)
}

// AddAccount is AddUser for an account with a display name; no invitation is looked
// at.
func (s *Store) AddAccount(ctx context.Context, u NewUser, admin bool) error {
	_, err := addUser(ctx, s.db, u.Name, u.DisplayName, u.PasswordHash, admin)
	return awayUnlessTold("add user", err)
}

// addUser is AddUser, maybe in a transaction, with a display name.
func addUser(ctx context.Context, db sqlx.QueryerContext, name postbox.User, display, passwordHash string, admin bool) (postbox.UserID, error) {
	const add = `
		WITH u AS (
			INSERT INTO postbox.users (name, password_hash, admin, display_name) VALUES ($1, $2, $3, $4)
			ON CONFLICT (name) DO NOTHING RETURNING id),
		l AS (INSERT INTO postbox.logs (id) SELECT id FROM u)
		SELECT id FROM u`
	var id postbox.UserID
	err := sqlx.GetContext(ctx, db, &id, add, name, passwordHash, admin, display)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, postbox.Errorf(postbox.CodeConflict, "the name %s is taken: choose another", name)
	}
	return id, err
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
	err := s.often.get(ctx, &u, `SELECT `+userColumns+` FROM postbox.users WHERE name = $1`, name)
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

// RenewPassword replaces a hash by another one of the same password. A hash that was
// changed meanwhile stays.
func (s *Store) RenewPassword(ctx context.Context, id postbox.UserID, old, renewed string) error {
	_, err := s.db.ExecContext(ctx, `UPDATE postbox.users SET password_hash = $3 WHERE id = $1 AND password_hash = $2`, id, old, renewed)
	return away("renew password hash", err)
}

func errNoUser(name postbox.User) error {
	return postbox.Errorf(postbox.CodeNotFound, "there is no user %s", name)
}
