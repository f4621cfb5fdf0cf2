package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"time"

	"github.com/lib/pq"

	"postbox"
)

// mostUnread is up to where unread messages are counted.
const mostUnread = 1000

// Conversations lists the user's conversations by their last message that the
// user may see, the newest first: those that come after the bound. Direct
// conversations without a message are left out; rooms without one come last, by
// name. Its cost grows with the number of
// conversations that the user has, not with that of their messages.
func (s *Store) Conversations(ctx context.Context, user postbox.UserID, from postbox.ListBound, limit int) ([]postbox.Summary, error) {
	all, err := s.lastMessages(ctx, user, from, limit)
	if err != nil {
		return nil, err
	}
	if err := s.namePlaces(ctx, user, all); err != nil {
		return nil, err
	}
	if err := s.spanRooms(ctx, user, all); err != nil {
		return nil, err
	}
	for i := range all {
		if m := all[i].Last; m != nil {
			if err := s.nameAuthors(ctx, all[i].Place, []*postbox.Message{m}); err != nil {
				return nil, err
			}
		}
	}
	return all, s.fillPositions(ctx, user, all)
}

// lastMessages finds the conversations and the last message of each. `b` is
// where the list goes on: at the message that is named, if it is in a
// conversation of the user's, else at the time in its id (RFC 9562 §5.7).
func (s *Store) lastMessages(ctx context.Context, user postbox.UserID, from postbox.ListBound, limit int) ([]postbox.Summary, error) {
	const list = `
		WITH mine AS MATERIALIZED (
			SELECT c.id, c.user_high AS other, NULL::text AS room, true AS open FROM postbox.conversations c WHERE c.user_low = $1
			UNION ALL
			SELECT c.id, c.user_low, NULL, true FROM postbox.conversations c
			 WHERE c.user_high = $1 AND c.user_low <> $1 AND c.room IS NULL
			UNION ALL
			SELECT c.id, 0, c.room, c.history = 'all'
			  FROM postbox.memberships m JOIN postbox.conversations c ON c.id = m.conversation_id
			 WHERE m.user_id = $1 AND m.left_seq IS NULL AND c.deleted_at IS NULL),
		b AS MATERIALIZED (
			SELECT coalesce((SELECT m.sent_at FROM postbox.messages m JOIN mine ON mine.id = m.conversation_id WHERE m.id = $2),
			                $3::timestamptz) AS sent_at),
		newest AS MATERIALIZED (
			SELECT k.id, k.other, k.room, l.seq, l.sent_at, l.message_id
			  FROM mine k
			 CROSS JOIN b
			  LEFT JOIN LATERAL (
			       SELECT m.seq, m.sent_at, m.id AS message_id
			         FROM (SELECT 0::bigint AS after, $5::bigint AS up_to WHERE k.open
			               UNION ALL
			               SELECT p.joined_seq, coalesce(p.left_seq, $5) FROM postbox.memberships p
			                WHERE NOT k.open AND p.conversation_id = k.id AND p.user_id = $1) s
			        CROSS JOIN LATERAL (SELECT e.seq, e.sent_at, e.id FROM postbox.messages e
			                             WHERE e.conversation_id = k.id AND e.seq > s.after AND e.seq <= s.up_to
			                             ORDER BY e.seq DESC LIMIT 1) m
			        ORDER BY m.seq DESC LIMIT 1) l ON true
			 WHERE CASE WHEN l.seq IS NULL THEN k.room > $7 -- not a direct one, which has no name
			            ELSE $7 = '' AND ($6 OR (l.sent_at, l.message_id) < (b.sent_at, $2::uuid)) END
			 ORDER BY l.sent_at DESC NULLS LAST, l.message_id DESC, k.room
			 LIMIT $4)
		SELECT n.id, n.other, coalesce(n.room, ''), d.seq IS NOT NULL, coalesce(d.seq, 0), coalesce(d.sender_id, 0), uuid_send(d.id),
		       ` + messageTimes + `,
		       ` + messageTexts + `, d.body
		  FROM newest n
		  LEFT JOIN LATERAL (SELECT * FROM postbox.messages e WHERE e.conversation_id = n.id AND e.seq = n.seq) d ON true
		 ORDER BY n.sent_at DESC NULLS LAST, n.message_id DESC, n.room`
	var all []postbox.Summary
	var row messageRow
	var place postbox.Place
	var has bool
	targets := append([]any{&place.Conversation, &place.WithID, &place.Room, &has}, row.targets()...)
	err := s.archive.query(ctx, list, func(rows *sql.Rows) error {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		summary := postbox.Summary{Place: place}
		if summary.SelfID = user; place.Room == "" {
			summary.Spans = everything
		}
		if has {
			summary.Last = row.message(place.Conversation)
		}
		all = append(all, summary)
		return nil
	}, user, from.Before.String(), stampOf(from.Before), limit, lastSeq, from.Before == postbox.MessageID{}, string(from.AfterRoom))
	return all, away("list conversations", err)
}

