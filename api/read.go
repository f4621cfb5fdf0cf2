package api

import (
	"context"

	"postbox"
)

func readOperation() *operation {
	return &operation{Operation{
		Name: "read", Summary: "Move the read marker of a conversation",
		Doc: "It only grows, and to the last message at most. The caller's own devices learn of it, at most once a second; " +
			"so does the other side of a direct conversation, unless the caller's receipts are off or it may not see the caller.",
		Fields: append(place(), required(numberField("seq", "the message up to which the caller has read", 0, maxNumber))),
		OneOf:  [][]string{{"with", "room"}},
		Reply:  reply(must("read_seq", countSchema("the position now kept", 0))),
		Codes:  []postbox.Code{postbox.CodeNotFound},
	}, (*API).read}
}

func (a *API) read(ctx context.Context, c *call) error {
	p, err := a.place(ctx, c)
	if err != nil {
		return err
	}
	kept, moved, err := a.o.Archive.MarkRead(ctx, c.caller.ID, p, postbox.Seq(c.in.get("seq").n))
	if err != nil {
		return err
	}
	if moved {
		a.announcer.announce(Unannounced{User: c.caller.ID, Name: c.caller.Name, Place: p, Seq: kept})
	}
	c.out.number("read_seq", int64(kept))
	return nil
}

// quiet reports whether a read marker stays with the reader: in a room, with
// receipts off, and before those who may not see the reader (docs/spec.md §7,
// presence). It is asked when the marker is told of: what has changed since it
// was moved counts.
func (a *API) quiet(ctx context.Context, u Unannounced) (bool, error) {
	if u.Place.Room != "" || u.Place.WithID == u.User {
		return true, nil
	}
	profile, err := a.o.People.Profile(ctx, u.User)
	if err != nil || !profile.Receipts {
		return true, err
	}
	seen, err := a.o.Presence.Presence(ctx, u.Place.WithID, []postbox.User{u.Name})
	return len(seen) == 0, err
}
