package api

import (
	"context"

	"postbox"
)

// Rooms reads what is known of rooms, as far as the user may see it.
type Rooms interface {
	// Room is one room: ErrNotFound if there is none, or it is private and the
	// user is not in it.
	Room(ctx context.Context, user postbox.UserID, room postbox.Room) (postbox.RoomState, error)
	// Rooms lists at most limit rooms by name, from the one after `after` on: those
	// that the user is in, or the public ones that the user is not in.
	Rooms(ctx context.Context, user postbox.UserID, public bool, after postbox.Room, limit int) ([]postbox.RoomState, error)
	// RoomMembers lists at most limit members of a room that the user is in, by
	// name, from the one after `after` on.
	RoomMembers(ctx context.Context, user postbox.UserID, room postbox.Room, after postbox.User, limit int) ([]postbox.Member, error)
}

var (
	roleNames    = []string{string(postbox.RoleOwner), string(postbox.RoleAdmin), string(postbox.RoleMember), string(postbox.RoleReader)}
	historyNames = []string{string(postbox.HistoryAll), string(postbox.HistoryJoined)}
)

var roomCodes = []postbox.Code{postbox.CodeForbidden, postbox.CodeNotFound, postbox.CodeConflict}

func namedRoom() Field { return required(roomField("room", "the room")) }

func roomSettings() []Field {
	return []Field{
		{Name: "title", Max: maxDisplayName, check: checkDisplayName, Doc: "free text"},
		{Name: "public", Kind: KindFlag, Doc: "everybody may see that it is there, and join"},
		{Name: "history", Enum: historyNames, Doc: "what a member may read: all, or what is said while they are in it (joined)"},
	}
}

func roomOperations() []*operation {
	user := func(doc string) Field { return required(userField("user", doc)) }
	role := func(doc string) Field { return Field{Name: "role", Enum: roleNames, Doc: doc} }
	change := func(name, summary, doc string, what postbox.RoomAct, fields ...Field) *operation {
		return &operation{Operation{
			Name: name, Summary: summary, Doc: doc, Fields: append([]Field{namedRoom()}, fields...),
			Reply: reply(roomMembers()...), Codes: roomCodes,
		}, func(a *API, ctx context.Context, c *call) error { return a.changeRoom(ctx, c, what) }}
	}
	parting := func(name, summary, doc string, what postbox.RoomAct) *operation {
		o := change(name, summary, doc, what)
		o.Reply = reply(must("room", nameSchema("")))
		return o
	}
	create := change("room.create", "Make a room", "The caller is its owner. Private, with all history, if nothing else is said.",
		postbox.RoomCreated, roomSettings()...)
	create.Creates, create.Again = true, true
	return []*operation{
		create, getRoomOperation(), listRoomsOperation(),
		change("room.update", "Change a room's title, who may join, and what its members may read", "For owners and admins. What is not given stays as it is.",
			postbox.RoomUpdated, roomSettings()...),
		parting("room.delete", "Delete a room", "For owners. Its history is gone, its name stays taken.", postbox.RoomDeleted),
		change("room.join", "Join a public room", "", postbox.RoomJoined),
		parting("room.leave", "Leave a room", "The last owner makes somebody else one first, or deletes it.", postbox.RoomLeft),
		change("room.add", "Add somebody to a room", "For owners and admins. Who takes no messages from the caller cannot be added.",
			postbox.RoomAdded, user("whom"), role("member if it is not given; only an owner adds owners and admins")),
		change("room.remove", "Remove somebody from a room", "For owners and admins; only an owner removes owners and admins.",
			postbox.RoomRemoved, user("whom")),
		change("room.role", "Give a member another role", "For owners and admins; only an owner makes and unmakes owners and admins.",
			postbox.RoomRole, user("whom"), required(role("the new one"))),
	}
}

func getRoomOperation() *operation {
	members := append(roomMembers(),
		may("members", arrayOf("by name; for members of the room", SchemaRef("Member"))),
		may("has_more", flagSchema("there are more: ask again with after, the last name")))
	return &operation{Operation{
		Name: "room.get", Summary: "Look at a room and its members", Reads: true,
		Doc:    "Of a public room those who are not in it see all but the members.",
		Fields: []Field{namedRoom(), userField("after", "go on with the members after this one"), limitField("members")},
		Reply:  reply(members...), Codes: []postbox.Code{postbox.CodeNotFound},
	}, (*API).getRoom}
}

func listRoomsOperation() *operation {
	return &operation{Operation{
		Name: "room.list", Summary: "List rooms by name", Reads: true,
		Doc: "Those that the caller is in; with public those that the caller may join.",
		Fields: []Field{
			{Name: "public", Kind: KindFlag, Doc: "the public rooms that the caller is not in"},
			roomField("after", "go on with the rooms after this one"), limitField("rooms"),
		},
		Reply: reply(must("rooms", arrayOf("by name", SchemaRef("Room"))), must("has_more", flagSchema("there are more: ask again with after, the last name"))),
	}, (*API).listRooms}
}

