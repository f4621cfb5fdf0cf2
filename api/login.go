package api

import (
	"context"
	"time"

	"postbox"
)

// Limits of what signs somebody in, in bytes.
const (
	maxToken  = 128
	maxInvite = 128
)

func passwordField(name, doc string) Field {
	return Field{Name: name, Doc: doc, Max: postbox.MaxPasswordLength, Required: true}
}

func newPasswordField(name string) Field {
	return Field{
		Name: name, Doc: "at least 8 characters and at most 1,024 bytes, of any kind", Min: postbox.MinPasswordLength, Max: postbox.MaxPasswordLength,
		Required: true, check: postbox.CheckNewPassword,
	}
}

func displayNameField() Field {
	return Field{Name: "display_name", Max: maxDisplayName, check: checkDisplayName, Doc: "free text"}
}

func loginDeviceField() Field {
	return Field{
		Name: "device", Min: 1, Max: postbox.MaxDeviceLength, check: postbox.CheckDevice,
		Doc: "what the login is called; that of an MQTT client id ends when the device is revoked",
	}
}

func grantReply() Schema {
	return reply(
		must("user", nameSchema("who is let in")),
		must("access_token", stringSchema("a JWT: Bearer, and MQTT password")),
		must("expires_in", countSchema("seconds that the access token counts", 1)),
		must("refresh_token", stringSchema("used once, for a new pair")),
	)
}

func registerOperation() *operation {
	return &operation{Operation{
		Name: "register", Summary: "Make an account for oneself", Creates: true, Anonymous: true, Edge: EdgeHTTP,
		Doc: "Only where the server lets strangers in: with registration open, or invite and an invitation.",
		Fields: []Field{
			required(userField("user", "the name")), newPasswordField("password"), displayNameField(),
			{Name: "invite", Max: maxInvite, Doc: "the code of an invitation"}, loginDeviceField(),
		},
		Reply: grantReply(), Codes: []postbox.Code{postbox.CodeForbidden, postbox.CodeConflict},
	}, (*API).register}
}

func loginOperation() *operation {
	return &operation{Operation{
		Name: "login", Summary: "Get tokens for a password", Anonymous: true, Edge: EdgeHTTP,
		Fields: []Field{required(userField("user", "the name")), passwordField("password", "the account's"), loginDeviceField()},
		Reply:  grantReply(),
	}, (*API).login}
}

func refreshOperation() *operation {
	return &operation{Operation{
		Name: "refresh", Summary: "Get a new pair of tokens for a refresh token", Anonymous: true,
		Doc: "The refresh token is spent by that. Given again it is answered again, as long as its successor has not been spent: within a minute with the same " +
			"successor, later with another in its place. Any other token that was spent or replaced ends the login, since two have it. Over MQTT the token must be of the connection's user, and the connection then ends with the new access token.",
		Fields: []Field{required(Field{Name: "refresh_token", Max: maxToken, Doc: "the last one"})},
		Reply:  grantReply(), Codes: []postbox.Code{postbox.CodeForbidden},
	}, (*API).refresh}
}

func streamTokenOperation() *operation {
	return &operation{Operation{
		Name: "stream_token", Summary: "Get a token for the event stream alone", Edge: EdgeHTTP,
		Doc: "For GET /v1/stream?token=, where no header can be sent. It counts for an hour, or for less if the caller's own token does.",
		Reply: reply(
			must("token", stringSchema("for the stream alone")),
			must("expires_in", countSchema("seconds", 1)),
		),
	}, (*API).streamToken}
}

func passwordOperation() *operation {
	return &operation{Operation{
		Name: "password", Summary: "Change the own password",
		Doc: "It ends all tokens, logins and connections of the user but the MQTT connection that asks; the reply has new tokens. " +
			"A wrong old password is forbidden.",
		Fields: []Field{passwordField("old", "the password so far"), newPasswordField("new")},
		Reply:  grantReply(), Codes: []postbox.Code{postbox.CodeForbidden, postbox.CodeConflict},
	}, (*API).password}
}

func loginsOperation() *operation {
	return &operation{Operation{
		Name: "logins", Summary: "List where the caller is logged in", Reads: true,
		Reply: reply(
			must("logins", arrayOf("those used last first", SchemaRef("Login"))),
			must("has_more", flagSchema("there are more, for which the reply had no room")),
		),
	}, (*API).logins}
}

