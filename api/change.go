package api

import (
	"context"

	"postbox"
)

// changeReply is the reply of edit and retract.
func changeReply(entry string) Schema {
	return reply(
		must("entry", SchemaRef(entry)),
		must("duplicate", flagSchema("it was done before, under the same key")),
	)
}

var changeCodes = []postbox.Code{postbox.CodeForbidden, postbox.CodeNotFound, postbox.CodeConflict}

func editOperation(l Limits) *operation {
	return &operation{Operation{
		Name: "edit", Summary: "Replace the body of an own message",
		Fields: []Field{
			required(idField("id", "the message")),
			{Name: "body", Max: int64(l.Body), TooLarge: true, Doc: "the new body, as text"},
			{Name: "body_base64", Kind: KindBytes, Max: int64(l.Body), TooLarge: true, Doc: "or any bytes"},
			keyField(),
		},
		OneOf: [][]string{{"body", "body_base64"}},
		Reply: changeReply("EditEntry"), Codes: changeCodes,
	}, (*API).edit}
}

func retractOperation() *operation {
	return &operation{Operation{
		Name: "retract", Summary: "Take a message back",
		Doc:    "An own one; a room's admin may take back any of the room. A tombstone stays in its place.",
		Fields: []Field{required(idField("id", "the message")), keyField()},
		Reply:  changeReply("RetractEntry"), Codes: changeCodes,
	}, (*API).retract}
}

func (a *API) edit(ctx context.Context, c *call) error {
	body := c.body()
	return a.change(ctx, c, &postbox.Change{
		Type: postbox.EntryEdit, Body: body,
		Digest: postbox.DigestOf("edit/"+c.in.get("id").text, "", "", 0, body),
	})
}

func (a *API) retract(ctx context.Context, c *call) error {
	return a.change(ctx, c, &postbox.Change{
		Type: postbox.EntryRetract, Digest: postbox.DigestOf("retract/"+c.in.get("id").text, "", "", 0, nil),
	})
}

func (a *API) change(ctx context.Context, c *call, change *postbox.Change) error {
	target, err := postbox.ParseMessageID(c.in.get("id").text)
	if err != nil {
		return err
	}
	change.Actor, change.Target = c.caller.ID, target
	change.Event = postbox.Event{ID: newID(), From: c.caller.Name, Of: target, Key: c.in.get("idempotency_key").text}
	if err := a.o.Writer.Change(ctx, change); err != nil {
		return err
	}
	if change.Refusal != nil {
		return change.Refusal
	}
	e := &postbox.Entry{
		InboxSeq: change.InboxSeqOf(c.caller.ID), Type: change.Type,
		Message: change.Message, Event: &change.Event, Own: true,
	}
	v := postbox.View{Epoch: a.o.Epoch, After: e.InboxSeq - 1, Now: a.o.Now()}
	c.out.key("entry")
	began := len(c.out.buf)
	c.out.buf = postbox.AppendEnvelope(c.out.buf, e, v)
	if size := len(c.out.buf) - began; c.room() > 0 && size > c.room() {
		v.TooLarge = size
		c.out.buf = postbox.AppendEnvelope(c.out.buf[:began], e, v)
	}
	c.out.flag("duplicate", change.Duplicate)
	return nil
}