// changeRoom does what changes a room; its reply is the room as it is then.
func (a *API) changeRoom(ctx context.Context, c *call, what postbox.RoomAct) error {
	room := postbox.Room(c.in.get("room").text)
	ask := &postbox.RoomChange{User: c.caller.Name}
	switch what {
	case postbox.RoomCreated, postbox.RoomUpdated:
		if v := c.in.get("title"); v.set {
			ask.Title = &v.text
		}
		if v := c.in.get("public"); v.set {
			ask.Public = &v.flag
		}
		if v := c.in.get("history"); v.set {
			history := postbox.History(v.text)
			ask.History = &history
		}
	case postbox.RoomAdded, postbox.RoomRole:
		ask.User, ask.Role = postbox.User(c.in.get("user").text), postbox.Role(c.in.get("role").text)
	case postbox.RoomRemoved:
		ask.User = postbox.User(c.in.get("user").text)
	}
	change := &postbox.Change{
		Type: postbox.EntryRoom, Actor: c.caller.ID, Room: ask,
		Event: postbox.Event{ID: newID(), From: c.caller.Name, Room: room, Change: &postbox.RoomEvent{What: what}},
	}
	if err := a.o.Writer.Change(ctx, change); err != nil {
		return err
	}
	if change.Refusal != nil {
		return change.Refusal
	}
	c.created = what == postbox.RoomCreated && !change.Room.Nothing
	if what == postbox.RoomLeft || what == postbox.RoomDeleted {
		c.out.text("room", string(room))
		return nil
	}
	r, err := a.o.Rooms.Room(ctx, c.caller.ID, room)
	if err != nil {
		return err // the caller was removed at once
	}
	c.out.room(r)
	return nil
}

func (o *object) room(r postbox.RoomState) {
	o.text("room", string(r.Name))
	o.text("title", r.Title)
	o.flag("public", r.Public)
	o.text("history", string(r.History))
	if r.Role != "" {
		o.text("role", string(r.Role))
	}
	o.number("member_count", int64(r.Members))
	o.moment("created_at", r.CreatedAt)
}

func (a *API) getRoom(ctx context.Context, c *call) error {
	name := postbox.Room(c.in.get("room").text)
	r, err := a.o.Rooms.Room(ctx, c.caller.ID, name)
	if err != nil {
		return err
	}
	c.out.room(r)
	if r.Role == "" {
		return nil
	}
	limit := c.limit()
	members, err := a.o.Rooms.RoomMembers(ctx, c.caller.ID, name, postbox.User(c.in.get("after").text), limit+1)
	if err != nil {
		return err
	}
	var list items
	for _, m := range members[:min(limit, len(members))] {
		list.next()
		item := object{buf: append(list.buf, '{')}
		item.text("user", string(m.Name))
		item.text("role", string(m.Role))
		if m.Read {
			item.number("read_seq", int64(m.ReadSeq))
		}
		list.buf = item.end()
		list.done()
	}
	hi := list.fit(c.roomBeside(len(c.out.buf)))
	c.out.list("members", &list, 0, hi)
	c.out.flag("has_more", len(members) > limit || hi < list.len())
	return nil
}

// roomBeside is room less what stands in the reply already.
func (c *call) roomBeside(taken int) int {
	if c.room() == 0 {
		return 0
	}
	return max(c.room()-taken, 1)
}

func (a *API) listRooms(ctx context.Context, c *call) error {
	limit := c.limit()
	rooms, err := a.o.Rooms.Rooms(ctx, c.caller.ID, c.in.get("public").flag, postbox.Room(c.in.get("after").text), limit+1)
	if err != nil {
		return err
	}
	var list items
	for _, r := range rooms[:min(limit, len(rooms))] {
		list.next()
		item := object{buf: append(list.buf, '{')}
		item.room(r)
		list.buf = item.end()
		list.done()
	}
	hi := list.fit(c.room())
	c.out.list("rooms", &list, 0, hi)
	c.out.flag("has_more", len(rooms) > limit || hi < list.len())
	return nil
}

// roomMembers are the members of a room's schema.
func roomMembers() []member {
	return []member{
		must("room", nameSchema("its name")), must("title", stringSchema("free text; empty if there is none")),
		must("public", flagSchema("everybody may join")),
		must("history", about("what a member may read", Schema{"type": "string", "enum": historyNames})),
		may("role", about("the caller's; not there if the caller is not in it", Schema{"type": "string", "enum": roleNames})),
		must("member_count", countSchema("how many are in it", 0)),
		must("created_at", timeSchema("when it was made")),
	}
}

func roomSchema() Schema { return closed("a room as the caller sees it", roomMembers()...) }

func memberSchema() Schema {
	return closed("somebody in a room",
		must("user", nameSchema("")), must("role", Schema{"type": "string", "enum": roleNames}),
		may("read_seq", countSchema("how far they have read; not there if they show it to nobody", 0)))
}
