package api

import (
	"context"

	"postbox"
)

// Signals sends what is not kept.
type Signals interface {
	// Signal sends s to the devices that are online now. The error is one of
	// docs/spec.md §9: who may not write may not signal.
	Signal(ctx context.Context, s *postbox.Signal) error
}

func signalOperation() *operation {
	return &operation{Operation{
		Name: "signal", Summary: "Send what is not kept to the devices that are online now, as that somebody is typing",
		Doc: "It reaches those who have subscribed to signal/{me}, or have a stream open, and is lost for all others. " +
			"Who may write there may do that.",
		Fields: []Field{
			userField("to", "the recipient"),
			roomField("room", "or the room"),
			{Name: "body", Max: postbox.MaxSignal, TooLarge: true, Doc: "the body, as text"},
			{Name: "body_base64", Kind: KindBytes, Max: postbox.MaxSignal, TooLarge: true, Doc: "or any bytes"},
		},
		OneOf: [][]string{{"to", "room"}, {"body", "body_base64"}},
		Reply: reply(), Codes: []postbox.Code{postbox.CodeForbidden, postbox.CodeNotFound},
	}, (*API).signal}
}

func (a *API) signal(ctx context.Context, c *call) error {
	return a.o.Signals.Signal(ctx, &postbox.Signal{
		Sender: c.caller.ID, From: c.caller.Name, Device: c.caller.Device,
		To: postbox.User(c.in.get("to").text), Room: postbox.Room(c.in.get("room").text), Body: c.body(),
	})
}
