package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"

	"postbox"
)

// RefreshGrace is for how long a refresh token that was spent is still answered
// with the same successor, as long as that has not been spent: two tabs of one
// browser may have asked at once.
const RefreshGrace = time.Minute

// MaxLogins is how many logins a user may have: with one more, the one longest
// unused ends.
const MaxLogins = 200

// NewLogin is a login to be made.
type NewLogin struct {
	Family    []byte // of its refresh tokens
	TokenHash []byte // of the first
	Device    string // what it calls itself
	Life      time.Duration
}

// Begun is a login that has begun, or whose tokens were renewed.
type Begun struct {
	Login postbox.LoginID
	// Now is the database's time: from when an access token of it counts. All
	// servers and the command line go by this one clock.
	Now time.Time
}

// ErrAccountChanged is the answer to credentials that were right and are not any
// more.
var ErrAccountChanged = postbox.Errorf(postbox.CodeUnauthenticated, "the account has changed: log in again")

// BeginLogin makes a login of a user whose password was just checked against a
// hash. It is ErrAccountChanged if that is not the account's any more.
func (s *Store) BeginLogin(ctx context.Context, user postbox.UserID, passwordHash string, n NewLogin) (Begun, error) {
	var b Begun
	err := s.transact(ctx, "begin a login", func(tx *sqlx.Tx) error {
		// The lock keeps a change of the password out until the login is there for
		// it to end.
		const hold = `SELECT id FROM postbox.users WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL AND erased_at IS NULL FOR SHARE`
		if err := tx.GetContext(ctx, &user, hold, user, passwordHash); err != nil {
			return err
		}
		var err error
		if b, err = addLogin(ctx, tx, user, n); err != nil {
			return err
		}
		return endLogins(ctx, tx, `DELETE FROM postbox.logins WHERE id IN (
			SELECT id FROM postbox.logins WHERE user_id = $1 ORDER BY used_at DESC, id DESC OFFSET $2) RETURNING id, user_id`, user, MaxLogins)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrAccountChanged
	}
	return b, err
}

func addLogin(ctx context.Context, tx *sqlx.Tx, user postbox.UserID, n NewLogin) (Begun, error) {
	const add = `
		INSERT INTO postbox.logins (user_id, family, device, token_hash, expires_at)
		VALUES ($1, $2, $3, $4, clock_timestamp() + $5 * interval '1 second') RETURNING id, created_at`
	var b Begun
	err := tx.QueryRowxContext(ctx, add, user, n.Family, n.Device, n.TokenHash, n.Life.Seconds()).Scan(&b.Login, &b.Now)
	return b, err
}

// Renewal is a refresh token that is presented, and what takes its place.
type Renewal struct {
	// User is whose it must be; zero: anybody's.
	User   postbox.UserID
	Family []byte
	Hash   []byte // of the token
	Salt   []byte // from which the next one follows
	Next   []byte // its hash
	Life   time.Duration
}

// Renewed is the outcome of a Renewal.
type Renewed struct {
	Begun
	User postbox.UserID
	Name postbox.User
	// Salt is the one from which the next token follows: another than the
	// Renewal's when the token was spent a moment ago.
	Salt []byte
}

// RenewLogin spends a refresh token. One that was spent before, and whose successor
// has not been, is answered again, since the answer may have been lost: for a while
// (RefreshGrace) with the same successor, then with another in its place, so that of
// two who have the token one is found out. It is ErrUnauthenticated if the token does
// not count; any other of its login, spent or replaced, ends that: two have it (RFC 9700
// §4.14.2). It is ErrForbidden if the token is of another user than it must be, and
// nothing is spent.
func (s *Store) RenewLogin(ctx context.Context, r Renewal) (Renewed, error) {
	var d Renewed
	refused := errors.New("refused")
	stolen := false
	err := s.transact(ctx, "renew a login", func(tx *sqlx.Tx) error {
		stolen = false
		// The user before the login: so does who ends logins.
		const hold = `SELECT u.id, u.name FROM postbox.users u
			 WHERE u.id = (SELECT l.user_id FROM postbox.logins l WHERE l.family = $1) AND u.disabled_at IS NULL AND u.erased_at IS NULL
			   FOR SHARE OF u`
		if err := tx.QueryRowxContext(ctx, hold, r.Family).Scan(&d.User, &d.Name); err != nil {
			return err
		}
		if r.User != 0 && d.User != r.User {
			return refused
		}
		const look = `SELECT id, token_hash, spent_hash, salt, used_at, expires_at > clock_timestamp() AS live
			  FROM postbox.logins WHERE family = $1 FOR UPDATE`
		var l struct {
			ID    postbox.LoginID `db:"id"`
			Hash  []byte          `db:"token_hash"`
			Spent []byte          `db:"spent_hash"`
			Salt  []byte          `db:"salt"`
			Used  time.Time       `db:"used_at"`
			Live  bool            `db:"live"`
		}
		if err := tx.GetContext(ctx, &l, look, r.Family); err != nil {
			return err
		}
		d.Login, d.Salt = l.ID, l.Salt
		if err := tx.GetContext(ctx, &d.Now, `SELECT clock_timestamp()`); err != nil {
			return err
		}
		switch {
		case !l.Live:
			return sql.ErrNoRows
		case bytes.Equal(l.Spent, r.Hash) && d.Now.Sub(l.Used) <= RefreshGrace:
			return nil
		case bytes.Equal(l.Hash, r.Hash), bytes.Equal(l.Spent, r.Hash):
			d.Salt = r.Salt
			// A spent token does not make the login last longer: its successor does.
			const spend = `UPDATE postbox.logins SET token_hash = $2, spent_hash = $3, salt = $4, used_at = $5,
				expires_at = CASE WHEN spent_hash = $3 THEN expires_at ELSE $5::timestamptz + $6 * interval '1 second' END WHERE id = $1`
			_, err := tx.ExecContext(ctx, spend, l.ID, r.Next, r.Hash, r.Salt, d.Now, r.Life.Seconds())
			return err
		}
		stolen = true
		return endLogins(ctx, tx, `DELETE FROM postbox.logins WHERE id = $1 RETURNING id, user_id`, l.ID)
	})
	switch {
	case errors.Is(err, refused):
		err = postbox.Errorf(postbox.CodeForbidden, "the refresh token is of another user than this connection")
	case errors.Is(err, sql.ErrNoRows), err == nil && stolen:
		err = ErrAccountChanged
	}
	return d, err
}

// Logins lists a user's logins, those used last first.
func (s *Store) Logins(ctx context.Context, user postbox.UserID) ([]postbox.LoginState, error) {
	const list = `SELECT id, device, created_at AS created, used_at AS used, expires_at AS expires
		  FROM postbox.logins WHERE user_id = $1 AND expires_at > now() ORDER BY used_at DESC, id DESC`
	var all []postbox.LoginState
	return all, away("list logins", s.db.SelectContext(ctx, &all, list, user))
}

// EndLogin ends a login, and tells the servers: its tokens, and what they have
// opened, end. It is ErrNotFound if the user has none of the number.
func (s *Store) EndLogin(ctx context.Context, user postbox.UserID, login postbox.LoginID) error {
	var ended []postbox.LoginID
	err := s.transact(ctx, "end a login", func(tx *sqlx.Tx) error {
		ended = nil
		if err := tx.SelectContext(ctx, &ended, `DELETE FROM postbox.logins WHERE user_id = $1 AND id = $2 RETURNING id`, user, login); err != nil {
			return err
		}
		return tellEnded(ctx, tx, user, ended)
	})
	if err == nil && len(ended) == 0 {
		return postbox.Errorf(postbox.CodeNotFound, "you have no login %d", login)
	}
	return err
}

// endLogins runs a statement that deletes logins and returns their id and user_id,
// and leaves word of each.
func endLogins(ctx context.Context, tx *sqlx.Tx, statement string, args ...any) error {
	var ended []struct {
		ID   postbox.LoginID `db:"id"`
		User postbox.UserID  `db:"user_id"`
	}
	if err := tx.SelectContext(ctx, &ended, statement, args...); err != nil {
		return err
	}
	for _, l := range ended {
		if err := tellEnded(ctx, tx, l.User, []postbox.LoginID{l.ID}); err != nil {
			return err
		}
	}
	return nil
}

func tellEnded(ctx context.Context, tx *sqlx.Tx, user postbox.UserID, logins []postbox.LoginID) error {
	for _, l := range logins {
		if err := tell(ctx, tx, word{kind: ControlLogin, user: user, subject: strconv.FormatInt(int64(l), 10)}); err != nil {
			return err
		}
	}
	return nil
}

// ForgetLogins forgets logins and invitations whose time is over.
func (s *Store) ForgetLogins(ctx context.Context) error {
	for _, forget := range []string{
		`DELETE FROM postbox.logins WHERE expires_at < now()`,
		`DELETE FROM postbox.invites WHERE expires_at < now()`,
	} {
		if _, err := s.db.ExecContext(ctx, forget); err != nil {
			return away("forget expired logins", err)
		}
	}
	return nil
}

// transact does something in one transaction. An error that a stranger may see
// comes back as it is.
func (s *Store) transact(ctx context.Context, doing string, do func(*sqlx.Tx) error) error {
	tx, err := s.db.BeginTxx(ctx, nil)
	if err != nil {
		return away(doing, err)
	}
	defer func() { _ = tx.Rollback() }()
	if err := do(tx); err != nil {
		return awayUnlessTold(doing, err)
	}
	return away(doing, tx.Commit())
}

// awayUnlessTold is away, but for what was refused with a sentence of our own.
func awayUnlessTold(doing string, err error) error {
	var told *postbox.Error
	if errors.As(err, &told) && told.Code != postbox.CodeUnavailable {
		return told
	}
	return away(doing, err)
}
