package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"postbox"
)

// errMembersMoved is of a room that somebody else has changed meanwhile.
var errMembersMoved = errors.New("the members of a room have changed meanwhile")

// leaveRooms has a closed account leave the rooms that it is in, each in a
// transaction of its own: the locks of all members of all rooms at once would hold
// up everybody.
func (s *Store) leaveRooms(ctx context.Context, user postbox.UserID) error {
	var rooms []postbox.ConversationID
	const find = `
		SELECT m.conversation_id FROM postbox.erasures e JOIN postbox.memberships m ON m.user_id = e.user_id AND m.left_seq IS NULL
		 WHERE e.user_id = $1 ORDER BY m.conversation_id`
	if err := s.db.SelectContext(ctx, &rooms, find, user); err != nil {
		return away("find the rooms of a closed account", err)
	}
	for _, room := range rooms {
		err := s.leaveRoom(ctx, user, room, false)
		for writersCollided(err) && ctx.Err() == nil {
			err = s.leaveRoom(ctx, user, room, true)
		}
		if err != nil {
			return away("leave a room", err)
		}
	}
	return nil
}

// writersCollided reports whether the same is to be tried again at once, because
// others write, too.
func writersCollided(err error) bool {
	var pe *pq.Error
	if errors.As(err, &pe) {
		switch pe.Code {
		case "40P01", "40001", "55P03":
			return true
		}
	}
	return errors.Is(err, errMembersMoved) || isBehind(err)
}

// departure is one who leaves a room by being erased.
type departure struct {
	tx           *sqlx.Tx
	user         postbox.UserID
	conversation postbox.ConversationID

	Room    postbox.Room  `db:"room"`
	Version int64         `db:"members"`
	Name    postbox.User  `db:"name"`  // the one that tells nothing
	Users   pq.Int64Array `db:"users"` // who stays
	head    postbox.Seq
}

// leaveRoom is postbox.room for one who has no inbox any more: under the locks of
// the room and of all who stay in it, these are told that somebody has left, and
// who is the owner now if the room has lost its last one. alone keeps all appends away.
func (s *Store) leaveRoom(ctx context.Context, user postbox.UserID, room postbox.ConversationID, alone bool) error {
	tx, err := s.db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if alone {
		if err := keepAppendsAway(ctx, tx); err != nil {
			return err
		}
	}
	d := departure{tx: tx, user: user, conversation: room}
	if err := d.lock(ctx); err != nil {
		return err
	}
	const leave = `UPDATE postbox.memberships SET left_seq = $3 WHERE conversation_id = $1 AND user_id = $2 AND left_seq IS NULL`
	done, err := tx.ExecContext(ctx, leave, room, user, d.head)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); n == 0 || err != nil {
		return err // another server has done it
	}
	if err := d.tell(ctx, roomEventRow{Event: postbox.RoomLeft, User: d.Name}); err != nil {
		return err
	}
	heirs, err := d.succession(ctx)
	if err != nil {
		return err
	}
	for _, heir := range heirs {
		if err := d.tell(ctx, roomEventRow{Event: postbox.RoomRole, User: heir, Role: postbox.RoleOwner}); err != nil {
			return err
		}
	}
	for _, w := range []word{{kind: ControlParted, user: user, subject: string(d.Room)}, {kind: ControlImported, subject: string(d.Room)}} {
		if err := tell(ctx, tx, w); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// lock takes the locks of the room and of all who stay in it, and gives the room its
// next version.
func (d *departure) lock(ctx context.Context) error {
	const look = `
		SELECT c.room, c.members, u.name,
		       ARRAY(SELECT m.user_id FROM postbox.memberships m JOIN postbox.logs l ON l.id = m.user_id
		              WHERE m.conversation_id = c.id AND m.left_seq IS NULL AND m.user_id <> u.id ORDER BY m.user_id) AS users
		  FROM postbox.conversations c, postbox.users u
		 WHERE c.id = $1 AND u.id = $2`
	if err := d.tx.GetContext(ctx, d, look, d.conversation, d.user); err != nil {
		return err
	}
	const lock = `SELECT l.id FROM postbox.logs l WHERE l.id = ANY ($1) ORDER BY l.id FOR NO KEY UPDATE`
	var locked []int64
	if err := d.tx.SelectContext(ctx, &locked, lock, append(d.Users[:len(d.Users):len(d.Users)], int64(d.conversation))); err != nil {
		return err
	}
	if len(locked) != len(d.Users)+1 {
		return errMembersMoved // somebody else was erased
	}
	const next = `UPDATE postbox.conversations SET members = members + 1 WHERE id = $1 AND members = $2`
	done, err := d.tx.ExecContext(ctx, next, d.conversation, d.Version)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); n == 0 || err != nil {
		return errors.Join(errMembersMoved, err)
	}
	return d.tx.GetContext(ctx, &d.head, `SELECT head FROM postbox.heads WHERE id = $1`, d.conversation)
}

// succession finds an owner for a room that is left without one, and returns who it
// is: of the admins, else of the members, else of the readers, who has been there
// longest. It is nobody if there is an owner, or nobody else.
func (d *departure) succession(ctx context.Context) ([]postbox.User, error) {
	const inherit = `
		UPDATE postbox.memberships m SET role = 'owner'
		  FROM (SELECT n.user_id FROM postbox.memberships n
		         WHERE n.conversation_id = $1 AND n.left_seq IS NULL AND n.user_id = ANY ($2)
		           AND NOT EXISTS (SELECT FROM postbox.memberships o
		                            WHERE o.conversation_id = $1 AND o.left_seq IS NULL AND o.role = 'owner' AND o.user_id = ANY ($2))
		         ORDER BY array_position(ARRAY['admin', 'member', 'reader'], n.role), n.joined_seq, n.user_id LIMIT 1) heir
		  JOIN postbox.users u ON u.id = heir.user_id
		 WHERE m.conversation_id = $1 AND m.user_id = heir.user_id AND m.left_seq IS NULL
		RETURNING u.name`
	var heirs []postbox.User
	err := d.tx.SelectContext(ctx, &heirs, inherit, d.conversation, d.Users)
	return heirs, err
}

// tell stores what happened as the last entry of everybody who stays.
func (d *departure) tell(ctx context.Context, e roomEventRow) error {
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("note what happens to a room: %w", err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	const store = `
		WITH event AS (
			INSERT INTO postbox.events (id, conversation_id, seq, kind, actor_id, happened_at, data, actor_inbox_seq)
			SELECT $1, $2, $3, 4, $4, greatest(date_trunc('milliseconds', now()), (
			           SELECT m.sent_at FROM postbox.messages m WHERE m.conversation_id = $2 AND m.seq = $3)), $5, 0)
		INSERT INTO postbox.inbox (user_id, inbox_seq, conversation_id, seq, kind, event_id)
		SELECT h.id, h.head + 1, $2, $3, 4, $1 FROM postbox.heads h WHERE h.id = ANY ($6) ORDER BY h.id`
	_, err = d.tx.ExecContext(ctx, store, id, d.conversation, d.head, d.user, string(data), d.Users)
	return err
}
