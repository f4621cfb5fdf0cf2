package store

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"

	"postbox"
)

// live is the condition on a device d that its session is not over.
const live = `(d.disconnected_at IS NULL OR d.disconnected_at + d.expires_after * interval '1 second' >= now())`

// Devices lists a user's devices that have a session, those that are connected
// first, then by when they last were. A cursor is zero before the first
// subscription.
func (s *Store) Devices(ctx context.Context, user postbox.UserID) ([]postbox.DeviceState, error) {
	const list = `
		SELECT d.client_id, greatest(d.cursor, 0) AS cursor, d.disconnected_at IS NULL AS connected,
		       d.connected_at, coalesce(d.disconnected_at, now()) AS seen_at
		  FROM postbox.devices d
		 WHERE d.user_id = $1 AND ` + live + `
		 ORDER BY d.disconnected_at DESC NULLS FIRST, d.connected_at DESC, d.client_id`
	var rows []struct {
		Name        string           `db:"client_id"`
		Cursor      postbox.InboxSeq `db:"cursor"`
		Connected   bool             `db:"connected"`
		ConnectedAt time.Time        `db:"connected_at"`
		SeenAt      time.Time        `db:"seen_at"`
	}
	if err := s.db.SelectContext(ctx, &rows, list, user); err != nil {
		return nil, away("list devices", err)
	}
	all := make([]postbox.DeviceState, len(rows))
	for i, d := range rows {
		all[i] = postbox.DeviceState(d)
	}
	return all, nil
}

// RevokeDevice forgets a session, ends the logins that are called like it, and tells
// the servers to end its connection. It is ErrNotFound if there is neither. A will
// that waits for the end of the session is due.
func (s *Store) RevokeDevice(ctx context.Context, user postbox.UserID, device string) error {
	missing := postbox.Errorf(postbox.CodeNotFound, "there is no device %.140q", device)
	if postbox.CheckDevice(device) != nil {
		return missing
	}
	const forget = `
		WITH forgotten AS (
			DELETE FROM postbox.devices d WHERE d.user_id = $1 AND d.client_id = $2 RETURNING ` + live + ` AS live),
		due AS (
			UPDATE postbox.wills w SET due_at = now() FROM forgotten
			 WHERE w.user_id = $1 AND w.client_id = $2 AND w.due_at > now())
		SELECT live FROM forgotten`
	found := false
	err := s.withWord(ctx, "revoke a device", &word{kind: ControlRevoked, user: user, subject: device}, func(tx *sqlx.Tx) (bool, error) {
		var all []bool
		err := tx.SelectContext(ctx, &all, forget, user, device)
		if err != nil {
			return false, err
		}
		var ended []postbox.LoginID
		if err := tx.SelectContext(ctx, &ended, `DELETE FROM postbox.logins WHERE user_id = $1 AND device = $2 RETURNING id`, user, device); err != nil {
			return false, err
		}
		found = len(all) == 1 && all[0] || len(ended) > 0
		return found, tellEnded(ctx, tx, user, ended)
	})
	if err == nil && !found {
		return missing
	}
	return err
}
