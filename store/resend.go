package store

import (
	"context"

	"postbox"
)

// SentPublishes reads the records of the last publishes of a device, newest
// first, by which its re-sends are recognised: at most limit, and none older
// than 24 hours.
func (s *Store) SentPublishes(ctx context.Context, user postbox.UserID, device string, limit int) ([]postbox.SentPublish, error) {
	const read = `
		SELECT packet_id, qos, id, seq, sender_inbox_seq, sent_at, digest
		  FROM postbox.messages
		 WHERE sender_id = $1 AND device = $2 AND packet_id IS NOT NULL
		   AND sent_at > now() - interval '24 hours'
		 ORDER BY id DESC LIMIT $3`
	rows, err := s.db.QueryContext(ctx, read, user, device, limit)
	if err != nil {
		return nil, away("read sent publishes", err)
	}
	defer rows.Close()
	var all []postbox.SentPublish
	for rows.Next() {
		var p postbox.SentPublish
		if p.Stored, err = scanStored(rows, &p.PacketID, &p.QoS); err != nil {
			return nil, away("read sent publishes", err)
		}
		all = append(all, p)
	}
	return all, away("read sent publishes", rows.Err())
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