func logoutOperation() *operation {
	return &operation{Operation{
		Name: "logout", Summary: "End a login",
		Doc:    "Its tokens, and the connections and streams that they have opened, end.",
		Fields: []Field{numberField("login", "its number; if not given, that of the token with which this is asked", 1, maxNumber)},
		Reply:  reply(must("login", countSchema("the one that has ended", 1))), Codes: []postbox.Code{postbox.CodeNotFound},
	}, (*API).logout}
}

func loginSchema() Schema {
	return closed("a login",
		must("login", countSchema("its number", 1)),
		may("device", stringSchema("what it called itself")),
		must("current", flagSchema("it is that of the token with which this is asked")),
		must("created_at", timeSchema("when the password was given")),
		must("used_at", timeSchema("when its tokens were last renewed")),
		must("expires_at", timeSchema("until when they can be")),
	)
}

func (a *API) register(ctx context.Context, c *call) error {
	g, err := a.o.SignIn.Register(ctx, Registration{
		Name: postbox.User(c.in.get("user").text), DisplayName: c.in.get("display_name").text, Password: c.in.get("password").text,
		Invite: c.in.get("invite").text, Device: c.in.get("device").text, Address: c.caller.Address,
	})
	c.created = err == nil
	return c.granted(g, err)
}

func (a *API) login(ctx context.Context, c *call) error {
	return c.granted(a.o.SignIn.Login(ctx, postbox.User(c.in.get("user").text), c.in.get("password").text, c.in.get("device").text, c.caller.Address))
}

func (a *API) refresh(ctx context.Context, c *call) error {
	return c.granted(a.o.SignIn.Refresh(ctx, c.caller, c.in.get("refresh_token").text))
}

func (a *API) password(ctx context.Context, c *call) error {
	return c.granted(a.o.SignIn.ChangePassword(ctx, c.caller, c.in.get("old").text, c.in.get("new").text))
}

// granted answers with tokens, and tells the caller's edge of them.
func (c *call) granted(g Grant, err error) error {
	if err != nil {
		return err
	}
	if c.caller.Renewed != nil {
		c.caller.Renewed(g)
	}
	c.out.text("user", string(g.User))
	c.out.text("access_token", g.Access)
	c.out.seconds("expires_in", g.Life)
	c.out.text("refresh_token", g.Refresh)
	return nil
}

// seconds are whole ones, of which there is at least one.
func (o *object) seconds(name string, d time.Duration) { o.number(name, max(int64(d/time.Second), 1)) }

func (a *API) streamToken(ctx context.Context, c *call) error {
	token, life, err := a.o.SignIn.StreamToken(ctx, c.caller)
	if err != nil {
		return err
	}
	c.out.text("token", token)
	c.out.seconds("expires_in", life)
	return nil
}

func (a *API) logins(ctx context.Context, c *call) error {
	all, err := a.o.Logins.Logins(ctx, c.caller.ID)
	if err != nil {
		return err
	}
	var list items
	for _, l := range all {
		list.next()
		item := object{buf: append(list.buf, '{')}
		item.number("login", int64(l.ID))
		if l.Device != "" {
			item.text("device", l.Device)
		}
		item.flag("current", l.ID == c.caller.Shown.Login)
		item.moment("created_at", l.Created)
		item.moment("used_at", l.Used)
		item.moment("expires_at", l.Expires)
		list.buf = item.end()
		list.done()
	}
	hi := list.fit(c.room())
	c.out.list("logins", &list, 0, hi)
	c.out.flag("has_more", hi < list.len())
	return nil
}

func (a *API) logout(ctx context.Context, c *call) error {
	login := c.caller.Shown.Login
	if v := c.in.get("login"); v.set {
		login = postbox.LoginID(v.n)
	}
	if login == 0 {
		return postbox.Errorf(postbox.CodeInvalid, "login is missing: this is asked without a token that belongs to one; logins lists them")
	}
	if err := a.o.Logins.EndLogin(ctx, c.caller.ID, login); err != nil {
		return err
	}
	c.out.number("login", int64(login))
	return nil
}
