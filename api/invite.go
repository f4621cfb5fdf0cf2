package api

import (
	"context"
	"time"

	"postbox"
)

// Limits of invitations.
const (
	maxNote       = 200 // bytes
	maxInviteUses = 10_000
	day           = 24 * 60 * 60 // seconds
	maxInviteLife = 366 * day
	inviteLife    = 7 * day
)

func inviteAddOperation() *operation {
	return forAdmins(Operation{
		Name: "invite.add", Summary: "Make an invitation", Creates: true,
		Doc: "Its code lets somebody register where registration is invite. It is shown this once.",
		Fields: []Field{
			numberField("uses", "how many accounts may be made with it; 1 if not given", 1, maxInviteUses),
			numberField("expires_in", "seconds until it is over; seven days if not given", 1, maxInviteLife),
			{Name: "note", Max: maxNote, check: checkDisplayName, Doc: "for administrators to remember"},
		},
		Reply: reply(must("code", stringSchema("for register")), must("invite", SchemaRef("Invite"))),
	}, (*API).addInvite)
}

func inviteListOperation() *operation {
	return forAdmins(Operation{
		Name: "invite.list", Summary: "List the invitations that can still be used", Reads: true,
		Reply: reply(
			must("invites", arrayOf("the newest first", SchemaRef("Invite"))),
			must("has_more", flagSchema("there are more, for which the reply had no room")),
		),
	}, (*API).listInvites)
}

func inviteRemoveOperation() *operation {
	return forAdmins(Operation{
		Name: "invite.remove", Summary: "Take an invitation back",
		Fields: []Field{required(numberField("id", "its number", 1, maxNumber))},
		Reply:  reply(must("id", countSchema("the one that is gone", 1))), Codes: []postbox.Code{postbox.CodeNotFound},
	}, (*API).removeInvite)
}

func inviteSchema() Schema {
	return closed("an invitation",
		must("id", countSchema("its number", 1)), must("note", stringSchema("")),
		must("uses", countSchema("how many accounts may be made with it", 1)), must("used", countSchema("how many were", 0)),
		must("created_at", timeSchema("")), must("expires_at", timeSchema("")),
	)
}

func (o *object) invite(i postbox.Invite) {
	o.number("id", i.ID)
	o.text("note", i.Note)
	o.number("uses", int64(i.Uses))
	o.number("used", int64(i.Used))
	o.moment("created_at", i.Created)
	o.moment("expires_at", i.Expires)
}

func (a *API) addInvite(ctx context.Context, c *call) error {
	uses, life := 1, time.Duration(inviteLife)
	if v := c.in.get("uses"); v.set {
		uses = int(v.n)
	}
	if v := c.in.get("expires_in"); v.set {
		life = time.Duration(v.n)
	}
	i, code, err := a.o.Invites.AddInvite(ctx, c.in.get("note").text, uses, life*time.Second)
	if err != nil {
		return err
	}
	c.created = true
	c.out.text("code", code)
	c.out.key("invite")
	item := object{buf: append(c.out.buf, '{')}
	item.invite(i)
	c.out.buf = item.end()
	return nil
}

func (a *API) listInvites(ctx context.Context, c *call) error {
	all, err := a.o.Invites.Invites(ctx)
	if err != nil {
		return err
	}
	var list items
	for _, i := range all {
		list.next()
		item := object{buf: append(list.buf, '{')}
		item.invite(i)
		list.buf = item.end()
		list.done()
	}
	hi := list.fit(c.room())
	c.out.list("invites", &list, 0, hi)
	c.out.flag("has_more", hi < list.len())
	return nil
}

func (a *API) removeInvite(ctx context.Context, c *call) error {
	id := c.in.get("id").n
	if err := a.o.Invites.RemoveInvite(ctx, id); err != nil {
		return err
	}
	c.out.number("id", id)
	return nil
}
