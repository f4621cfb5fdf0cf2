package api

import (
	"context"

	"postbox"
)

// Erasure ends accounts for good.
type Erasure interface {
	// Erase closes the caller's account at once, and erases what it has written for
	// as long as a request may take; complete is false if something is left, which is
	// then erased without anybody asking. ErrForbidden if the account has a password
	// and this is another.
	Erase(ctx context.Context, caller Caller, password string) (messages int, complete bool, err error)
}

func eraseOperation() *operation {
	return &operation{Operation{
		Name: "erase", Summary: "Erase the own account", Edge: EdgeHTTP,
		Doc: "For good: name, password, devices, inbox and idempotency keys are gone, and the contents of the messages that the caller has sent; " +
			"they stay as tombstones in the others' conversations, from a name that tells nothing. The name is not given again. export comes before.",
		Fields: []Field{
			required(userField("user", "the caller's own name: it says that this is meant")),
			{Name: "password", Max: postbox.MaxPasswordLength, Doc: "the account's, if it has one"},
		},
		Reply: reply(
			must("messages", countSchema("how many messages were made tombstones so far", 0)),
			must("complete", flagSchema("nothing is left; if false, the rest goes within minutes")),
		),
		Codes: []postbox.Code{postbox.CodeForbidden, postbox.CodeNotFound},
	}, (*API).erase}
}

func (a *API) erase(ctx context.Context, c *call) error {
	if name := postbox.User(c.in.get("user").text); name != c.caller.Name {
		return postbox.Errorf(postbox.CodeForbidden, "user is %s, and you are %s: one erases oneself only", name, c.caller.Name)
	}
	messages, complete, err := a.o.Erasure.Erase(ctx, c.caller, c.in.get("password").text)
	if err != nil {
		return err
	}
	c.out.number("messages", int64(messages))
	c.out.flag("complete", complete)
	return nil
}
