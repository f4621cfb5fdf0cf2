package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/lib/pq"

	"postbox"
)

// Session is what the database keeps of a device between its connections.
type Session struct {
	Device        postbox.DeviceID
	Cursor        postbox.InboxSeq // -1 before its first subscription
	Epoch         postbox.Epoch
	Known         postbox.MessageID // the device knows that its messages up to here are stored
	Present       bool              // it was there before this connection
	Opened        time.Time         // for this connection, by the database's clock
	Open          bool              // it has QoS 2 publishes between PUBREC and PUBREL
	Subscriptions []Subscription
	Wills         []Will // of the device's earlier connections, due now
}

// Subscription is one filter of a session.
type Subscription struct {
	Filter     string `db:"filter"`
	QoS        byte   `db:"qos"`
	NoLocal    bool   `db:"no_local"`
	Raw        bool   `db:"raw"`
	Identifier int    `db:"identifier"`
}

// SessionRequest asks for a session at CONNECT.
type SessionRequest struct {
	User     postbox.UserID
	ClientID string
	Epoch    postbox.Epoch
	Protocol byte
	Life     time.Duration // after the connection ends; zero asks for none
	Clean    bool          // start anew
	Limit    int           // devices of a user: the longest disconnected is forgotten
	Will     *Will         // of the connection; nil if none
	// Began is when the CONNECT came. A request that is repeated, since nobody
	// knows whether the database has committed it, is told by it from another.
	Began time.Time
}

