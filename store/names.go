package store

import (
	"context"
	"database/sql"
	"slices"

	"github.com/lib/pq"

	"postbox"
)

// UserName is what a user is called, an erased one too: ErrNotFound if there is
// none.
func (s *Store) UserName(ctx context.Context, id postbox.UserID) (postbox.User, error) {
	wanted := map[postbox.UserID]postbox.User{id: ""}
	if err := s.nameUsers(ctx, wanted); err != nil {
		return "", err
	}
	if wanted[id] == "" {
		return "", postbox.Errorf(postbox.CodeNotFound, "there is no user with the number %d", id)
	}
	return wanted[id], nil
}

// int64s are numbers as PostgreSQL takes them, in their order.
func int64s[T ~int64](numbers []T) pq.Int64Array {
	all := make(pq.Int64Array, len(numbers))
	for i, n := range numbers {
		all[i] = int64(n)
	}
	slices.Sort(all)
	return all
}

// nameUsers gives each key of wanted its name.
func (s *Store) nameUsers(ctx context.Context, wanted map[postbox.UserID]postbox.User) error {
	missing, forgets := s.archive.names.fill(wanted)
	if len(missing) == 0 {
		return nil
	}
	const look = `SELECT u.id, u.name FROM unnest($1::bigint[]) AS w (id) JOIN postbox.users u ON u.id = w.id`
	err := s.archive.query(ctx, look, func(rows *sql.Rows) error {
		var id postbox.UserID
		var name postbox.User
		if err := rows.Scan(&id, &name); err != nil {
			return err
		}
		wanted[id] = name
		s.archive.names.learn(id, name, forgets)
		return nil
	}, int64s(missing))
	return away("look up names", err)
}

// nameAuthors fills in From and To of messages, and the Room they are in.
func (s *Store) nameAuthors(ctx context.Context, p postbox.Place, messages []*postbox.Message) error {
	if p.Room == "" {
		for _, m := range messages {
			m.From, m.To = p.Self, p.With
			if m.Sender != p.SelfID {
				m.From, m.To = p.With, p.Self
			}
		}
		return nil
	}
	authors := make(map[postbox.UserID]postbox.User)
	for _, m := range messages {
		authors[m.Sender] = ""
	}
	if err := s.nameUsers(ctx, authors); err != nil {
		return err
	}
	for _, m := range messages {
		m.From, m.Room = authors[m.Sender], p.Room
	}
	return nil
}
