package store

import (
	"context"

	"postbox"
)

// SentPublish reads the record of the last publish of a device under a packet
// id, by which a re-send is recognised; nil if there is none of the last 24
// hours.
func (s *Store) SentPublish(ctx context.Context, user postbox.UserID, device string, packetID uint16) (*postbox.SentPublish, error) {
	const read = `
		SELECT packet_id, qos, id, seq, sender_inbox_seq, sent_at, digest
		  FROM postbox.messages
		 WHERE sender_id = $1 AND device = $2 AND packet_id = $3
		   AND sent_at > now() - interval '24 hours'
		 ORDER BY id DESC LIMIT 1`
	rows, err := s.db.QueryContext(ctx, read, user, device, int(packetID))
	if err != nil {
		return nil, away("read a sent publish", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, away("read a sent publish", rows.Err())
	}
	var p postbox.SentPublish
	if p.Stored, err = scanStored(rows, &p.PacketID, &p.QoS); err != nil {
		return nil, away("read a sent publish", err)
	}
	return &p, away("read a sent publish", rows.Close())
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
