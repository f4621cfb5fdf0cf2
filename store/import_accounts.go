package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"postbox"
)

// ImportUser is a user of another application.
type ImportUser struct {
	Ref          string // the user's key there
	Name         postbox.User
	DisplayName  string
	PasswordHash string // empty: no login by password
	// Existing says that an account which has the name is this user's.
	Existing bool
}

// ImportState is what is there of a user who is to be imported. All are zero
// when there is nothing.
type ImportState struct {
	Account     postbox.UserID // what an earlier import has made of the user
	AccountName postbox.User
	Taken       postbox.UserID // an account that is not the user's and has the name
	// Reserved says that the name was an erased account's: nobody gets it again.
	Reserved bool
}

// ErrImporting says that two imports from one source would run at once.
var ErrImporting = errors.New("another import from the same source is running: let it end first")

// HoldImport makes sure that no other process imports from the same source until
// release is called. One that was killed holds it until PostgreSQL has noticed: that
// is waited for, for about two seconds.
func (s *Store) HoldImport(ctx context.Context, source string) (release func(), err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, away("begin an import", err)
	}
	key := fnv.New32a()
	key.Write([]byte(source))
	release = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = conn.ExecContext(ctx, `SELECT pg_advisory_unlock($1, $2)`, int32(importLock), int32(key.Sum32()))
		// Closed and not given back: the lock goes with it in any case.
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		_ = conn.Close()
	}
	for tries := 20; ; tries-- {
		var got bool
		err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1, $2)`, int32(importLock), int32(key.Sum32())).Scan(&got)
		switch {
		case err != nil:
			release()
			return nil, away("begin an import", err)
		case got:
			return release, nil
		case tries == 0:
			release()
			return nil, ErrImporting
		}
		select {
		case <-ctx.Done():
			release()
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// importLock is the first half of the advisory locks of imports.
const importLock = 0x706f73

// ImportStates looks up what is there of users of a source, one for each in order.
func (s *Store) ImportStates(ctx context.Context, source string, users []ImportUser) ([]ImportState, error) {
	refs, names := importColumns(users)
	const look = `
		SELECT coalesce(i.user_id, 0), coalesce(a.name, ''), coalesce(CASE WHEN u.id <> coalesce(i.user_id, 0) THEN u.id END, 0),
		       i.user_id IS NULL AND (n.name LIKE 'erased.%' OR EXISTS (
		           SELECT FROM postbox.reserved_names r WHERE r.digest = postbox.reserved_name(n.name)))
		  FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS n (ref, name, ord)
		  LEFT JOIN postbox.imported_users i ON i.source = $1 AND i.ref = n.ref
		  LEFT JOIN postbox.users a ON a.id = i.user_id
		  LEFT JOIN postbox.users u ON u.name = n.name
		 ORDER BY n.ord`
	rows, err := s.db.QueryContext(ctx, look, source, refs, names)
	if err != nil {
		return nil, away("look up users of an import", err)
	}
	defer rows.Close()
	states := make([]ImportState, 0, len(users))
	for rows.Next() {
		var st ImportState
		if err := rows.Scan(&st.Account, &st.AccountName, &st.Taken, &st.Reserved); err != nil {
			return nil, away("look up users of an import", err)
		}
		states = append(states, st)
	}
	return states, away("look up users of an import", rows.Err())
}

func importColumns(users []ImportUser) (refs, names pq.StringArray) {
	refs, names = make(pq.StringArray, len(users)), make(pq.StringArray, len(users))
	for i, u := range users {
		refs[i], names[i] = u.Ref, string(u.Name)
	}
	return refs, names
}

// AddImported makes the accounts of users of a source that have none, without a
// password: OpenImported gives it to them. With one who is Existing, the account of
// the name is taken instead, as it is. It returns the number of each, in order. A
// name that was given to somebody else meanwhile is ErrConflict, and nothing is made.
func (s *Store) AddImported(ctx context.Context, source string, users []ImportUser) (ids []postbox.UserID, err error) {
	tx, err := s.db.BeginTxx(ctx, nil)
	if err != nil {
		return nil, away("add imported users", err)
	}
	defer func() { _ = tx.Rollback() }()
	if ids, err = addImported(ctx, tx, source, users); err != nil {
		return nil, awayUnlessTold("add imported users", err)
	}
	return ids, away("add imported users", tx.Commit())
}

func addImported(ctx context.Context, tx *sqlx.Tx, source string, users []ImportUser) ([]postbox.UserID, error) {
	refs, names := importColumns(users)
	displays, existing := make(pq.StringArray, len(users)), make(pq.BoolArray, len(users))
	for i, u := range users {
		displays[i], existing[i] = u.DisplayName, u.Existing
	}
	// The accounts that are made are told from those that were there by the row
	// in imported_users, which is not opened yet.
	const add = `
		WITH fresh AS MATERIALIZED (
			SELECT n.ref, n.name, n.display, n.existing
			  FROM unnest($2::text[], $3::text[], $4::text[], $5::boolean[]) AS n (ref, name, display, existing)
			 WHERE NOT EXISTS (SELECT FROM postbox.imported_users i WHERE i.source = $1 AND i.ref = n.ref)),
		made AS (
			INSERT INTO postbox.users (name, display_name) SELECT f.name, f.display FROM fresh f ORDER BY f.name
			ON CONFLICT (name) DO NOTHING RETURNING id, name),
		logs AS (INSERT INTO postbox.logs (id) SELECT m.id FROM made m),
		taken AS (
			SELECT u.id, u.name FROM postbox.users u JOIN fresh f ON f.name = u.name AND f.existing)
		INSERT INTO postbox.imported_users (source, ref, user_id, opened)
		SELECT $1, f.ref, coalesce(m.id, t.id), m.id IS NULL
		  FROM fresh f LEFT JOIN made m ON m.name = f.name LEFT JOIN taken t ON t.name = f.name
		 WHERE coalesce(m.id, t.id) IS NOT NULL`
	if _, err := tx.ExecContext(ctx, add, source, refs, names, displays, existing); err != nil {
		return nil, err
	}
	const look = `
		SELECT coalesce(i.user_id, 0) FROM unnest($2::text[]) WITH ORDINALITY AS n (ref, ord)
		  LEFT JOIN postbox.imported_users i ON i.source = $1 AND i.ref = n.ref
		 ORDER BY n.ord`
	var ids []postbox.UserID
	if err := tx.SelectContext(ctx, &ids, look, source, refs); err != nil {
		return nil, err
	}
	if len(ids) != len(users) {
		return nil, fmt.Errorf("%d accounts for %d users", len(ids), len(users))
	}
	for i, id := range ids {
		if id == 0 {
			return nil, postbox.Errorf(postbox.CodeConflict, "the name %s was taken meanwhile: run the import again", users[i].Name)
		}
	}
	return ids, nil
}

// OpenImported gives accounts of a source that have no password yet the one of the
// other application. From then on it is left alone.
func (s *Store) OpenImported(ctx context.Context, source string, users []ImportUser) error {
	refs, _ := importColumns(users)
	hashes := make(pq.StringArray, len(users))
	for i, u := range users {
		hashes[i] = u.PasswordHash
	}
	const open = `
		WITH due AS (
			UPDATE postbox.imported_users i SET opened = true
			  FROM unnest($2::text[], $3::text[]) AS n (ref, hash)
			 WHERE i.source = $1 AND i.ref = n.ref AND NOT i.opened
			RETURNING i.user_id, n.hash)
		UPDATE postbox.users u SET password_hash = d.hash FROM due d WHERE u.id = d.user_id AND u.password_hash = ''`
	_, err := s.db.ExecContext(ctx, open, source, refs, hashes)
	return away("open imported accounts", err)
}

// WithDevices are those of users who have a device with a session.
func (s *Store) WithDevices(ctx context.Context, users []postbox.UserID) ([]postbox.UserID, error) {
	ids := make(pq.Int64Array, len(users))
	for i, u := range users {
		ids[i] = int64(u)
	}
	var found []postbox.UserID
	err := s.db.SelectContext(ctx, &found, `SELECT DISTINCT user_id FROM postbox.devices WHERE user_id = ANY ($1)`, ids)
	return found, away("look up devices", err)
}

// EndImport tells the servers that there is something in inboxes that has not come
// by them. If much was stored, it also has PostgreSQL count anew.
func (s *Store) EndImport(ctx context.Context, much bool) error {
	w := word{kind: ControlImported}
	err := s.withWord(ctx, "tell of an import", &w, func(*sqlx.Tx) (bool, error) { return true, nil })
	if err != nil || !much {
		return err
	}
	return s.Migrating(ctx, func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, `ANALYZE postbox.users, postbox.conversations, postbox.messages, postbox.inbox, postbox.positions`)
		return away("have the import counted", err)
	})
}
