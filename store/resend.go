package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"strconv"

	"postbox"
)

// resendRows is how many rows of an inbox are looked at by one statement.
const resendRows = 2000

// device is one of a user's.
type device struct {
	user     postbox.UserID
	clientID string
}

// hash is the same in each version, and in the migration that has made the column.
func (d device) hash() uint64 {
	var text [64]byte
	sum := sha256.Sum256(append(append(strconv.AppendInt(text[:0], int64(d.user), 10), ':'), d.clientID...))
	return binary.BigEndian.Uint64(sum[:])
}

// publisherOf are the columns publisher and packets of what a device publishes under a
// packet id: zeros if there is none. The upper bits of the id are in the key of the index,
// so that few other publishes of the device are between those under one id.
func publisherOf(hash uint64, packetID uint16) (publisher int64, packet byte) {
	if packetID == 0 {
		return 0, 0
	}
	return int64(hash&^1023 | uint64(packetID>>6)), 1 + byte(packetID&63)
}

// readSent reads a part of SentPublish. Where the message that is known to have come is
// is a scalar, without which there is no row: as a join the planner may walk the inbox
// for it.
const readSent = `
	WITH page AS MATERIALIZED (
	     SELECT i.inbox_seq, i.conversation_id, i.seq, i.packets
	       FROM postbox.inbox i
	      WHERE i.publisher = $3 AND i.user_id = $1 AND i.inbox_seq < $6
	        AND i.inbox_seq >= coalesce((
	            SELECT p.inbox_seq FROM postbox.inbox p
	             WHERE p.user_id = $1 AND p.inbox_seq <= (SELECT m.sender_inbox_seq FROM postbox.messages m WHERE m.id = $5 AND m.sender_id = $1)
	             ORDER BY p.inbox_seq DESC LIMIT 1), 0)
	      ORDER BY i.inbox_seq DESC LIMIT $7),
	hit AS (
	     SELECT p.conversation_id, p.seq + position($4 IN p.packets) - 1 AS seq
	       FROM page p WHERE position($4 IN p.packets) > 0 ORDER BY p.inbox_seq DESC LIMIT 1),
	last AS (SELECT * FROM page ORDER BY inbox_seq LIMIT 1)
	SELECT CASE WHEN EXISTS (SELECT FROM hit) OR (SELECT count(*) FROM page) < $7
	              OR EXISTS (SELECT FROM last l JOIN postbox.messages m USING (conversation_id, seq) WHERE m.sent_at <= now() - interval '24 hours')
	            THEN 0 ELSE (SELECT inbox_seq FROM last) END,
	       coalesce(m.qos, 0), coalesce(m.id, '00000000-0000-0000-0000-000000000000'), coalesce(m.seq, 0), coalesce(m.sender_inbox_seq, 0),
	       coalesce(m.sent_at, 'epoch'), coalesce(m.digest, '')
	  FROM (VALUES (1)) AS always (one)
	  LEFT JOIN hit h ON true
	  LEFT JOIN postbox.messages m ON m.conversation_id = h.conversation_id AND m.seq = h.seq
	        AND m.sender_id = $1 AND m.device = $2 AND m.sent_at > now() - interval '24 hours'`

// SentPublish looks for the record of the last publish of a device under a packet id, by
// which a re-send is recognised: of the last 24 hours, and not from before a message that
// is known to have come, if there is one. It looks at a part of what the device has
// published, back from `before`; zero is the newest. If there is more to look at, it
// returns where that begins, else zero.
func (s *Store) SentPublish(ctx context.Context, user postbox.UserID, clientID string, packetID uint16, known postbox.MessageID, before postbox.InboxSeq,
) (record *postbox.SentPublish, next postbox.InboxSeq, err error) {
	if before == 0 {
		before = math.MaxInt64
	}
	publisher, packet := publisherOf(device{user, clientID}.hash(), packetID)
	rows, err := s.db.QueryContext(ctx, readSent, user, clientID, publisher, []byte{packet}, known.String(), before, resendRows)
	if err != nil {
		return nil, 0, away("read a sent publish", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, 0, away("read a sent publish", rows.Err())
	}
	p := postbox.SentPublish{PacketID: packetID}
	if p.Stored, err = scanStored(rows, &next, &p.QoS); err != nil {
		return nil, 0, away("read a sent publish", err)
	}
	if p.Stored.ID != (postbox.MessageID{}) {
		record = &p
	}
	return record, next, away("read a sent publish", rows.Close())
}

// OpenPublishes reads the QoS 2 publishes of a session between PUBREC and
// PUBREL.
func (s *Store) OpenPublishes(ctx context.Context, device postbox.DeviceID) ([]postbox.SentPublish, error) {
	const read = `
		SELECT o.packet_id, m.id, m.seq, m.sender_inbox_seq, m.sent_at, o.digest
		  FROM postbox.open_publishes o JOIN postbox.messages m ON m.id = o.message_id
		 WHERE o.device_id = $1`
	rows, err := s.db.QueryContext(ctx, read, device)
	if err != nil {
		return nil, away("read open publishes", err)
	}
	defer rows.Close()
	var all []postbox.SentPublish
	for rows.Next() {
		p := postbox.SentPublish{QoS: 2}
		if p.Stored, err = scanStored(rows, &p.PacketID); err != nil {
			return nil, away("read open publishes", err)
		}
		all = append(all, p)
	}
	return all, away("read open publishes", rows.Err())
}
