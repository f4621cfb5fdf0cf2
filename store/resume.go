package store

import (
	"context"
	"database/sql"
	"time"
)

// resumeStatement is a session that simply goes on, in one round trip: after a
// restart of the server all devices come at once. Its commit waits for the disk as
// any other: a database that forgot that the device is connected could let the
// session expire meanwhile.
const resumeStatement = `
	WITH touched AS (
		UPDATE postbox.devices d SET connected_at = now(), disconnected_at = NULL, expires_after = $3, protocol = $4
		 WHERE d.user_id = $1 AND d.client_id = $2 AND d.created_at <> $5 AND ` + live + `
		   AND NOT EXISTS (SELECT FROM postbox.wills w WHERE w.user_id = $1 AND w.client_id = $2)
		RETURNING d.id, d.cursor, d.epoch, d.known_id, d.connected_at)
	SELECT t.id, t.cursor, t.epoch, uuid_send(t.known_id), t.connected_at,
	       EXISTS (SELECT FROM postbox.open_publishes o WHERE o.device_id = t.id), s.filter IS NOT NULL,
	       coalesce(s.filter, ''), coalesce(s.qos, 0), coalesce(s.no_local, false), coalesce(s.raw, false), coalesce(s.identifier, 0)
	  FROM touched t LEFT JOIN postbox.subscriptions s ON s.device_id = t.id
	 ORDER BY s.filter`

// resume finds the session of a device; false: there is none, or it is not that
// simple.
func (s *Store) resume(ctx context.Context, r SessionRequest) (session Session, resumed bool, err error) {
	if r.Clean || r.Will != nil {
		return Session{}, false, nil
	}
	err = s.often.query(ctx, resumeStatement, func(rows *sql.Rows) error {
		var known sql.RawBytes
		var sub Subscription
		var subscribed bool
		if err := rows.Scan(&session.Device, &session.Cursor, &session.Epoch, &known, &session.Opened, &session.Open, &subscribed,
			&sub.Filter, &sub.QoS, &sub.NoLocal, &sub.Raw, &sub.Identifier); err != nil {
			return err
		}
		resumed, session.Present = true, true
		copy(session.Known[:], known)
		if subscribed {
			session.Subscriptions = append(session.Subscriptions, sub)
		}
		return nil
	}, r.User, r.ClientID, int64(r.Life/time.Second), r.Protocol, r.Began.Truncate(time.Microsecond))
	if err != nil {
		return Session{}, false, away("resume session", err)
	}
	return session, resumed, nil
}
