package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"postbox"
)

// roomEventRow is what is kept of a change of a room, in events.data.
type roomEventRow struct {
	Event   postbox.RoomAct `json:"event"`
	User    postbox.User    `json:"user,omitempty"`
	Role    postbox.Role    `json:"role,omitempty"`
	Title   string          `json:"title,omitempty"`
	Public  bool            `json:"public,omitempty"`
	History postbox.History `json:"history,omitempty"`
}

func parseRoomEvent(data string) (*postbox.RoomEvent, error) {
	var r roomEventRow
	if err := json.Unmarshal([]byte(data), &r); err != nil {
		return nil, fmt.Errorf("read what happened to a room: %w", err)
	}
	e := postbox.RoomEvent{What: r.Event, User: r.User, Role: r.Role, Title: r.Title, Public: r.Public, History: r.History}
	return &e, nil
}

var (
	roomStatement = roomChanged + `postbox.room($1` + roomArguments
	roomAlone     = roomChanged + alone + `postbox.room($1 + alone.zero` + roomArguments
)

const (
	roomChanged = `
	SELECT r_outcome, r_conversation, r_at, r_users, r_numbers
	  FROM `
	roomArguments = `, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`
)

// changeRoom commits a change of a room as it was decided.
func (l *Lane) changeRoom(ctx context.Context, c *postbox.Change) error {
	conn, err := l.connect(ctx)
	if err != nil {
		return l.changeFailed(c, err)
	}
	r, e := c.Room, c.Event.Change
	data, err := json.Marshal(roomEventRow{e.What, e.User, e.Role, e.Title, e.Public, e.History})
	if err != nil {
		return fmt.Errorf("note what happens to a room: %w", err)
	}
	var title, history sql.NullString
	var public sql.NullBool
	if e.History != "" {
		title = sql.NullString{String: e.Title, Valid: true}
		public = sql.NullBool{Bool: e.Public, Valid: true}
		history = sql.NullString{String: string(e.History), Valid: true}
	}
	var got changed
	err = l.apart(ctx, nil, func(alone bool) error {
		statement := roomStatement
		if alone {
			statement = roomAlone
		}
		return conn.QueryRowContext(ctx, statement,
			l.id, l.incarnation, time.Now().UTC().Truncate(time.Millisecond),
			c.Event.ID.String(), c.Actor, string(e.What), int64(c.Conversation), r.Version, string(c.Event.Room),
			int64(r.UserID), string(e.Role), title, public, history, string(data),
		).Scan(&got.outcome, &got.conversation, &got.at, &got.users, &got.numbers)
	})
	switch {
	case err != nil:
		return l.changeFailed(c, err)
	case got.outcome != "stored":
		return postbox.ErrStaleRoute
	}
	c.Conversation, c.Event.At = postbox.ConversationID(got.conversation.Int64), got.at.Time.UTC()
	got.number(c)
	l.heads.raise(got.users, got.numbers)
	return nil
}
