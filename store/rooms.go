package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/lib/pq"

	"postbox"
)

// RoomFacts is what is known of a room, of who asks for something in it, and of
// whom it is about.
type RoomFacts struct {
	Conversation postbox.ConversationID // zero: there is no such room
	Version      int64
	Title        string
	Public       bool
	History      postbox.History
	Deleted      bool
	Members      int
	Owners       int
	Role         postbox.Role // of who asks; empty: not a member
	Was          bool         // who asks is, or once was, a member

	User     postbox.UserID // zero: there is no such user
	Erased   bool
	Accept   string
	Blocked  bool         // the user has blocked who asks
	Known    bool         // the user has written to who asks, or shares a room with them
	UserRole postbox.Role // empty: not a member
	UserWas  bool
}

// sharesRoom decides whether two users are in one room.
func sharesRoom(user, other string) string {
	return `EXISTS (SELECT FROM postbox.memberships a
		  JOIN postbox.memberships b ON b.conversation_id = a.conversation_id AND b.user_id = ` + other + ` AND b.left_seq IS NULL
		 WHERE a.user_id = ` + user + ` AND a.left_seq IS NULL)`
}

// RoomFacts looks up a room, also one that was deleted. All of it is of one
// moment, that of its version; what is known of the user is not part of that.
func (s *Store) RoomFacts(ctx context.Context, room postbox.Room, actor postbox.UserID, user postbox.User) (RoomFacts, error) {
	look := `
		SELECT coalesce(c.id, 0), coalesce(c.members, 0), coalesce(c.title, ''), coalesce(c.public, false),
		       coalesce(c.history, ''), c.deleted_at IS NOT NULL, n.members, n.owners,
		       coalesce(me.role, ''), coalesce(me.was, false),
		       coalesce(u.id, 0), u.erased_at IS NOT NULL, coalesce(u.accept, ''),
		       EXISTS (SELECT FROM postbox.blocks b WHERE b.user_id = u.id AND b.blocked_id = $2),
		       coalesce(CASE WHEN d.user_low = u.id THEN d.low_wrote ELSE d.high_wrote END, false) OR ` + sharesRoom("$2", "u.id") + `,
		       coalesce(they.role, ''), coalesce(they.was, false)
		  FROM (SELECT) one
		  LEFT JOIN postbox.conversations c ON c.room = $1
		 CROSS JOIN LATERAL (SELECT count(*) AS members, count(*) FILTER (WHERE m.role = 'owner') AS owners
		                       FROM postbox.memberships m JOIN postbox.logs l ON l.id = m.user_id
		                      WHERE m.conversation_id = c.id AND m.left_seq IS NULL) n
		 CROSS JOIN LATERAL (SELECT max(m.role) FILTER (WHERE m.left_seq IS NULL) AS role, count(*) > 0 AS was
		                       FROM postbox.memberships m WHERE m.conversation_id = c.id AND m.user_id = $2) me
		  LEFT JOIN postbox.users u ON u.name = $3
		  LEFT JOIN postbox.conversations d ON u.id IS NOT NULL AND d.user_low = least($2, u.id) AND d.user_high = greatest($2, u.id)
		 CROSS JOIN LATERAL (SELECT max(m.role) FILTER (WHERE m.left_seq IS NULL) AS role, count(*) > 0 AS was
		                       FROM postbox.memberships m WHERE m.conversation_id = c.id AND m.user_id = u.id) they`
	var f RoomFacts
	err := s.archive.query(ctx, look, func(rows *sql.Rows) error {
		return rows.Scan(&f.Conversation, &f.Version, &f.Title, &f.Public, &f.History, &f.Deleted, &f.Members, &f.Owners,
			&f.Role, &f.Was, &f.User, &f.Erased, &f.Accept, &f.Blocked, &f.Known, &f.UserRole, &f.UserWas)
	}, room, actor, user)
	return f, away("look up a room", err)
}

// RoomRoute is what is known of a room that somebody writes to.
type RoomRoute struct {
	Conversation postbox.ConversationID // zero: there is no such room
	Public       bool
	Role         postbox.Role // of who writes; empty: not a member
}

