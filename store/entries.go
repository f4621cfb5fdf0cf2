package store

import (
	"context"
	"database/sql"
	"time"

	"postbox"
)

// Head is the number of the last entry of a user's inbox; zero if it is empty.
func (s *Store) Head(ctx context.Context, user postbox.UserID) (postbox.InboxSeq, error) {
	var head postbox.InboxSeq
	err := s.db.GetContext(ctx, &head, `SELECT head FROM postbox.logs WHERE id = $1`, user)
	return head, away("read the head of an inbox", err)
}

// entryRow is an inbox row joined with its message and their names.
type entryRow struct {
	InboxSeq     int64          `db:"inbox_seq"`
	Kind         int16          `db:"kind"`
	ID           string         `db:"id"`
	Conversation int64          `db:"conversation_id"`
	Seq          int64          `db:"seq"`
	Sender       int64          `db:"sender_id"`
	From         string         `db:"from_name"`
	To           sql.NullString `db:"to_name"`
	Room         sql.NullString `db:"room"`
	SentAt       time.Time      `db:"sent_at"`
	ContentType  sql.NullString `db:"content_type"`
	Ref          sql.NullString `db:"ref"`
	Device       sql.NullString `db:"device"`
	Key          sql.NullString `db:"idempotency_key"`
	ExpiresAt    sql.NullTime   `db:"expires_at"`
	EditedAt     sql.NullTime   `db:"edited_at"`
	RetractedAt  sql.NullTime   `db:"retracted_at"`
	Body         []byte         `db:"body"`
}

func (r *entryRow) entry(user postbox.UserID) (*postbox.Entry, error) {
	id, err := postbox.ParseMessageID(r.ID)
	if err != nil {
		return nil, err
	}
	m := &postbox.Message{
		ID: id, Conversation: postbox.ConversationID(r.Conversation), Seq: postbox.Seq(r.Seq),
		Sender: postbox.UserID(r.Sender), From: postbox.User(r.From), To: postbox.User(r.To.String),
		Room: postbox.Room(r.Room.String), SentAt: r.SentAt, ContentType: r.ContentType.String,
		Ref: r.Ref.String, Device: r.Device.String, Key: r.Key.String, Body: r.Body,
		ExpiresAt: r.ExpiresAt.Time, EditedAt: r.EditedAt.Time, RetractedAt: r.RetractedAt.Time,
	}
	return &postbox.Entry{
		InboxSeq: postbox.InboxSeq(r.InboxSeq), Type: postbox.EntryType(r.Kind), Message: m,
		Own: m.Sender == user,
	}, nil
}

// Entries reads at most limit entries of an inbox after `after` and up to
// `upTo`, in order. They show the present state of their messages.
func (s *Store) Entries(ctx context.Context, user postbox.UserID, after, upTo postbox.InboxSeq, limit int) ([]*postbox.Entry, error) {
	const read = `
		SELECT i.inbox_seq, i.kind, m.id, m.conversation_id, m.seq, m.sender_id, f.name AS from_name,
		       t.name AS to_name, c.room, m.sent_at, m.content_type, m.ref, m.device, m.idempotency_key,
		       m.expires_at, m.edited_at, m.retracted_at, m.body
		  FROM (SELECT inbox_seq, kind, conversation_id, seq FROM postbox.inbox
		         WHERE user_id = $1 AND inbox_seq > $2 AND inbox_seq <= $3
		         ORDER BY inbox_seq LIMIT $4) i
		  JOIN postbox.messages m ON m.conversation_id = i.conversation_id AND m.seq = i.seq
		  JOIN postbox.conversations c ON c.id = i.conversation_id
		  JOIN postbox.users f ON f.id = m.sender_id
		  LEFT JOIN postbox.users t ON t.id = CASE WHEN c.user_low = m.sender_id THEN c.user_high ELSE c.user_low END
		 ORDER BY i.inbox_seq`
	var rows []entryRow
	if err := s.db.SelectContext(ctx, &rows, read, user, after, upTo, limit); err != nil {
		return nil, away("read an inbox", err)
	}
	entries := make([]*postbox.Entry, len(rows))
	for i := range rows {
		var err error
		if entries[i], err = rows[i].entry(user); err != nil {
			return nil, away("read an inbox", err)
		}
	}
	return entries, nil
}
