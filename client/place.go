package client

import (
	"strconv"
	"time"

	"postbox"
)

// Place names a conversation: With a user, or InRoom.
type Place struct {
	With postbox.User
	Room postbox.Room
}

// With is the direct conversation with a user; with oneself, one's notes.
func With(user postbox.User) Place { return Place{With: user} }

// InRoom is the conversation of a room.
func InRoom(room postbox.Room) Place { return Place{Room: room} }

// wirePlace is a Place in a request or a reply.
type wirePlace struct {
	With postbox.User `json:"with,omitempty"`
	Room postbox.Room `json:"room,omitempty"`
}

// AtSeq is a bound at a message's number in its conversation.
func AtSeq(seq postbox.Seq) postbox.Bound { return postbox.Bound{Seq: seq, Set: true} }

// AtID is a bound at a message.
func AtID(id postbox.MessageID) postbox.Bound { return postbox.Bound{ID: id, Set: true} }

// AtTime is a bound at a moment.
func AtTime(t time.Time) postbox.Bound { return postbox.Bound{Time: t, Set: true} }

// wireBound is a bound in a request: a number, an id or a time. One that is not
// set is left out by omitzero.
type wireBound postbox.Bound

// MarshalJSON writes it.
func (b wireBound) MarshalJSON() ([]byte, error) {
	switch {
	case b.ID != postbox.MessageID{}:
		return strconv.AppendQuote(nil, b.ID.String()), nil
	case !b.Time.IsZero():
		return strconv.AppendQuote(nil, b.Time.UTC().Format(time.RFC3339Nano)), nil
	}
	return strconv.AppendInt(nil, int64(b.Seq), 10), nil
}