// RoomRoutes looks up the rooms that senders write to, one for each key in order,
// and the members of those, in one moment.
func (s *Store) RoomRoutes(ctx context.Context, keys []postbox.RouteKey) ([]RoomRoute, map[postbox.ConversationID]*postbox.Members, error) {
	senders, rooms := make([]int64, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		senders[i], rooms[i] = int64(k.Sender), string(k.Room)
	}
	// A room is read once, whoever writes in it: its members come with the first.
	const look = `
		SELECT coalesce(c.id, 0), coalesce(c.public, false), coalesce(me.role, ''), coalesce(c.members, 0), m.users
		  FROM (SELECT *, row_number() OVER (PARTITION BY room ORDER BY ord) = 1 AS first
		          FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS k (sender_id, room, ord)) u
		  LEFT JOIN postbox.conversations c ON c.room = u.room AND c.deleted_at IS NULL
		  LEFT JOIN postbox.memberships me ON me.conversation_id = c.id AND me.user_id = u.sender_id AND me.left_seq IS NULL
		        AND EXISTS (SELECT FROM postbox.logs l WHERE l.id = u.sender_id)
		  LEFT JOIN LATERAL (SELECT array_agg(m.user_id ORDER BY m.user_id) AS users FROM postbox.memberships m
		                       JOIN postbox.logs l ON l.id = m.user_id -- not of those who were erased
		                      WHERE u.first AND m.conversation_id = c.id AND m.left_seq IS NULL) m ON true
		 ORDER BY u.ord`
	routes := make([]RoomRoute, 0, len(keys))
	members := make(map[postbox.ConversationID]*postbox.Members)
	err := s.archive.query(ctx, look, func(rows *sql.Rows) error {
		var r RoomRoute
		var version int64
		var users pq.Int64Array
		if err := rows.Scan(&r.Conversation, &r.Public, &r.Role, &version, &users); err != nil {
			return err
		}
		if users != nil {
			m := &postbox.Members{Version: version, Users: make([]postbox.UserID, len(users))}
			for i, u := range users {
				m.Users[i] = postbox.UserID(u)
			}
			members[r.Conversation] = m
		}
		routes = append(routes, r)
		return nil
	}, pq.Array(senders), pq.Array(rooms))
	return routes, members, away("look up rooms", err)
}

const roomColumns = `
	c.room, c.title, c.public, c.history, c.created_at,
	(SELECT count(*) FROM postbox.memberships m JOIN postbox.logs l ON l.id = m.user_id
	  WHERE m.conversation_id = c.id AND m.left_seq IS NULL)`

func scanRoom(rows *sql.Rows, r *postbox.RoomState) error {
	var at time.Time
	err := rows.Scan(&r.Name, &r.Title, &r.Public, &r.History, &at, &r.Members, &r.Role)
	r.CreatedAt = at.UTC()
	return err
}

// Room is a room as the user sees it: ErrNotFound if there is none, or it is
// private and the user is not in it.
func (s *Store) Room(ctx context.Context, user postbox.UserID, room postbox.Room) (postbox.RoomState, error) {
	const look = `
		SELECT ` + roomColumns + `, coalesce(me.role, '')
		  FROM postbox.conversations c
		  LEFT JOIN postbox.memberships me ON me.conversation_id = c.id AND me.user_id = $2 AND me.left_seq IS NULL
		 WHERE c.room = $1 AND c.deleted_at IS NULL AND (c.public OR me.role IS NOT NULL)`
	var r postbox.RoomState
	err := s.archive.query(ctx, look, func(rows *sql.Rows) error { return scanRoom(rows, &r) }, room, user)
	if err == nil && r.Name == "" {
		return r, postbox.Errorf(postbox.CodeNotFound, "there is no room %s", room)
	}
	return r, away("look up a room", err)
}

// Rooms lists at most limit rooms by name, from the one after `after` on: those
// that the user is in, or the public ones that the user is not in.
func (s *Store) Rooms(ctx context.Context, user postbox.UserID, public bool, after postbox.Room, limit int) ([]postbox.RoomState, error) {
	const mine = `
		SELECT ` + roomColumns + `, me.role
		  FROM postbox.memberships me
		  JOIN postbox.conversations c ON c.id = me.conversation_id
		 WHERE me.user_id = $1 AND me.left_seq IS NULL AND c.deleted_at IS NULL AND c.room > $2
		 ORDER BY c.room LIMIT $3`
	const others = `
		SELECT ` + roomColumns + `, ''
		  FROM postbox.conversations c
		 WHERE c.public AND c.deleted_at IS NULL AND c.room > $2
		   AND NOT EXISTS (SELECT FROM postbox.memberships me WHERE me.conversation_id = c.id AND me.user_id = $1 AND me.left_seq IS NULL)
		 ORDER BY c.room LIMIT $3`
	list := mine
	if public {
		list = others
	}
	var all []postbox.RoomState
	err := s.archive.query(ctx, list, func(rows *sql.Rows) error {
		var r postbox.RoomState
		err := scanRoom(rows, &r)
		all = append(all, r)
		return err
	}, user, after, limit)
	return all, away("list rooms", err)
}

