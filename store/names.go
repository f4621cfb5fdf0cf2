package store

import (
	"context"
	"database/sql"
	"slices"
	"sync"

	"github.com/lib/pq"

	"postbox"
)

// maxNames bounds what is remembered of names; beyond it the memory starts anew.
const maxNames = 100_000

// names remembers what users are called. A name is never given again, and only
// changes when its user is erased: see ForgetNames.
type names struct {
	mu      sync.Mutex // guards all below
	known   map[postbox.UserID]postbox.User
	forgets int // what was looked up before one is not learnt after it
}

func (n *names) learn(id postbox.UserID, name postbox.User, forgets int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if forgets != n.forgets {
		return
	}
	if n.known == nil || len(n.known) >= maxNames {
		n.known = make(map[postbox.UserID]postbox.User)
	}
	n.known[id] = name
}

// fill gives each key of wanted its name, and returns those that it does not
// know.
func (n *names) fill(wanted map[postbox.UserID]postbox.User) (missing []int64, forgets int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := range wanted {
		name, known := n.known[id]
		if wanted[id] = name; !known {
			missing = append(missing, int64(id))
		}
	}
	return missing, n.forgets
}

func (n *names) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known = nil
	n.forgets++
}

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

// nameUsers gives each key of wanted its name.
func (s *Store) nameUsers(ctx context.Context, wanted map[postbox.UserID]postbox.User) error {
	missing, forgets := s.archive.names.fill(wanted)
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
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
	}, pq.Array(missing))
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
