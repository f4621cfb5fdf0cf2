package api

import (
	"context"

	"postbox"
)

func blocksReply() Schema {
	return reply(
		must("users", arrayOf("whom the caller blocks, by name", Schema{"type": "string", "pattern": namePattern})),
		must("has_more", flagSchema("there are more, for which the reply had no room")),
	)
}

func blockOperation() *operation {
	return &operation{Operation{
		Name: "block", Summary: "Take no messages of a user any more",
		Fields: []Field{required(userField("user", "whom"))},
		Reply:  blocksReply(), Codes: []postbox.Code{postbox.CodeNotFound},
	}, (*API).block}
}

func unblockOperation() *operation {
	return &operation{Operation{
		Name: "unblock", Summary: "End a block",
		Fields: []Field{required(userField("user", "whom"))},
		Reply:  blocksReply(), Codes: []postbox.Code{postbox.CodeNotFound},
	}, (*API).unblock}
}

func blocksOperation() *operation {
	return &operation{Operation{
		Name: "blocks", Summary: "List whom the caller blocks", Reads: true, Reply: blocksReply(),
	}, (*API).blocks}
}

func (a *API) block(ctx context.Context, c *call) error   { return a.setBlock(ctx, c, true) }
func (a *API) unblock(ctx context.Context, c *call) error { return a.setBlock(ctx, c, false) }

func (a *API) setBlock(ctx context.Context, c *call, blocked bool) error {
	other := postbox.User(c.in.get("user").text)
	if other == c.caller.Name {
		return postbox.Errorf(postbox.CodeInvalid, "user: nobody blocks themself")
	}
	if err := a.o.People.SetBlock(ctx, c.caller.ID, other, blocked); err != nil {
		return err
	}
	return a.blocks(ctx, c)
}

func (a *API) blocks(ctx context.Context, c *call) error {
	all, err := a.o.People.Blocks(ctx, c.caller.ID)
	if err != nil {
		return err
	}
	var list items
	for _, name := range all {
		list.next()
		list.buf = postbox.AppendString(list.buf, name)
		list.done()
	}
	hi := list.fit(c.room())
	c.out.list("users", &list, 0, hi)
	c.out.flag("has_more", hi < list.len())
	return nil
}
