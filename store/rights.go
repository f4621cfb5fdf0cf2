package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/jmoiron/sqlx"

	"postbox"
)

// endTokens ends all tokens of a user whose row is locked: those that are issued
// from now on count. Who begins a login holds the row, too, and takes its time
// after it has it: so no token of what was before is younger than this.
const endTokens = `UPDATE postbox.users SET tokens_valid_after = clock_timestamp() WHERE id = $1`

// UserOfToken is UserByName for the bearer of a token that belongs to a login; zero:
// to none. over is true if that login has ended.
func (s *Store) UserOfToken(ctx context.Context, name postbox.User, login postbox.LoginID) (u User, over bool, err error) {
	row := struct {
		*User
		Over bool `db:"over"`
	}{User: &u}
	const look = `SELECT ` + userColumns + `, $2::bigint <> 0 AND NOT EXISTS (
			SELECT FROM postbox.logins l WHERE l.id = $2 AND l.user_id = users.id) AS over
		  FROM postbox.users WHERE name = $1`
	err = s.often.get(ctx, &row, look, name, login)
	if errors.Is(err, sql.ErrNoRows) {
		return u, false, errNoUser(name)
	}
	return u, row.Over, away("find user", err)
}

// SetPassword changes a password, ends the user's logins and the tokens issued
// before, and tells the servers.
func (s *Store) SetPassword(ctx context.Context, name postbox.User, passwordHash string) error {
	return s.changeUser(ctx, "set password", name, word{kind: ControlPassword}, func(tx *sqlx.Tx, u User) error {
		_, err := tx.ExecContext(ctx, `UPDATE postbox.users SET password_hash = $2 WHERE id = $1`, u.ID, passwordHash)
		return errors.Join(err, endEverything(ctx, tx, u.ID))
	})
}

// ErrPasswordChanged is ChangePassword's answer when the old hash is not the
// account's any more.
var ErrPasswordChanged = postbox.Errorf(postbox.CodeConflict, "the password was changed meanwhile: nothing was done")

// ChangePassword is SetPassword by the user themself, who knew the password of the
// old hash, with a new login in place of the ended ones. Of the connections the
// servers spare one.
func (s *Store) ChangePassword(ctx context.Context, name postbox.User, old, renewed, spare string, n NewLogin) (b Begun, err error) {
	err = s.changeUser(ctx, "change password", name, word{kind: ControlPassword, subject: spare}, func(tx *sqlx.Tx, u User) error {
		if u.PasswordHash != old || u.DisabledAt.Valid {
			return ErrPasswordChanged
		}
		if _, err := tx.ExecContext(ctx, `UPDATE postbox.users SET password_hash = $2 WHERE id = $1`, u.ID, renewed); err != nil {
			return err
		}
		if err := endEverything(ctx, tx, u.ID); err != nil {
			return err
		}
		b, err = addLogin(ctx, tx, u.ID, n)
		return err
	})
	return b, err
}

// EndTokens ends all logins and tokens of a user, and tells the servers to end
// what they have opened.
func (s *Store) EndTokens(ctx context.Context, name postbox.User) error {
	return s.changeUser(ctx, "end the tokens of a user", name, word{kind: ControlTokens}, func(tx *sqlx.Tx, u User) error {
		return endEverything(ctx, tx, u.ID)
	})
}

// endEverything ends tokens and logins of a user whose row is locked.
func endEverything(ctx context.Context, tx *sqlx.Tx, user postbox.UserID) error {
	if _, err := tx.ExecContext(ctx, endTokens, user); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM postbox.logins WHERE user_id = $1`, user)
	return err
}

// SetDisabled disables an account, which ends its logins and tokens, or enables it
// again, and tells the servers.
func (s *Store) SetDisabled(ctx context.Context, name postbox.User, disabled bool) error {
	const set = `UPDATE postbox.users
	                SET disabled_at = CASE WHEN $2::boolean THEN coalesce(disabled_at, now()) END
	              WHERE id = $1`
	w := word{kind: ControlDisabled}
	if !disabled {
		w.kind = ControlEnabled
	}
	return s.changeUser(ctx, "disable or enable user", name, w, func(tx *sqlx.Tx, u User) error {
		_, err := tx.ExecContext(ctx, set, u.ID, disabled)
		if err == nil && disabled {
			err = endEverything(ctx, tx, u.ID)
		}
		return err
	})
}

// SetAdmin gives an account the rights of an administrator, or takes them away, and
// tells the servers. It does nothing where nothing changes.
func (s *Store) SetAdmin(ctx context.Context, name postbox.User, admin bool) error {
	return s.changeUser(ctx, "change the rights of a user", name, word{kind: ControlAdmin}, func(tx *sqlx.Tx, u User) error {
		if u.Admin == admin {
			return errNothing
		}
		_, err := tx.ExecContext(ctx, `UPDATE postbox.users SET admin = $2 WHERE id = $1`, u.ID, admin)
		return err
	})
}

// errNothing is returned where nothing is to be changed, and nobody to be told.
var errNothing = errors.New("nothing to change")

// changeUser locks a user's row, changes what is to be changed, and leaves word for
// the servers, in one transaction.
func (s *Store) changeUser(ctx context.Context, doing string, name postbox.User, w word, change func(*sqlx.Tx, User) error) error {
	err := s.withWord(ctx, doing, &w, func(tx *sqlx.Tx) (bool, error) {
		var u User
		const hold = `SELECT ` + userColumns + ` FROM postbox.users WHERE name = $1 AND erased_at IS NULL FOR NO KEY UPDATE`
		if err := tx.GetContext(ctx, &u, hold, name); err != nil {
			return false, err
		}
		w.user = u.ID
		err := change(tx, u)
		if errors.Is(err, errNothing) {
			return false, nil
		}
		return true, err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return errNoUser(name)
	}
	return err
}

// Accounts lists accounts by name: those behind `after` whose names begin with a
// prefix, at most limit.
func (s *Store) Accounts(ctx context.Context, prefix string, after postbox.User, limit int) ([]postbox.Account, error) {
	// Names have a small alphabet, in which _ stands for any character to LIKE.
	pattern := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(prefix) + "%"
	const list = `
		SELECT name, display_name, admin, disabled_at IS NOT NULL AS disabled, password_hash <> '' AS password, created_at AS created
		  FROM postbox.users WHERE erased_at IS NULL AND name LIKE $1 AND name > $2 ORDER BY name LIMIT $3`
	var all []struct {
		Name        postbox.User `db:"name"`
		DisplayName string       `db:"display_name"`
		Admin       bool         `db:"admin"`
		Disabled    bool         `db:"disabled"`
		Password    bool         `db:"password"`
		Created     sql.NullTime `db:"created"`
	}
	if err := s.db.SelectContext(ctx, &all, list, pattern, after, limit); err != nil {
		return nil, away("list accounts", err)
	}
	accounts := make([]postbox.Account, len(all))
	for i, a := range all {
		accounts[i] = postbox.Account{
			Name: a.Name, DisplayName: a.DisplayName, Admin: a.Admin, Disabled: a.Disabled, Password: a.Password, Created: a.Created.Time,
		}
	}
	return accounts, nil
}
