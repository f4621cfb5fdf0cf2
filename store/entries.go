package store

import (
	"context"
	"database/sql"
	"errors"

	"postbox"
)

// Head is the number of the last entry of a user's inbox; zero if it is empty.
func (s *Store) Head(ctx context.Context, user postbox.UserID) (postbox.InboxSeq, error) {
	var head postbox.InboxSeq
	err := s.db.GetContext(ctx, &head, `SELECT head FROM postbox.heads WHERE id = $1`, user)
	return head, away("read the head of an inbox", err)
}

// entryRow is an inbox row joined with its message, its event, and their names.
type entryRow struct {
	InboxSeq     int64          `db:"inbox_seq"`
	Kind         int16          `db:"kind"`
	ID           sql.NullString `db:"id"`
	Conversation int64          `db:"conversation_id"`
	Seq          int64          `db:"seq"`
	Sender       int64          `db:"sender_id"`
	From         string         `db:"from_name"`
	To           sql.NullString `db:"to_name"`
	Room         sql.NullString `db:"room"`
	SentAt       sql.NullTime   `db:"sent_at"`
	ContentType  sql.NullString `db:"content_type"`
	Ref          sql.NullString `db:"ref"`
	Device       sql.NullString `db:"device"`
	Key          sql.NullString `db:"idempotency_key"`
	ExpiresAt    sql.NullTime   `db:"expires_at"`
	EditedAt     sql.NullTime   `db:"edited_at"`
	RetractedAt  sql.NullTime   `db:"retracted_at"`
	Body         []byte         `db:"body"`
	EventID      sql.NullString `db:"event_id"`
	HappenedAt   sql.NullTime   `db:"happened_at"`
	EventKey     sql.NullString `db:"event_key"`
	EventData    sql.NullString `db:"event_data"`
}

// entry makes the entry of a user's inbox. Of an event the sender is who did it.
func (r *entryRow) entry(user postbox.UserID) (*postbox.Entry, error) {
	e := &postbox.Entry{
		InboxSeq: postbox.InboxSeq(r.InboxSeq), Type: postbox.EntryType(r.Kind), Own: postbox.UserID(r.Sender) == user,
	}
	from, to, room := postbox.User(r.From), postbox.User(r.To.String), postbox.Room(r.Room.String)
	if r.ID.Valid {
		id, err := postbox.ParseMessageID(r.ID.String)
		if err != nil {
			return nil, err
		}
		e.Message = &postbox.Message{
			ID: id, Conversation: postbox.ConversationID(r.Conversation), Seq: postbox.Seq(r.Seq),
			Sender: postbox.UserID(r.Sender), From: from, To: to,
			Room: room, SentAt: r.SentAt.Time, ContentType: r.ContentType.String,
			Ref: r.Ref.String, Device: r.Device.String, Key: r.Key.String, Body: r.Body,
			ExpiresAt: r.ExpiresAt.Time, EditedAt: r.EditedAt.Time, RetractedAt: r.RetractedAt.Time,
		}
	}
	if e.Type == postbox.EntryMessage {
		return e, nil
	}
	id, err := postbox.ParseMessageID(r.EventID.String)
	if err != nil {
		return nil, err
	}
	e.Event = &postbox.Event{
		ID: id, From: from, To: to, Room: room, Seq: postbox.Seq(r.Seq), At: r.HappenedAt.Time, Key: r.EventKey.String,
	}
	if e.Message != nil {
		e.Event.Of = e.Message.ID
	}
	if e.Type == postbox.EntryRoom {
		e.Event.Change, err = parseRoomEvent(r.EventData.String)
	}
	return e, err
}

// pageBytes is how much body one page holds, in bytes: with its first entry it
// may be more.
const pageBytes = 128 << 10

// Entries reads at most limit entries of an inbox after `after` and up to
// `upTo`, in order: fewer when they are large, none only if there are none.
// They show the present state of their messages.
func (s *Store) Entries(ctx context.Context, user postbox.UserID, after, upTo postbox.InboxSeq, limit int) ([]*postbox.Entry, error) {
	entries, err := s.page(ctx, user, after, min(upTo, after+postbox.InboxSeq(limit)))
	if err != nil || len(entries) > 0 || upTo-after <= postbox.InboxSeq(limit) {
		return entries, err
	}
	// Retention has removed a stretch.
	const next = `SELECT inbox_seq FROM postbox.inbox WHERE user_id = $1 AND inbox_seq > $2 AND inbox_seq <= $3 ORDER BY inbox_seq LIMIT 1`
	var first postbox.InboxSeq
	switch err := s.db.GetContext(ctx, &first, next, user, after, upTo); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, away("read an inbox", err)
	}
	return s.page(ctx, user, first-1, min(upTo, first-1+postbox.InboxSeq(limit)))
}

// readPage reads a short range of numbers, of which it takes what fits. A range
// with an open end and a LIMIT would leave it to the planner's guesses whether
// all that a device has before it is read and sorted for each page; so would a
// plain join whether all messages are.
const readPage = `
	SELECT p.inbox_seq, p.kind, p.id, p.conversation_id, p.seq, p.sender_id, f.name AS from_name,
	       t.name AS to_name, c.room, p.sent_at, p.content_type, p.ref, p.device, p.idempotency_key,
	       p.expires_at, p.edited_at, p.retracted_at, p.body, p.event_id, p.happened_at, p.event_key, p.event_data
	  FROM (SELECT i.inbox_seq, i.kind, i.conversation_id, i.seq, coalesce(e.actor_id, m.sender_id) AS sender_id,
	               m.id, m.sent_at, m.content_type, m.ref, m.device, m.idempotency_key,
	               m.expires_at, m.edited_at, m.retracted_at, m.body,
	               e.id AS event_id, e.happened_at, e.idempotency_key AS event_key, e.data AS event_data,
	               coalesce(sum(octet_length(m.body)) OVER (ORDER BY i.inbox_seq) - coalesce(octet_length(m.body), 0), 0) AS before
	          FROM postbox.inbox i
	          LEFT JOIN LATERAL (SELECT * FROM postbox.messages
	                         WHERE conversation_id = i.conversation_id AND seq = i.seq AND i.kind < 3 OFFSET 0) m ON true
	          LEFT JOIN LATERAL (SELECT * FROM postbox.events WHERE id = i.event_id OFFSET 0) e ON true
	         WHERE i.user_id = $1 AND i.inbox_seq > $2 AND i.inbox_seq <= $3
	           AND CASE i.kind WHEN 0 THEN m.id IS NOT NULL ELSE e.id IS NOT NULL END) p
	  JOIN postbox.conversations c ON c.id = p.conversation_id
	  JOIN postbox.users f ON f.id = p.sender_id
	  LEFT JOIN postbox.users t ON t.id = CASE WHEN c.user_low = p.sender_id THEN c.user_high ELSE c.user_low END
	 WHERE p.before < $4
	 ORDER BY p.inbox_seq`

// page reads the entries of a short range of numbers.
func (s *Store) page(ctx context.Context, user postbox.UserID, after, upTo postbox.InboxSeq) ([]*postbox.Entry, error) {
	var rows []entryRow
	if err := s.db.SelectContext(ctx, &rows, readPage, user, after, upTo, pageBytes); err != nil {
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
