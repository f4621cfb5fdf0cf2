package api

import (
	"context"
	"slices"
	"time"

	"postbox"
)

func boundField(name, doc string) Field {
	return Field{Name: name, Kind: KindBound, Doc: doc}
}

func historyOperation() *operation {
	return &operation{Operation{
		Name: "history", Summary: "Read messages of a conversation", Reads: true,
		Doc: "Without a bound the latest; with before or after those on one side of it, with both those between, from after on; " +
			"with around those on both sides and itself. Messages show their present state: edited, or without a body and with retracted or expired.",
		Fields: append(place(),
			boundField("before", "older than this"),
			boundField("after", "newer than this"),
			boundField("around", "on both sides of this, with it"),
			limitField("messages"),
		),
		OneOf: [][]string{{"with", "room"}}, AtMostOne: [][]string{{"around", "before"}, {"around", "after"}},
		Reply: reply(
			must("messages", arrayOf("oldest first", SchemaRef("Message"))),
			must("has_before", flagSchema("there are older ones")),
			must("has_after", flagSchema("there are newer ones")),
		),
		Codes: []postbox.Code{postbox.CodeNotFound},
	}, (*API).history}
}

func (a *API) history(ctx context.Context, c *call) error {
	p, err := a.place(ctx, c)
	if err != nil {
		return err
	}
	r := postbox.PageRequest{
		Before: c.in.get("before").bound, After: c.in.get("after").bound, Around: c.in.get("around").bound, Limit: c.limit(),
	}
	page, err := a.o.Archive.Page(ctx, p, r)
	if err != nil {
		return err
	}
	now := a.o.Now()
	if c.room() == 0 {
		c.out.whole(page, c.caller, now)
		return nil
	}
	var list items
	list.buf = make([]byte, 0, sizeOf(page.Messages))
	for _, m := range page.Messages {
		list.next()
		list.buf = postbox.AppendMessage(list.buf, m, m.Sender == c.caller.ID, now)
		list.done()
	}
	lo, hi := cut(&list, c.room(), r, page.Messages)
	if lo == hi && len(page.Messages) > 0 {
		// Not even one has room: it goes without its body.
		lo = anchor(r, page.Messages)
		hi = lo + 1
		list.withoutBody(page.Messages[lo], c.caller, now)
		c.out.page(&list, 0, 1, page.HasBefore || lo > 0, page.HasAfter || hi < len(page.Messages))
		return nil
	}
	c.out.buf = make([]byte, 0, list.size(lo, hi)+128)
	c.out.page(&list, lo, hi, page.HasBefore || lo > 0, page.HasAfter || hi < list.len())
	return nil
}

// whole is a page for a caller who takes any size: it is written once, where it
// stays.
func (o *object) whole(page postbox.Page, caller Caller, now time.Time) {
	o.buf, o.borrowed = pageBuffer(sizeOf(page.Messages)+128), true
	o.key("messages")
	o.buf = append(o.buf, '[')
	for i, m := range page.Messages {
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = postbox.AppendMessage(o.buf, m, m.Sender == caller.ID, now)
	}
	o.buf = append(o.buf, ']')
	o.flag("has_before", page.HasBefore)
	o.flag("has_after", page.HasAfter)
}

// withoutBody leaves one message in the list, without its body.
func (i *items) withoutBody(m *postbox.Message, caller Caller, now time.Time) {
	own := m.Sender == caller.ID
	size := len(postbox.AppendMessage(nil, m, own, now))
	i.buf, i.ends = postbox.AppendMessageTooLarge(i.buf[:0], m, own, now, size), i.ends[:0]
	i.done()
}

func (o *object) page(list *items, lo, hi int, before, after bool) {
	o.list("messages", list, lo, hi)
	o.flag("has_before", before)
	o.flag("has_after", after)
}

// sizeOf is about how many bytes messages take as JSON.
func sizeOf(messages []*postbox.Message) int {
	n := 0
	for _, m := range messages {
		n += 320 + len(m.Body) + len(m.Ref) + len(m.Body)/8
	}
	return n
}

// cut finds the messages that fit: those nearest to where the page begins.
func cut(list *items, room int, r postbox.PageRequest, messages []*postbox.Message) (lo, hi int) {
	lo, hi = 0, list.len()
	if room == 0 || list.size(lo, hi) <= room {
		return lo, hi
	}
	at := anchor(r, messages)
	for hi > lo && list.size(lo, hi) > room {
		if hi-1-at > at-lo {
			hi--
		} else if lo < at {
			lo++
		} else {
			hi--
		}
	}
	return lo, hi
}

// anchor is the message of a page that goes last when there is no room.
func anchor(r postbox.PageRequest, messages []*postbox.Message) int {
	switch {
	case r.Around.Set:
		i := slices.IndexFunc(messages, func(m *postbox.Message) bool {
			switch {
			case !r.Around.Time.IsZero():
				return !m.SentAt.Before(r.Around.Time)
			case r.Around.ID != postbox.MessageID{}:
				return m.ID == r.Around.ID
			}
			return m.Seq >= r.Around.Seq
		})
		if i >= 0 {
			return i
		}
		return len(messages) - 1
	case r.After.Set:
		return 0
	}
	return len(messages) - 1
}

// place finds the conversation that a request names.
func (a *API) place(ctx context.Context, c *call) (postbox.Place, error) {
	return a.o.Archive.Place(ctx, c.caller.ID, postbox.User(c.in.get("with").text), postbox.Room(c.in.get("room").text))
}

// limit is how many items a request asks for.
func (c *call) limit() int {
	if v := c.in.get("limit"); v.set {
		return int(v.n)
	}
	return defaultLimit
}

// room is how many bytes the items of a list may take; zero: no bound.
func (c *call) room() int {
	if c.caller.MaxReply == 0 {
		return 0
	}
	// What stands around them, and the request_id, which may be escaped.
	around := 256 + len(postbox.AppendString(nil, c.in.get("request_id").text))
	return max(c.caller.MaxReply-around, 1)
}