// OpenSession finds or makes a device's session. With Clean an old one is
// forgotten first; with a Life of zero and no old session none is made, and
// Device is zero. An old session keeps going on a connection that asks for no
// life: it then ends with that connection. The will is stored with the session,
// and also without one. A session that the same request has made before is not
// Present: the client knows of none.
func (s *Store) OpenSession(ctx context.Context, r SessionRequest) (Session, error) {
	if session, resumed, err := s.resume(ctx, r); resumed || err != nil {
		return session, err
	}
	tx, err := s.db.BeginTxx(ctx, nil)
	if err != nil {
		return Session{}, away("open session", err)
	}
	defer func() { _ = tx.Rollback() }()
	var old struct {
		ID      postbox.DeviceID `db:"id"`
		Cursor  postbox.InboxSeq `db:"cursor"`
		Epoch   postbox.Epoch    `db:"epoch"`
		Known   string           `db:"known_id"`
		Expired bool             `db:"expired"`
		Willed  bool             `db:"willed"`
		Made    sql.NullTime     `db:"created_at"`
		Now     time.Time        `db:"now"`
		Open    bool             `db:"open"`
	}
	const find = `
		SELECT coalesce(d.id, 0) AS id, coalesce(d.cursor, -1) AS cursor, coalesce(d.epoch, '') AS epoch,
		       coalesce(d.known_id, '00000000-0000-0000-0000-000000000000') AS known_id,
		       d.created_at, coalesce(d.disconnected_at + d.expires_after * interval '1 second' < now(), false) AS expired,
		       EXISTS (SELECT FROM postbox.wills w WHERE w.user_id = $1 AND w.client_id = $2 AND w.id <> $3) AS willed,
		       now() AS now, EXISTS (SELECT FROM postbox.open_publishes o WHERE o.device_id = d.id) AS open
		  FROM (VALUES (1)) AS always (one)
		  LEFT JOIN LATERAL (SELECT * FROM postbox.devices WHERE user_id = $1 AND client_id = $2 FOR UPDATE) d ON true`
	var will postbox.MessageID
	if r.Will != nil {
		will = r.Will.ID
	}
	if err := tx.GetContext(ctx, &old, find, r.User, r.ClientID, will.String()); err != nil {
		return Session{}, away("open session", err)
	}
	found, began := old.ID != 0, r.Began.Truncate(time.Microsecond)
	again := found && !r.Began.IsZero() && old.Made.Time.Equal(began)
	if found && !again && (r.Clean || old.Expired) {
		if _, err := tx.ExecContext(ctx, `DELETE FROM postbox.devices WHERE id = $1`, old.ID); err != nil {
			return Session{}, away("forget session", err)
		}
		found = false
	}
	session := Session{Epoch: r.Epoch, Opened: old.Now}
	switch {
	case found:
		session = Session{Device: old.ID, Cursor: old.Cursor, Epoch: old.Epoch, Present: !again, Opened: old.Now, Open: old.Open}
		if session.Known, err = postbox.ParseMessageID(old.Known); err != nil {
			return Session{}, err
		}
		const touch = `
			WITH touched AS (
				UPDATE postbox.devices SET connected_at = now(), disconnected_at = NULL, expires_after = $2, protocol = $3 WHERE id = $1)
			SELECT filter, qos, no_local, raw, identifier FROM postbox.subscriptions WHERE device_id = $1 ORDER BY filter`
		if err := tx.SelectContext(ctx, &session.Subscriptions, touch, old.ID, int64(r.Life/time.Second), r.Protocol); err != nil {
			return Session{}, away("resume session", err)
		}
	case r.Life > 0:
		const add = `
			INSERT INTO postbox.devices (user_id, client_id, cursor, epoch, protocol, expires_after, created_at)
			VALUES ($1, $2, -1, $3, $4, $5, coalesce($6, now()))
			RETURNING id, cursor`
		row := tx.QueryRowxContext(ctx, add, r.User, r.ClientID, r.Epoch, r.Protocol, int64(r.Life/time.Second),
			sql.NullTime{Time: began, Valid: !r.Began.IsZero()})
		if err := row.Scan(&session.Device, &session.Cursor); err != nil {
			return Session{}, away("make session", err)
		}
		if err := forgetExcess(ctx, tx, r.User, r.Limit); err != nil {
			return Session{}, err
		}
	}
	if old.Willed {
		if session.Wills, err = settleWills(ctx, tx, r.User, r.ClientID, will, session.Present); err != nil {
			return Session{}, err
		}
	}
	if r.Will != nil {
		if err := addWill(ctx, tx, r.User, r.ClientID, r.Will); err != nil {
			return Session{}, err
		}
	}
	if err := tx.Commit(); err != nil {
		return Session{}, away("open session", err)
	}
	return session, nil
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// forgetExcess forgets the longest disconnected devices of a user beyond limit.
// Their wills are due.
func forgetExcess(ctx context.Context, tx execer, user postbox.UserID, limit int) error {
	const forget = `
		WITH forgotten AS (
			DELETE FROM postbox.devices WHERE id IN (
				SELECT id FROM postbox.devices WHERE user_id = $1
				 ORDER BY disconnected_at DESC NULLS FIRST, connected_at DESC OFFSET $2)
			   AND disconnected_at IS NOT NULL
			RETURNING user_id, client_id)
		UPDATE postbox.wills w SET due_at = now() FROM forgotten f
		 WHERE w.user_id = f.user_id AND w.client_id = f.client_id AND w.due_at > now()`
	_, err := tx.ExecContext(ctx, forget, user, limit)
	return away("forget devices", err)
}

// CloseSession notes that a connection of a device has ended, and how long the
// session lives from now. A life of zero forgets it. known is the newest of its
// messages of which the device has shown to know that they are stored. When the
// session was opened again since, maybe at another server, it changes nothing.
func (s *Store) CloseSession(ctx context.Context, session Session, life time.Duration, known postbox.MessageID) error {
	statement := `UPDATE postbox.devices SET disconnected_at = now(), expires_after = $3, known_id = $4 WHERE id = $1 AND connected_at = $2`
	args := []any{session.Device, session.Opened, int64(life / time.Second), known.String()}
	if life == 0 {
		statement, args = `DELETE FROM postbox.devices WHERE id = $1 AND connected_at = $2`, args[:2]
	}
	_, err := s.db.ExecContext(ctx, statement, args...)
	return away("close session", err)
}

// DisconnectAll notes, at the start of the only server, that no device is
// connected: a server that was killed could not. Their wills become due, after
// their delays or with their sessions, from now.
func (s *Store) DisconnectAll(ctx context.Context) error {
	const note = `
		WITH released AS (
			UPDATE postbox.wills w SET due_at = now() + interval '1 second' * least(w.delay, coalesce(
			       (SELECT d.expires_after FROM postbox.devices d WHERE d.user_id = w.user_id AND d.client_id = w.client_id), 0))
			 WHERE w.due_at IS NULL)
		UPDATE postbox.devices SET disconnected_at = now() WHERE disconnected_at IS NULL`
	_, err := s.db.ExecContext(ctx, note)
	return away("note that no device is connected", err)
}

// ForgetExpired forgets the sessions whose life is over, and the words for the
// servers that all of them have heard long ago.
func (s *Store) ForgetExpired(ctx context.Context) error {
	const forget = `
		WITH heard AS (
			DELETE FROM postbox.control
			 WHERE created_at < now() - interval '1 day' AND id < (SELECT max(id) FROM postbox.control) - 1000)
		DELETE FROM postbox.devices WHERE disconnected_at + expires_after * interval '1 second' < now()`
	_, err := s.db.ExecContext(ctx, forget)
	return away("forget expired sessions", err)
}

// SaveSubscription adds or replaces a filter of a session.
func (s *Store) SaveSubscription(ctx context.Context, device postbox.DeviceID, sub Subscription) error {
	const save = `
		INSERT INTO postbox.subscriptions (device_id, filter, qos, no_local, raw, identifier)
		SELECT d.id, $2, $3, $4, $5, $6 FROM postbox.devices d WHERE d.id = $1
		ON CONFLICT (device_id, filter) DO UPDATE SET qos = EXCLUDED.qos, no_local = EXCLUDED.no_local,
			raw = EXCLUDED.raw, identifier = EXCLUDED.identifier`
	_, err := s.db.ExecContext(ctx, save, device, sub.Filter, sub.QoS, sub.NoLocal, sub.Raw, sub.Identifier)
	return away("save subscription", err)
}

// DeleteSubscriptions removes filters of a session.
func (s *Store) DeleteSubscriptions(ctx context.Context, device postbox.DeviceID, filters []string) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM postbox.subscriptions WHERE device_id = $1 AND filter = ANY ($2)`, device, pq.Array(filters))
	return away("delete subscriptions", err)
}

// SetCursor replaces a device's cursor, backwards too. A device whose cursor is
// of another epoch than the one in force, or of none, is still to be told that
// the epoch has changed.
func (s *Store) SetCursor(ctx context.Context, device postbox.DeviceID, epoch postbox.Epoch, cursor postbox.InboxSeq) error {
	_, err := s.db.ExecContext(ctx, `UPDATE postbox.devices SET cursor = $2, epoch = $3 WHERE id = $1`, device, cursor, epoch)
	return away("set cursor", err)
}

// SaveCursors saves the progress of devices and of their users. A cursor that
// is behind the saved one of its epoch changes nothing.
func (s *Store) SaveCursors(ctx context.Context, saves []postbox.CursorSave) error {
	users, devices, cursors := make([]int64, len(saves)), make([]int64, len(saves)), make([]int64, len(saves))
	epochs := make([]string, len(saves))
	for i, c := range saves {
		users[i], devices[i], cursors[i], epochs[i] = int64(c.User), int64(c.Device), int64(c.Cursor), string(c.Epoch)
	}
	const save = `
		WITH u AS (
			SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) AS u (user_id, device_id, cursor, epoch)),
		saved AS (
			UPDATE postbox.devices d SET cursor = u.cursor, epoch = u.epoch FROM u
			 WHERE d.id = u.device_id AND (d.cursor < u.cursor OR d.epoch <> u.epoch))
		UPDATE postbox.users p SET delivered_seq = m.cursor
		  FROM (SELECT user_id, max(cursor) AS cursor FROM u GROUP BY user_id) m
		 WHERE p.id = m.user_id AND p.delivered_seq < m.cursor`
	_, err := s.db.ExecContext(ctx, save, pq.Array(users), pq.Array(devices), pq.Array(cursors), pq.Array(epochs))
	return away("save cursors", err)
}
