package store

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"

	"postbox"
)

// Will is the last message of a device's connection. It is stored with the
// session at CONNECT, and stays until it is dropped, taken back by the device's
// return, or appended to a lane as a publish with Will set. Its connection's end
// makes it due, now or later.
type Will struct {
	ID          postbox.MessageID // of the message that it becomes
	User        postbox.UserID
	From        postbox.User // of User; only read
	ClientID    string
	Delay       time.Duration // after the end of the connection, in whole seconds
	Due         time.Time     // only read
	To          postbox.User  // empty for a room
	Room        postbox.Room  // else empty
	Key         string
	ContentType string
	Ref         string
	Expiry      uint32 // seconds that the message lives; zero: for ever
	Body        []byte
	Barred      bool // the sender's account was disabled or erased meanwhile; only read
}

type willRow struct {
	ID       string         `db:"id"`
	User     postbox.UserID `db:"user_id"`
	From     postbox.User   `db:"from_name"`
	ClientID string         `db:"client_id"`
	Delay    int64          `db:"delay"`
	Due      time.Time      `db:"due_at"`
	To       string         `db:"recipient"`
	Room     bool           `db:"room"`
	Key      string         `db:"idempotency_key"`
	Type     string         `db:"content_type"`
	Ref      string         `db:"ref"`
	Expiry   uint32         `db:"expires_after"`
	Body     []byte         `db:"body"`
	Barred   bool           `db:"barred"`
}

// willColumns are those of a willRow, of a will w and its user u.
const willColumns = `
	w.id, w.user_id, u.name AS from_name, w.client_id, w.delay, w.due_at, w.recipient, w.room,
	coalesce(w.idempotency_key, '') AS idempotency_key, coalesce(w.content_type, '') AS content_type,
	coalesce(w.ref, '') AS ref, w.expires_after, w.body,
	u.disabled_at IS NOT NULL OR u.erased_at IS NOT NULL AS barred`

func willsOf(rows []willRow) ([]Will, error) {
	wills := make([]Will, len(rows))
	for i, r := range rows {
		id, err := postbox.ParseMessageID(r.ID)
		if err != nil {
			return nil, err
		}
		wills[i] = Will{
			ID: id, User: r.User, From: r.From, ClientID: r.ClientID, Delay: time.Duration(r.Delay) * time.Second,
			Due: r.Due, Key: r.Key, ContentType: r.Type, Ref: r.Ref, Expiry: r.Expiry, Body: r.Body, Barred: r.Barred,
		}
		if r.Room {
			wills[i].Room = postbox.Room(r.To)
		} else {
			wills[i].To = postbox.User(r.To)
		}
	}
	return wills, nil
}

// addWill stores the will of a connection that is being made; once, also when
// it is tried again.
func addWill(ctx context.Context, tx *sqlx.Tx, user postbox.UserID, client string, w *Will) error {
	const add = `
		INSERT INTO postbox.wills (id, user_id, client_id, delay, recipient, room, expires_after, idempotency_key, content_type, ref, body)
		VALUES ($1, $2, $3, $4, $5, $6 <> '', $7, NULLIF($8, ''), NULLIF($9, ''), NULLIF($10, ''), $11)
		ON CONFLICT (id) DO NOTHING`
	body := w.Body
	if body == nil {
		body = []byte{}
	}
	_, err := tx.ExecContext(ctx, add, w.ID.String(), user, client, int64(w.Delay/time.Second), string(w.To)+string(w.Room), w.Room, int64(w.Expiry),
		w.Key, w.ContentType, w.Ref, body)
	return away("store will", err)
}

// settleWills decides on the wills of a device's earlier connections, all of
// which have ended. A session that is resumed takes those back that were to
// wait for longer [MQTT-3.1.3-9]; all others are due now, and returned.
func settleWills(ctx context.Context, tx *sqlx.Tx, user postbox.UserID, client string, but postbox.MessageID, resumed bool) ([]Will, error) {
	if resumed {
		const back = `
			DELETE FROM postbox.wills
			 WHERE user_id = $1 AND client_id = $2 AND id <> $3 AND delay > 0 AND (due_at IS NULL OR due_at > now())`
		if _, err := tx.ExecContext(ctx, back, user, client, but.String()); err != nil {
			return nil, away("take wills back", err)
		}
	}
	const due = `
		WITH w AS (
			UPDATE postbox.wills SET due_at = least(due_at, now())
			 WHERE user_id = $1 AND client_id = $2 AND id <> $3
			RETURNING *)
		SELECT ` + willColumns + ` FROM w JOIN postbox.users u ON u.id = w.user_id ORDER BY w.due_at, w.id`
	var rows []willRow
	if err := tx.SelectContext(ctx, &rows, due, user, client, but.String()); err != nil {
		return nil, away("read wills", err)
	}
	return willsOf(rows)
}

// DueWills reads at most limit wills that are due now, in the order in which
// they became due, from the one after a given one on; the zero Will is before
// all.
func (s *Store) DueWills(ctx context.Context, after Will, limit int) ([]Will, error) {
	const read = `
		SELECT ` + willColumns + `
		  FROM postbox.wills w JOIN postbox.users u ON u.id = w.user_id
		 WHERE w.due_at <= now() AND (w.due_at, w.id) > ($1::timestamptz, $2::uuid)
		 ORDER BY w.due_at, w.id LIMIT $3`
	var rows []willRow
	if err := s.db.SelectContext(ctx, &rows, read, after.Due, after.ID.String(), limit); err != nil {
		return nil, away("read due wills", err)
	}
	return willsOf(rows)
}

// ReleaseWill notes that the connection of a will has ended, and that the will
// is due after a time from now. The first note counts.
func (s *Store) ReleaseWill(ctx context.Context, id postbox.MessageID, after time.Duration) error {
	const release = `UPDATE postbox.wills SET due_at = now() + $2 * interval '1 millisecond' WHERE id = $1 AND due_at IS NULL`
	_, err := s.db.ExecContext(ctx, release, id.String(), after.Milliseconds())
	return away("release will", err)
}

// DropWill forgets a will.
func (s *Store) DropWill(ctx context.Context, id postbox.MessageID) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM postbox.wills WHERE id = $1`, id.String())
	return away("drop will", err)
}