// RoomMembers lists at most limit members of a room by name, from the one after
// `after` on, for one of them: how far each has read is left out for those who
// show it to nobody, or have blocked who asks. It is the user's to have asked
// Room before.
func (s *Store) RoomMembers(ctx context.Context, user postbox.UserID, room postbox.Room, after postbox.User, limit int) ([]postbox.Member, error) {
	// Whoever has sent one of the last messages has read up to there, as in
	// readPositions; all of them are found by one look.
	const list = `
		WITH c AS MATERIALIZED (
			SELECT c.id, coalesce((SELECT max(m.seq) FROM postbox.messages m WHERE m.conversation_id = c.id), 0) AS last
			  FROM postbox.conversations c WHERE c.room = $2 AND c.deleted_at IS NULL),
		sent AS MATERIALIZED (
			SELECT m.sender_id, max(m.seq) AS seq FROM c JOIN postbox.messages m
			    ON m.conversation_id = c.id AND m.seq > c.last - ` + lookBack + ` AND m.seq <= c.last
			 GROUP BY m.sender_id)
		SELECT u.name, m.role,
		       u.id = $1 OR u.receipts AND NOT EXISTS (SELECT FROM postbox.blocks b WHERE b.user_id = u.id AND b.blocked_id = $1),
		       greatest(k.read_seq, sent.seq, 0)
		  FROM c
		  JOIN postbox.memberships m ON m.conversation_id = c.id AND m.left_seq IS NULL
		  JOIN postbox.users u ON u.id = m.user_id AND u.name > $3 AND u.erased_at IS NULL
		  LEFT JOIN postbox.positions k ON k.conversation_id = c.id AND k.user_id = u.id
		  LEFT JOIN sent ON sent.sender_id = u.id
		 ORDER BY u.name LIMIT $4`
	var all []postbox.Member
	err := s.archive.query(ctx, list, func(rows *sql.Rows) error {
		var m postbox.Member
		err := rows.Scan(&m.Name, &m.Role, &m.Read, &m.ReadSeq)
		if !m.Read {
			m.ReadSeq = 0
		}
		all = append(all, m)
		return err
	}, user, room, after, limit)
	return all, away("list the members of a room", err)
}

// RoomPeople are those who are in a room; of one that was deleted all who ever
// were.
func (s *Store) RoomPeople(ctx context.Context, room postbox.Room) ([]Seen, error) {
	const look = `
		SELECT DISTINCT u.id, u.name, u.seen_at
		  FROM postbox.conversations c
		  JOIN postbox.memberships m ON m.conversation_id = c.id AND (m.left_seq IS NULL OR c.deleted_at IS NOT NULL)
		  JOIN postbox.users u ON u.id = m.user_id
		 WHERE c.room = $1`
	return s.seen(ctx, look, room)
}

// FillRoom makes a room of all these users, for load tests and for a demonstration:
// its members are who they are now, and nobody is told. One that there is already is
// left as it is.
func (s *Store) FillRoom(ctx context.Context, room postbox.Room, users []postbox.User) error {
	const fill = `
		WITH made AS (
			INSERT INTO postbox.conversations (room, members) VALUES ($1, 1) ON CONFLICT (room) DO NOTHING RETURNING id),
		log AS (INSERT INTO postbox.logs (id) SELECT id FROM made)
		INSERT INTO postbox.memberships (conversation_id, user_id, role, joined_seq)
		SELECT made.id, u.id, CASE WHEN u.name = ($2::text[])[1] THEN 'owner' ELSE 'member' END, 0
		  FROM made, postbox.users u WHERE u.name = ANY ($2::text[])`
	_, err := s.db.ExecContext(ctx, fill, room, pq.Array(texts(users)))
	return away("fill a room", err)
}
