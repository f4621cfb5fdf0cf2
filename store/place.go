package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"

	"postbox"
)

// placeKey is a direct conversation. Where it is is remembered; what a user may read
// of a room changes, and is looked up each time.
type placeKey struct {
	user postbox.UserID
	with postbox.User
}

// everything is what the two users of a direct conversation may read of it. It
// is shared by all places and never written to.
var everything = []postbox.Span{{}}

// Place finds a conversation of the user: with another user, or a room; one of
// the names is empty. It is ErrNotFound if there is no such user or room that
// the user may see: of a room nobody sees anything who was never in it. Somebody
// who was erased has only the conversations that there are.
func (s *Store) Place(ctx context.Context, user postbox.UserID, with postbox.User, room postbox.Room) (postbox.Place, error) {
	if room != "" {
		return s.roomPlace(ctx, user, room)
	}
	k := placeKey{user, with}
	known, ok, forgets := s.archive.places.find(k)
	if ok {
		return known, nil
	}
	const look = `
		SELECT me.name, o.id, o.erased_at IS NOT NULL, coalesce(c.id, 0)
		  FROM postbox.users me
		  JOIN postbox.users o ON o.name = $2
		  LEFT JOIN postbox.conversations c ON c.user_low = least(me.id, o.id) AND c.user_high = greatest(me.id, o.id)
		 WHERE me.id = $1`
	p := postbox.Place{SelfID: user, With: with, Spans: everything}
	erased := false
	err := s.archive.one(ctx, look, []driver.NamedValue{{Ordinal: 1, Value: int64(user)}, {Ordinal: 2, Value: string(with)}}, 4,
		func(row []driver.Value) error {
			self, isText := row[0].(string)
			other, isID := row[1].(int64)
			gone, isFlag := row[2].(bool)
			conversation, isNumber := row[3].(int64)
			if !isText || !isID || !isFlag || !isNumber {
				return fmt.Errorf("a row of %T, %T, %T and %T", row[0], row[1], row[2], row[3])
			}
			p.Self, p.WithID, p.Conversation, erased = postbox.User(self), postbox.UserID(other), postbox.ConversationID(conversation), gone
			return nil
		})
	switch {
	case err != nil:
		return postbox.Place{}, away("find a conversation", err)
	case p.WithID == 0 || erased && p.Conversation == 0:
		return postbox.Place{}, errNoUser(with)
	case p.Conversation != 0:
		s.archive.places.learn(k, p, forgets)
	}
	if p.Conversation != 0 && !erased { // the other user reads there, too
		other := postbox.Place{SelfID: p.WithID, Self: with, With: p.Self, WithID: user, Conversation: p.Conversation, Spans: everything}
		s.archive.places.learn(placeKey{p.WithID, p.Self}, other, forgets)
	}
	return p, nil
}

// roomPlace finds a room of the user: what they may read are the stretches of
// their membership, or all while they are in a room whose history is open to its
// members.
func (s *Store) roomPlace(ctx context.Context, user postbox.UserID, room postbox.Room) (postbox.Place, error) {
	const look = `
		SELECT c.id, u.name, m.joined_seq, coalesce(m.left_seq, 0), m.left_seq IS NULL, c.history = 'all'
		  FROM postbox.conversations c
		  JOIN postbox.memberships m ON m.conversation_id = c.id AND m.user_id = $1
		  JOIN postbox.users u ON u.id = m.user_id
		 WHERE c.room = $2 AND c.deleted_at IS NULL
		 ORDER BY m.joined_seq`
	p := postbox.Place{SelfID: user, Room: room}
	err := s.archive.query(ctx, look, func(rows *sql.Rows) error {
		var stay membership
		if err := rows.Scan(&p.Conversation, &p.Self, &stay.joined, &stay.left, &stay.in, &stay.open); err != nil {
			return err
		}
		p.Spans = stay.add(p.Spans)
		return nil
	}, user, room)
	if err != nil {
		return postbox.Place{}, away("find a room", err)
	}
	if p.Conversation == 0 {
		return postbox.Place{}, postbox.Errorf(postbox.CodeNotFound, "there is no room %s", room)
	}
	return p, nil
}

// membership is one stay of a user in a room.
type membership struct {
	joined, left postbox.Seq
	in, open     bool // it lasts; the room's history is open to its members
}

// add adds what the user may read by it. Stays come in their order.
func (m membership) add(spans []postbox.Span) []postbox.Span {
	switch {
	case m.in && m.open:
		return everything
	case m.in:
		return append(spans, postbox.Span{After: m.joined})
	case m.joined < m.left:
		return append(spans, postbox.Span{After: m.joined, UpTo: m.left})
	}
	return spans
}

// errNoMessage does not say whether there is such a message elsewhere.
func errNoMessage(id postbox.MessageID) error {
	return postbox.Errorf(postbox.CodeNotFound, "there is no message %s", id)
}
