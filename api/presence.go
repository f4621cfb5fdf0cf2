package api

import (
	"context"

	"postbox"
)

func presenceOperation() *operation {
	return &operation{Operation{
		Name: "presence", Summary: "Ask who has a device connected", Reads: true,
		Doc:    "Of those whom the caller may see: who share a room with the caller, or have themselves written to the caller. Others are left out.",
		Fields: []Field{usersField("of whom")},
		Reply: reply(
			must("presence", arrayOf("in the order of the request", SchemaRef("Presence"))),
			must("has_more", flagSchema("there are more, for which the reply had no room")),
		),
	}, (*API).presence}
}

func (a *API) presence(ctx context.Context, c *call) error {
	names := c.users()
	found, err := a.o.Presence.Presence(ctx, c.caller.ID, names)
	if err != nil {
		return err
	}
	of := make(map[postbox.User]postbox.PresenceState, len(found))
	for _, p := range found {
		of[p.User] = p
	}
	var list items
	for _, name := range names {
		p, ok := of[name]
		if !ok {
			continue
		}
		list.next()
		item := object{buf: append(list.buf, '{')}
		item.text("user", string(p.User))
		item.flag("online", p.Online)
		item.moment("last_seen", p.LastSeen)
		list.buf = item.end()
		list.done()
	}
	hi := list.fit(c.room())
	c.out.list("presence", &list, 0, hi)
	c.out.flag("has_more", hi < list.len())
	return nil
}
