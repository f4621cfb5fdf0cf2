package api

import (
	"context"
	"strings"

	"postbox"
)

func prefixField() Field {
	return Field{
		Name: "prefix", Doc: "only names that begin so", Pattern: `^[a-z0-9._@-]{0,64}$`, Max: postbox.MaxNameLength,
		check: func(s string) error {
			if strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789._@-") != "" {
				return postbox.Errorf(postbox.CodeInvalid, "names have a-z, 0-9 and . _ @ - only")
			}
			return nil
		},
	}
}

// forAdmins completes an operation that only administrators may ask for.
func forAdmins(o Operation, run func(*API, context.Context, *call) error) *operation {
	o.Admins = true
	o.Codes = append(o.Codes, postbox.CodeForbidden)
	return &operation{o, run}
}

func usersOperation() *operation {
	return forAdmins(Operation{
		Name: "users", Summary: "List accounts", Reads: true,
		Fields: []Field{prefixField(), userField("after", "the last one so far"), limitField("accounts")},
		Reply: reply(
			must("users", arrayOf("by name", SchemaRef("Account"))),
			must("has_more", flagSchema("there are more behind the last one")),
		),
	}, (*API).accounts)
}

func userAddOperation() *operation {
	password := newPasswordField("password")
	password.Required = false
	password.Doc += "; without one the user cannot come in with a password"
	return forAdmins(Operation{
		Name: "user.add", Summary: "Make an account", Creates: true,
		Fields: []Field{
			required(userField("user", "the name")), password, displayNameField(),
			{Name: "admin", Kind: KindFlag, Doc: "with the rights of an administrator"},
		},
		Reply: reply(must("user", nameSchema("the name"))), Codes: []postbox.Code{postbox.CodeConflict},
	}, (*API).addAccount)
}

// changing is an operation that changes an account.
func changing(name, summary, doc string, run func(*API, context.Context, *call) error, more ...Field) *operation {
	return forAdmins(Operation{
		Name: name, Summary: summary, Doc: doc, Fields: append([]Field{required(userField("user", "whose"))}, more...),
		Reply: reply(must("user", nameSchema("whose account was changed"))), Codes: []postbox.Code{postbox.CodeNotFound},
	}, run)
}

func userPasswordOperation() *operation {
	return changing("user.password", "Change somebody's password", "It ends the user's tokens, logins and connections.", (*API).setPassword, newPasswordField("password"))
}

func userDisableOperation() *operation {
	return changing("user.disable", "Disable an account", "It ends the user's tokens, logins and connections. Nobody disables themself.", (*API).disable)
}

func userEnableOperation() *operation {
	return changing("user.enable", "Enable an account again", "", (*API).enable)
}

func userRevokeOperation() *operation {
	return changing("user.revoke", "End all tokens, logins and connections of a user", "The password stays, and lets the user in again.", (*API).endTokens)
}

func userAdminOperation() *operation {
	return changing("user.admin", "Make a user an administrator, or no more", "It ends the user's connections. Nobody changes their own rights.", (*API).setAdmin,
		required(Field{Name: "admin", Kind: KindFlag, Doc: "true or false"}))
}

func accountSchema() Schema {
	return closed("an account",
		must("user", nameSchema("")), must("display_name", stringSchema("free text; empty if there is none")),
		must("admin", flagSchema("")), must("disabled", flagSchema("")),
		must("password", flagSchema("there is one")), must("created_at", timeSchema("")),
	)
}

func (a *API) accounts(ctx context.Context, c *call) error {
	limit := c.limit()
	all, err := a.o.Directory.Accounts(ctx, c.in.get("prefix").text, postbox.User(c.in.get("after").text), limit+1)
	if err != nil {
		return err
	}
	var list items
	for _, u := range all[:min(len(all), limit)] {
		list.next()
		item := object{buf: append(list.buf, '{')}
		item.text("user", string(u.Name))
		item.text("display_name", u.DisplayName)
		item.flag("admin", u.Admin)
		item.flag("disabled", u.Disabled)
		item.flag("password", u.Password)
		item.moment("created_at", u.Created)
		list.buf = item.end()
		list.done()
	}
	hi := list.fit(c.room())
	c.out.list("users", &list, 0, hi)
	c.out.flag("has_more", hi < len(all))
	return nil
}

func (a *API) addAccount(ctx context.Context, c *call) error {
	n := NewAccount{
		Name: postbox.User(c.in.get("user").text), DisplayName: c.in.get("display_name").text,
		Password: c.in.get("password").text, Admin: c.in.get("admin").flag,
	}
	if err := a.o.Directory.AddAccount(ctx, n); err != nil {
		return err
	}
	c.created = true
	c.out.text("user", string(n.Name))
	return nil
}

func (a *API) setPassword(ctx context.Context, c *call) error {
	return a.changeAccount(ctx, c, AccountChange{Password: &c.in.get("password").text})
}

func (a *API) disable(ctx context.Context, c *call) error {
	return a.changeOther(ctx, c, AccountChange{Disabled: ptr(true)})
}

func (a *API) enable(ctx context.Context, c *call) error {
	return a.changeAccount(ctx, c, AccountChange{Disabled: ptr(false)})
}

func (a *API) endTokens(ctx context.Context, c *call) error {
	return a.changeAccount(ctx, c, AccountChange{EndTokens: true})
}

func (a *API) setAdmin(ctx context.Context, c *call) error {
	return a.changeOther(ctx, c, AccountChange{Admin: &c.in.get("admin").flag})
}

func ptr[T any](v T) *T { return &v }

// changeOther is changeAccount, but not of the caller: so there is always somebody left
// who can take it back.
func (a *API) changeOther(ctx context.Context, c *call, change AccountChange) error {
	if postbox.User(c.in.get("user").text) == c.caller.Name {
		return postbox.Errorf(postbox.CodeInvalid, "user: this is your own account; ask another administrator")
	}
	return a.changeAccount(ctx, c, change)
}

func (a *API) changeAccount(ctx context.Context, c *call, change AccountChange) error {
	user := postbox.User(c.in.get("user").text)
	if err := a.o.Directory.ChangeAccount(ctx, user, change); err != nil {
		return err
	}
	c.out.text("user", string(user))
	return nil
}
