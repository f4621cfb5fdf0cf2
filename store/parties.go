package store

import (
	"context"
	"database/sql"

	"postbox"
)

// parties are whose a conversation is: two users', or a room's. They never change.
type parties struct {
	low, high postbox.UserID
	room      postbox.Room
}

// other is whom a user of a direct conversation writes to; zero in a room.
func (p parties) other(author postbox.UserID) postbox.UserID {
	if author == p.low {
		return p.high
	}
	return p.low
}

// partiesOf gives each key of wanted its parties; none if there is no such
// conversation any more.
func (s *Store) partiesOf(ctx context.Context, wanted map[postbox.ConversationID]parties) error {
	missing, forgets := s.archive.parties.fill(wanted)
	if len(missing) == 0 {
		return nil
	}
	const look = `
		SELECT c.id, coalesce(c.user_low, 0), coalesce(c.user_high, 0), coalesce(c.room, '')
		  FROM unnest($1::bigint[]) AS w (id) JOIN postbox.conversations c ON c.id = w.id`
	err := s.often.query(ctx, look, func(rows *sql.Rows) error {
		var id postbox.ConversationID
		var p parties
		if err := rows.Scan(&id, &p.low, &p.high, &p.room); err != nil {
			return err
		}
		wanted[id] = p
		s.archive.parties.learn(id, p, forgets)
		return nil
	}, int64s(missing))
	return away("look up conversations", err)
}

// nameEntries fills in the names of entries, and leaves those out whose conversation
// is not there any more.
func (s *Store) nameEntries(ctx context.Context, found []placed) ([]*postbox.Entry, error) {
	whose := make(map[postbox.ConversationID]parties)
	for _, p := range found {
		whose[p.conversation] = parties{}
	}
	if err := s.partiesOf(ctx, whose); err != nil {
		return nil, err
	}
	users := make(map[postbox.UserID]postbox.User)
	for _, p := range found {
		users[p.author] = ""
		if other := whose[p.conversation].other(p.author); other != 0 {
			users[other] = ""
		}
	}
	if err := s.nameUsers(ctx, users); err != nil {
		return nil, err
	}
	entries := make([]*postbox.Entry, 0, len(found))
	for _, p := range found {
		of := whose[p.conversation]
		if of == (parties{}) {
			continue
		}
		from, to := users[p.author], users[of.other(p.author)]
		if p.Message != nil {
			p.Message.From, p.Message.To, p.Message.Room = from, to, of.room
		}
		if p.Event != nil {
			p.Event.From, p.Event.To, p.Event.Room = from, to, of.room
		}
		entries = append(entries, p.Entry)
	}
	return entries, nil
}
