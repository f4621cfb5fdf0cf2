package client

import (
	"context"

	"postbox"
)

// Block lets the user take no messages of another any more. Who is not there is
// ErrNotFound.
func (c *Client) Block(ctx context.Context, user postbox.User) error {
	return c.Call(ctx, "block", wireUser{user}, nil)
}

// Unblock ends a block.
func (c *Client) Unblock(ctx context.Context, user postbox.User) error {
	return c.Call(ctx, "unblock", wireUser{user}, nil)
}

// Blocks lists whom the user blocks, by name: as many as the server has room for
// in one reply, thousands of them.
func (c *Client) Blocks(ctx context.Context) ([]postbox.User, error) {
	var reply wireUsers
	err := c.Call(ctx, "blocks", nil, &reply)
	return reply.Users, err
}

// wireUser is a request about one user.
type wireUser struct {
	User postbox.User `json:"user"`
}
