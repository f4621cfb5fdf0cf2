package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"postbox"
)

// profileRow is a row of users as others, or they themselves, see it.
type profileRow struct {
	Name        postbox.User `db:"name"`
	DisplayName string       `db:"display_name"`
	Admin       bool         `db:"admin"`
	Receipts    bool         `db:"receipts"`
	Accept      string       `db:"accept"`
}

const profileColumns = `name, display_name, admin, receipts, accept`

// errNobody answers a user who is not there any more.
var errNobody = postbox.Errorf(postbox.CodeUnauthenticated, "your account is not there any more")

// Profile is the user's own.
func (s *Store) Profile(ctx context.Context, user postbox.UserID) (postbox.Profile, error) {
	var p profileRow
	err := s.db.GetContext(ctx, &p, `SELECT `+profileColumns+` FROM postbox.users WHERE id = $1 AND erased_at IS NULL`, user)
	if errors.Is(err, sql.ErrNoRows) {
		return postbox.Profile{}, errNobody
	}
	return postbox.Profile(p), away("read a profile", err)
}

// Profiles are those of the names that exist, by name: of others is shown what
// everybody may see. Who was erased has none.
func (s *Store) Profiles(ctx context.Context, names []postbox.User) ([]postbox.Profile, error) {
	const look = `
		SELECT u.name, u.display_name FROM postbox.users u
		 WHERE u.name = ANY ($1::text[]) AND u.erased_at IS NULL ORDER BY u.name`
	var rows []profileRow
	if err := s.db.SelectContext(ctx, &rows, look, pq.Array(texts(names))); err != nil {
		return nil, away("read profiles", err)
	}
	all := make([]postbox.Profile, len(rows))
	for i, p := range rows {
		all[i] = postbox.Profile(p)
	}
	return all, nil
}

func texts(names []postbox.User) []string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = string(n)
	}
	return all
}

// UpdateProfile changes what is not nil, tells the servers, and returns the
// profile as it then is. What cannot be stored is ErrInvalid.
func (s *Store) UpdateProfile(ctx context.Context, user postbox.UserID, c postbox.ProfileChange) (postbox.Profile, error) {
	if c.DisplayName != nil && strings.ContainsRune(*c.DisplayName, 0) {
		return postbox.Profile{}, postbox.Errorf(postbox.CodeInvalid, "display_name has a character U+0000: leave it out")
	}
	const set = `
		UPDATE postbox.users
		   SET display_name = coalesce($2, display_name), receipts = coalesce($3, receipts), accept = coalesce($4, accept)
		 WHERE id = $1 AND erased_at IS NULL RETURNING ` + profileColumns
	var p profileRow
	err := s.withWord(ctx, "change a profile", &word{kind: ControlProfile, user: user}, func(tx *sqlx.Tx) (bool, error) {
		return true, tx.GetContext(ctx, &p, set, user, c.DisplayName, c.Receipts, c.Accept)
	})
	var pe *pq.Error
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return postbox.Profile{}, errNobody
	case errors.As(err, &pe) && pe.Constraint == "users_accept_known":
		return postbox.Profile{}, postbox.Errorf(postbox.CodeInvalid, "accept is not known: write everyone, known or nobody")
	}
	return postbox.Profile(p), err
}
