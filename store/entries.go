package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"postbox"
)

// Head is the number of the last entry of a user's inbox; zero if it is empty.
func (s *Store) Head(ctx context.Context, user postbox.UserID) (postbox.InboxSeq, error) {
	var head postbox.InboxSeq
	err := s.db.GetContext(ctx, &head, `SELECT head FROM postbox.heads WHERE id = $1`, user)
	return head, away("read the head of an inbox", err)
}

// fromEntry are the rows i of a user's inbox that are an entry from a number on: the one
// that number is in begins with an earlier one.
func fromEntry(user, number string) string {
	return `i.user_id = ` + user + ` AND i.inbox_seq + i.entries > ` + number + ` AND i.inbox_seq >= coalesce((
	               SELECT p.inbox_seq FROM postbox.inbox p
	                WHERE p.user_id = ` + user + ` AND p.inbox_seq <= ` + number + ` ORDER BY p.inbox_seq DESC LIMIT 1), 0)`
}

// pageBytes is how much body one page holds, in bytes: with its first entry it
// may be more.
const pageBytes = 128 << 10

// Entries reads at most limit entries of an inbox after `after` and up to
// `upTo`, in order: fewer when they are large, none only if there are none.
// They show the present state of their messages.
func (s *Store) Entries(ctx context.Context, user postbox.UserID, after, upTo postbox.InboxSeq, limit int) ([]*postbox.Entry, error) {
	for {
		end := min(upTo, after+postbox.InboxSeq(max(limit, 1)))
		entries, err := s.page(ctx, user, after, end)
		if err != nil || len(entries) > 0 || end == upTo {
			return entries, err
		}
		// Retention has removed a stretch, and may just be removing what comes next.
		next := `SELECT greatest(i.inbox_seq, $2) FROM postbox.inbox i WHERE ` + fromEntry("$1", "$2") + ` AND i.inbox_seq <= $3 ORDER BY i.inbox_seq LIMIT 1`
		var first postbox.InboxSeq
		switch err := s.db.GetContext(ctx, &first, next, user, end+1, upTo); {
		case errors.Is(err, sql.ErrNoRows):
			return nil, nil
		case err != nil:
			return nil, away("read an inbox", err)
		}
		after = first - 1
	}
}

// readPage reads a short range of numbers, of which it takes what fits, as one row:
// records in PostgreSQL's own binary form, one behind the other, since a page is
// thousands of values and each would have to go through the driver alone. Of an
// event the author is who did it.
//
// A range with an open end and a LIMIT would leave it to the planner's guesses
// whether all that a device has before it is read and sorted for each page; so would
// a plain join whether all messages are.
var readPage = `
	SELECT string_agg(record_send(ROW(d.inbox_seq, d.kind::bigint, d.conversation_id, d.seq, d.author,
	                  d.id, d.sent_at, d.expires_at, d.edited_at, d.retracted_at,
	                  d.content_type, d.ref, d.device, d.idempotency_key, d.body,
	                  d.event_id, d.happened_at, d.event_key, d.event_data)), '')
	  FROM (SELECT coalesce(m.inbox_seq, i.inbox_seq) AS inbox_seq, i.kind, i.conversation_id, coalesce(m.seq, i.seq) AS seq,
	               coalesce(e.actor_id, m.sender_id) AS author,
	               m.id, m.sent_at, m.expires_at, m.edited_at, m.retracted_at,
	               m.content_type, m.ref, m.device, m.idempotency_key, m.body,
	               e.id AS event_id, e.happened_at, e.idempotency_key AS event_key, e.data::text AS event_data,
	               sum(coalesce(octet_length(m.body), 0)) OVER before - coalesce(octet_length(m.body), 0) AS before
	          FROM postbox.inbox i
	          LEFT JOIN LATERAL (SELECT o.*, i.inbox_seq + o.seq - i.seq AS inbox_seq FROM postbox.messages o
	                         WHERE o.conversation_id = i.conversation_id AND i.kind < 3
	                           AND o.seq >= i.seq + greatest(0, $2 + 1 - i.inbox_seq)
	                           AND o.seq < i.seq + least(i.entries, $3 + 1 - i.inbox_seq) OFFSET 0) m ON true
	          LEFT JOIN LATERAL (SELECT * FROM postbox.events WHERE id = i.event_id OFFSET 0) e ON true
	         WHERE ` + fromEntry("$1", "$2 + 1") + ` AND i.inbox_seq <= $3
	           AND CASE i.kind WHEN 0 THEN m.id IS NOT NULL ELSE e.id IS NOT NULL END
	        WINDOW before AS (ORDER BY coalesce(m.inbox_seq, i.inbox_seq) ROWS UNBOUNDED PRECEDING)
	         ORDER BY coalesce(m.inbox_seq, i.inbox_seq)) d
	 WHERE d.before < $4`

// page reads the entries of a short range of numbers.
func (s *Store) page(ctx context.Context, user postbox.UserID, after, upTo postbox.InboxSeq) ([]*postbox.Entry, error) {
	if after >= upTo {
		return nil, nil
	}
	args := []driver.NamedValue{
		{Ordinal: 1, Value: int64(user)}, {Ordinal: 2, Value: int64(after)}, {Ordinal: 3, Value: int64(upTo)}, {Ordinal: 4, Value: int64(pageBytes)},
	}
	var found []placed
	err := s.pages.one(ctx, readPage, args, 1, func(row []driver.Value) (err error) {
		records, _ := row[0].([]byte)
		found, err = placedIn(records, user)
		return err
	})
	if err != nil {
		return nil, away("read an inbox", err)
	}
	return s.nameEntries(ctx, found)
}

// placed is an entry without names, and where and by whom it is.
type placed struct {
	*postbox.Entry
	conversation postbox.ConversationID
	author       postbox.UserID
}

// placedIn decodes the records of a page. It keeps nothing of their memory.
func placedIn(records []byte, user postbox.UserID) ([]placed, error) {
	var all []placed
	d := recordDecoder{rest: records}
	for d.next() {
		number, kind := postbox.InboxSeq(d.integer()), postbox.EntryType(d.integer())
		p := placed{conversation: postbox.ConversationID(d.integer())}
		seq := postbox.Seq(d.integer())
		p.author = postbox.UserID(d.integer())
		p.Entry = &postbox.Entry{InboxSeq: number, Type: kind, Own: p.author == user}
		m := postbox.Message{
			ID: d.uuid(), Conversation: p.conversation, Seq: seq, Sender: p.author,
			SentAt: d.time(), ExpiresAt: d.time(), EditedAt: d.time(), RetractedAt: d.time(),
			ContentType: d.text(), Ref: d.text(), Device: d.text(), Key: d.text(), Body: d.copy(),
		}
		if m.ID != (postbox.MessageID{}) {
			p.Message = &m
		}
		e := postbox.Event{ID: d.uuid(), Seq: seq, At: d.time(), Key: d.text()}
		data := d.text()
		if d.err != nil {
			return nil, d.err
		}
		if kind != postbox.EntryMessage {
			if p.Event = &e; p.Message != nil {
				e.Of = m.ID
			}
		}
		if kind == postbox.EntryRoom {
			var err error
			if e.Change, err = parseRoomEvent(data); err != nil {
				return nil, err
			}
		}
		all = append(all, p)
	}
	return all, d.err
}
