package api

import (
	"context"

	"postbox"
)

func conversationsOperation() *operation {
	return &operation{Operation{
		Name: "conversations", Summary: "List the conversations", Reads: true,
		Doc: "Those with the newest last message first; rooms without a message come last, by name.",
		Fields: []Field{
			limitField("conversations"),
			idField("before", "go on: the id of the last message of the last conversation of the page before"),
			roomField("after_room", "go on among the rooms without a message: the last one of the page before"),
		},
		Reply: reply(
			must("conversations", arrayOf("newest first", SchemaRef("Conversation"))),
			must("has_more", flagSchema("there are older ones")),
		),
		Codes: []postbox.Code{postbox.CodeNotFound},
	}, (*API).conversations}
}

func (a *API) conversations(ctx context.Context, c *call) error {
	from := postbox.ListBound{AfterRoom: postbox.Room(c.in.get("after_room").text)}
	if v := c.in.get("before"); v.set {
		from.Before, _ = postbox.ParseMessageID(v.text) // its form was checked
	}
	limit := c.limit()
	all, err := a.o.Archive.Conversations(ctx, c.caller.ID, from, limit+1)
	if err != nil {
		return err
	}
	more, now := len(all) > limit, a.o.Now()
	var list items
	for i := range all[:min(limit, len(all))] {
		list.next()
		item := object{buf: append(list.buf, '{')}
		item.summary(&all[i])
		if last := all[i].Last; last != nil {
			item.key("last")
			began := len(item.buf)
			item.buf = postbox.AppendMessage(item.buf, last, last.Sender == c.caller.ID, now)
			if size := len(item.buf) - began; i == 0 && c.room() > 0 && len(item.buf) >= c.room() {
				item.buf = postbox.AppendMessageTooLarge(item.buf[:began], last, last.Sender == c.caller.ID, now, size)
			}
		}
		list.buf = item.end()
		list.done()
	}
	hi := list.fit(c.room())
	c.out.list("conversations", &list, 0, hi)
	c.out.flag("has_more", more || hi < list.len())
	return nil
}

func (o *object) summary(s *postbox.Summary) {
	if s.Room != "" {
		o.text("room", string(s.Room))
	} else {
		o.text("with", string(s.With))
	}
	o.number("unread", int64(s.Unread))
	o.number("read_seq", int64(s.ReadSeq))
	if s.Room == "" {
		o.key("peer")
		o.buf = append(o.buf, '{')
		o.number("delivered_seq", int64(s.PeerDelivered))
		o.number("read_seq", int64(s.PeerRead))
		o.buf = append(o.buf, '}')
	}
}

// fit is how many items from the first on have room.
func (i *items) fit(room int) int {
	hi := i.len()
	for room > 0 && hi > 0 && i.size(0, hi) > room {
		hi--
	}
	return hi
}
