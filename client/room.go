package client

import (
	"context"
	"iter"
	"time"

	"postbox"
)

// Room is a room as the user sees it.
type Room struct {
	Name      postbox.Room    `json:"room"`
	Title     string          `json:"title"`
	Public    bool            `json:"public"`       // everybody may join
	History   postbox.History `json:"history"`      // what a member may read
	Role      postbox.Role    `json:"role"`         // the user's; empty: not in it
	Members   int             `json:"member_count"` // how many there are
	CreatedAt time.Time       `json:"created_at"`
}

// Member is somebody in a room.
type Member struct {
	User postbox.User `json:"user"`
	Role postbox.Role `json:"role"`
	// ReadSeq is how far they have read; nil if they show it to nobody.
	ReadSeq *postbox.Seq `json:"read_seq"`
}

// RoomSettings are a room's; nil means private, with all history and without a
// title when it is made, and as it is when it is changed.
type RoomSettings struct {
	Title   *string          `json:"title,omitempty"` // free text, at most 128 bytes
	Public  *bool            `json:"public,omitempty"`
	History *postbox.History `json:"history,omitempty"`
}

// roomRequest is what most operations on rooms ask for.
type roomRequest struct {
	Room postbox.Room `json:"room"`
	RoomSettings
	User postbox.User `json:"user,omitempty"`
	Role postbox.Role `json:"role,omitempty"`
}

func (c *Client) room(ctx context.Context, operation string, request roomRequest) (Room, error) {
	var r Room
	err := c.Call(ctx, operation, request, &r)
	return r, err
}

// CreateRoom makes a room, whose owner is the user. A name that is taken is
// ErrConflict.
func (c *Client) CreateRoom(ctx context.Context, room postbox.Room, s RoomSettings) (Room, error) {
	return c.room(ctx, "room.create", roomRequest{Room: room, RoomSettings: s})
}

// Room looks at a room. One that is private, and the user not in it, is
// ErrNotFound.
func (c *Client) Room(ctx context.Context, room postbox.Room) (Room, error) {
	return c.room(ctx, "room.get", roomRequest{Room: room})
}

// UpdateRoom changes what is set in s; for owners and admins.
func (c *Client) UpdateRoom(ctx context.Context, room postbox.Room, s RoomSettings) (Room, error) {
	return c.room(ctx, "room.update", roomRequest{Room: room, RoomSettings: s})
}

// DeleteRoom deletes a room with its history; for owners. Its name stays taken.
func (c *Client) DeleteRoom(ctx context.Context, room postbox.Room) error {
	return c.doOnce(ctx, "room.delete", roomRequest{Room: room})
}

// JoinRoom joins a public room, as a member.
func (c *Client) JoinRoom(ctx context.Context, room postbox.Room) (Room, error) {
	return c.room(ctx, "room.join", roomRequest{Room: room})
}

// LeaveRoom leaves a room. The last owner cannot: ErrForbidden.
func (c *Client) LeaveRoom(ctx context.Context, room postbox.Room) error {
	return c.Call(ctx, "room.leave", roomRequest{Room: room}, nil)
}

// AddMember adds a user to a room; for owners and admins. An empty role is
// member. Who takes no messages from the user cannot be added: ErrForbidden; who
// is in it with another role is ErrConflict.
func (c *Client) AddMember(ctx context.Context, room postbox.Room, user postbox.User, role postbox.Role) (Room, error) {
	return c.room(ctx, "room.add", roomRequest{Room: room, User: user, Role: role})
}

// RemoveMember removes a user from a room; for owners and admins.
func (c *Client) RemoveMember(ctx context.Context, room postbox.Room, user postbox.User) (Room, error) {
	return c.room(ctx, "room.remove", roomRequest{Room: room, User: user})
}

// SetRole gives a member another role; for owners and admins.
func (c *Client) SetRole(ctx context.Context, room postbox.Room, user postbox.User, role postbox.Role) (Room, error) {
	return c.room(ctx, "room.role", roomRequest{Room: room, User: user, Role: role})
}

// Members lists who is in a room that the user is in, by name. It asks for a page
// at a time, and ends at the first error, which it yields.
func (c *Client) Members(ctx context.Context, room postbox.Room) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		var after postbox.User
		for {
			request := struct {
				Room  postbox.Room `json:"room"`
				After postbox.User `json:"after,omitempty"`
				Limit int          `json:"limit"`
			}{room, after, pageSize}
			var reply struct {
				Members []Member `json:"members"`
				HasMore bool     `json:"has_more"`
			}
			err := c.Call(ctx, "room.get", request, &reply)
			if !yieldAll(reply.Members, err, yield) || !reply.HasMore || len(reply.Members) == 0 {
				return
			}
			after = reply.Members[len(reply.Members)-1].User
		}
	}
}

// Rooms lists the rooms that the user is in, by name; or, with public, the public
// ones that the user is not in. It asks for a page at a time, and ends at the
// first error, which it yields.
func (c *Client) Rooms(ctx context.Context, public bool) iter.Seq2[Room, error] {
	return func(yield func(Room, error) bool) {
		var after postbox.Room
		for {
			request := struct {
				Public bool         `json:"public"`
				After  postbox.Room `json:"after,omitempty"`
				Limit  int          `json:"limit"`
			}{public, after, pageSize}
			var reply struct {
				Rooms   []Room `json:"rooms"`
				HasMore bool   `json:"has_more"`
			}
			err := c.Call(ctx, "room.list", request, &reply)
			if !yieldAll(reply.Rooms, err, yield) || !reply.HasMore || len(reply.Rooms) == 0 {
				return
			}
			after = reply.Rooms[len(reply.Rooms)-1].Name
		}
	}
}
