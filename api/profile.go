package api

import (
	"context"

	"postbox"
)

// acceptNames are from whom a user may take messages.
var acceptNames = []string{"everyone", "known", "nobody"}

func profileReply() Schema {
	members := profileSchema()["properties"].(Schema)
	var all []member
	for _, name := range []string{"user", "display_name", "receipts", "accept", "admin"} {
		all = append(all, must(name, members[name].(Schema)))
	}
	return reply(all...)
}

func meOperation() *operation {
	return &operation{Operation{
		Name: "me", Summary: "Read the own profile", Reads: true, Reply: profileReply(),
	}, (*API).me}
}

func updateOperation() *operation {
	return &operation{Operation{
		Name: "me.update", Summary: "Change the own profile", Doc: "What is not given stays as it is.",
		Fields: []Field{
			{Name: "display_name", Max: maxDisplayName, check: checkDisplayName, Doc: "free text"},
			{Name: "receipts", Kind: KindFlag, Doc: "others see how far the caller has read"},
			{Name: "accept", Enum: acceptNames, Doc: "from whom the caller takes messages"},
		},
		Reply: profileReply(),
	}, (*API).update}
}

func profileOperation() *operation {
	return &operation{Operation{
		Name: "profile", Summary: "Read what others show of themselves", Reads: true,
		Doc:    "Names that do not exist are left out.",
		Fields: []Field{usersField("whose")},
		Reply: reply(
			must("profiles", arrayOf("in the order of the request", SchemaRef("Person"))),
			must("has_more", flagSchema("there are more, for which the reply had no room")),
		),
	}, (*API).profile}
}

func (a *API) me(ctx context.Context, c *call) error {
	p, err := a.o.People.Profile(ctx, c.caller.ID)
	if err != nil {
		return err
	}
	c.out.profile(p)
	return nil
}

func (a *API) update(ctx context.Context, c *call) error {
	var change postbox.ProfileChange
	if v := c.in.get("display_name"); v.set {
		change.DisplayName = &v.text
	}
	if v := c.in.get("receipts"); v.set {
		change.Receipts = &v.flag
	}
	if v := c.in.get("accept"); v.set {
		change.Accept = &v.text
	}
	p, err := a.o.People.UpdateProfile(ctx, c.caller.ID, change)
	if err != nil {
		return err
	}
	c.out.profile(p)
	return nil
}

func (o *object) profile(p postbox.Profile) {
	o.text("user", string(p.Name))
	o.text("display_name", p.DisplayName)
	o.flag("receipts", p.Receipts)
	o.text("accept", p.Accept)
	o.flag("admin", p.Admin)
}

func (a *API) profile(ctx context.Context, c *call) error {
	names := c.users()
	found, err := a.o.People.Profiles(ctx, names)
	if err != nil {
		return err
	}
	of := make(map[postbox.User]postbox.Profile, len(found))
	for _, p := range found {
		of[p.Name] = p
	}
	var list items
	for _, name := range names {
		p, ok := of[name]
		if !ok {
			continue
		}
		list.next()
		item := object{buf: append(list.buf, '{')}
		item.text("user", string(p.Name))
		item.text("display_name", p.DisplayName)
		list.buf = item.end()
		list.done()
	}
	hi := list.fit(c.room())
	c.out.list("profiles", &list, 0, hi)
	c.out.flag("has_more", hi < list.len())
	return nil
}

// users are the names of a request, each once, in their order.
func (c *call) users() []postbox.User {
	given := c.in.get("users").names
	seen := make(map[postbox.User]bool, len(given))
	names := given[:0]
	for _, name := range given {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}