// stampOf is the time in an id.
func stampOf(id postbox.MessageID) time.Time {
	var b [8]byte
	copy(b[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b[:]))).UTC()
}

// namePlaces fills in both users of direct conversations.
func (s *Store) namePlaces(ctx context.Context, user postbox.UserID, all []postbox.Summary) error {
	wanted := map[postbox.UserID]postbox.User{user: ""}
	for i := range all {
		if all[i].Room == "" {
			wanted[all[i].WithID] = ""
		}
	}
	if err := s.nameUsers(ctx, wanted); err != nil {
		return err
	}
	for i := range all {
		all[i].Self = wanted[user]
		if all[i].Room == "" {
			all[i].With = wanted[all[i].WithID]
		}
	}
	return nil
}

// spanRooms fills in what the user may read of rooms.
func (s *Store) spanRooms(ctx context.Context, user postbox.UserID, all []postbox.Summary) error {
	at := make(map[postbox.ConversationID]*postbox.Summary)
	var rooms []int64
	for i := range all {
		if all[i].Room != "" {
			at[all[i].Conversation] = &all[i]
			rooms = append(rooms, int64(all[i].Conversation))
		}
	}
	if len(rooms) == 0 {
		return nil
	}
	const look = `
		SELECT c.id, m.joined_seq, coalesce(m.left_seq, 0), m.left_seq IS NULL, c.history = 'all'
		  FROM unnest($2::bigint[]) AS w (id)
		  JOIN postbox.conversations c ON c.id = w.id
		  JOIN postbox.memberships m ON m.conversation_id = c.id AND m.user_id = $1
		 ORDER BY m.joined_seq`
	err := s.archive.query(ctx, look, func(rows *sql.Rows) error {
		var id postbox.ConversationID
		var stay membership
		if err := rows.Scan(&id, &stay.joined, &stay.left, &stay.in, &stay.open); err != nil {
			return err
		}
		at[id].Spans = stay.add(at[id].Spans)
		return nil
	}, user, pq.Array(rooms))
	return away("look up rooms", err)
}

// fillPositions fills in how far the user has read, what is left, and how far
// the other side has got.
func (s *Store) fillPositions(ctx context.Context, user postbox.UserID, all []postbox.Summary) error {
	var at []int
	var conversations, afters, upTos, lasts, peers []int64
	for i := range all {
		sum := &all[i]
		if sum.Last == nil {
			continue
		}
		peer := int64(0)
		if sum.Room == "" && sum.WithID != user {
			peer = int64(sum.WithID)
		}
		for _, span := range sum.Spans {
			upTo := int64(sum.Last.Seq)
			if span.UpTo != 0 {
				upTo = min(upTo, int64(span.UpTo))
			}
			at = append(at, i)
			conversations, afters, upTos = append(conversations, int64(sum.Conversation)), append(afters, int64(span.After)), append(upTos, upTo)
			lasts, peers = append(lasts, int64(sum.Last.Seq)), append(peers, peer)
		}
	}
	if len(at) == 0 {
		return nil
	}
	var lagging []ReadPosition
	err := s.archive.query(ctx, readPositions, func(rows *sql.Rows) error {
		var ord, unread int
		var kept, own, delivered, read postbox.Seq
		if err := rows.Scan(&ord, &kept, &own, &unread, &delivered, &read); err != nil {
			return err
		}
		sum := &all[at[ord-1]]
		sum.ReadSeq = max(kept, own)
		sum.Unread = min(sum.Unread+unread, mostUnread)
		sum.PeerDelivered, sum.PeerRead = delivered, read
		if own > kept {
			lagging = append(lagging, ReadPosition{User: user, Conversation: sum.Conversation, Seq: own})
		}
		return nil
	}, user, pq.Array(conversations), pq.Array(afters), pq.Array(upTos), pq.Array(lasts), pq.Array(peers))
	if err != nil {
		return away("read positions", err)
	}
	return s.SaveOwnPositions(ctx, lagging)
}
