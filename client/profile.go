package client

import (
	"context"

	"postbox"
)

// Profile is the user's own profile.
type Profile struct {
	User        postbox.User `json:"user"`
	DisplayName string       `json:"display_name"`
	Receipts    bool         `json:"receipts"` // others see how far the user has read
	Accept      string       `json:"accept"`   // from whom the user takes messages: everyone, known, nobody
	Admin       bool         `json:"admin"`
}

// ProfileChange changes what is not nil.
type ProfileChange struct {
	DisplayName *string `json:"display_name,omitempty"` // free text, at most 128 bytes
	Receipts    *bool   `json:"receipts,omitempty"`
	Accept      *string `json:"accept,omitempty"` // everyone, known, nobody
}

// Person is what is shown of a user.
type Person struct {
	User        postbox.User `json:"user"`
	DisplayName string       `json:"display_name"`
}

// Me reads the user's own profile.
func (c *Client) Me(ctx context.Context) (Profile, error) {
	var p Profile
	err := c.Call(ctx, "me", nil, &p)
	return p, err
}

// UpdateMe changes the user's own profile and returns it.
func (c *Client) UpdateMe(ctx context.Context, change ProfileChange) (Profile, error) {
	var p Profile
	err := c.Call(ctx, "me.update", change, &p)
	return p, err
}

// Profiles reads what users show of themselves, at most 100 of them, in the
// order asked for. Those who do not exist are left out.
func (c *Client) Profiles(ctx context.Context, users ...postbox.User) ([]Person, error) {
	return inParts(users, func(part []postbox.User) ([]Person, bool, error) {
		var reply struct {
			Profiles []Person `json:"profiles"`
			HasMore  bool     `json:"has_more"`
		}
		err := c.Call(ctx, "profile", wireUsers{part}, &reply)
		return reply.Profiles, reply.HasMore, err
	}, func(p Person) postbox.User { return p.User })
}

// wireUsers is a request about several users.
type wireUsers struct {
	Users []postbox.User `json:"users"`
}

// inParts asks about users, and again about those behind the last answered one
// as long as a reply had no room for all.
func inParts[T any](users []postbox.User, ask func([]postbox.User) ([]T, bool, error), name func(T) postbox.User) ([]T, error) {
	var all []T
	for {
		part, more, err := ask(users)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
		if !more || len(part) == 0 {
			return all, nil
		}
		last := name(part[len(part)-1])
		for len(users) > 0 && users[0] != last {
			users = users[1:]
		}
		users = users[min(1, len(users)):]
	}
}
