package broker

import (
	"context"
	"fmt"

	"postbox"
	"postbox/auth"
	"postbox/store"
)

// rooms finds the routes to rooms.
func (r *router) rooms(ctx context.Context, keys []postbox.RouteKey) ([]postbox.Route, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	found, members, err := r.store.RoomRoutes(ctx, keys)
	if err != nil {
		return nil, err
	}
	if len(found) != len(keys) {
		return nil, fmt.Errorf("look up rooms: %d answers to %d questions", len(found), len(keys))
	}
	routes := make([]postbox.Route, len(keys))
	for i, f := range found {
		s := auth.Standing{Room: keys[i].Room, Exists: f.Conversation != 0, Public: f.Public, Role: f.Role}
		if _, err := auth.InRoom(postbox.RoomSend, s, auth.Subject{}); err != nil {
			routes[i].Refusal = postbox.AsError(err)
			continue
		}
		routes[i].Conversation, routes[i].Room = f.Conversation, members[f.Conversation]
	}
	return routes, nil
}

// Decide implements inbox.Router: whether a room may be changed as asked for, and
// what then holds.
func (r *router) Decide(ctx context.Context, c *postbox.Change) error {
	ask, e := c.Room, c.Event.Change
	f, err := r.store.RoomFacts(ctx, c.Event.Room, c.Actor, ask.User)
	if err != nil {
		return err
	}
	wanted := ask.Role
	if wanted == "" {
		wanted = postbox.RoleMember
	}
	created := e.What == postbox.RoomCreated
	s := auth.Standing{
		Room: c.Event.Room, Exists: f.Conversation != 0, Deleted: f.Deleted, Public: f.Public, Role: f.Role, Was: f.Was,
		Owners: f.Owners, Members: f.Members, Limit: r.limit,
		Same: created && f.Role == postbox.RoleOwner && sameRoom(ask, f),
	}
	m := auth.Subject{
		Recipient: auth.Recipient{
			User: ask.User, Exists: f.User != 0, Erased: f.Erased, Accept: auth.Accept(f.Accept), Blocked: f.Blocked, Knows: f.Known,
		},
		Self: f.User == c.Actor, Role: f.UserRole, Was: f.UserWas, Wanted: wanted,
	}
	nothing, err := auth.InRoom(e.What, s, m)
	if err != nil {
		c.Refusal = postbox.AsError(err)
		return nil
	}
	c.Conversation, ask.Version = f.Conversation, f.Version
	ask.UserID = f.User
	*e = postbox.RoomEvent{What: e.What}
	switch e.What {
	case postbox.RoomCreated:
		e.User, e.Role, ask.UserID = ask.User, postbox.RoleOwner, c.Actor
		e.Title, e.Public, e.History = settings(ask, "", false, postbox.HistoryAll)
	case postbox.RoomUpdated:
		ask.UserID = 0
		e.Title, e.Public, e.History = settings(ask, f.Title, f.Public, f.History)
		nothing = e.Title == f.Title && e.Public == f.Public && e.History == f.History
	case postbox.RoomDeleted:
		ask.UserID = 0
	case postbox.RoomJoined:
		e.User, e.Role = ask.User, postbox.RoleMember
	case postbox.RoomAdded, postbox.RoomRole:
		e.User, e.Role = ask.User, wanted
	default:
		e.User = ask.User
	}
	ask.Nothing = nothing
	return nil
}

// settings are those of a room after what was asked for.
func settings(ask *postbox.RoomChange, title string, public bool, history postbox.History) (string, bool, postbox.History) {
	if ask.Title != nil {
		title = *ask.Title
	}
	if ask.Public != nil {
		public = *ask.Public
	}
	if ask.History != nil {
		history = *ask.History
	}
	return title, public, history
}

func sameRoom(ask *postbox.RoomChange, f store.RoomFacts) bool {
	title, public, history := settings(ask, "", false, postbox.HistoryAll)
	return title == f.Title && public == f.Public && history == f.History
}
