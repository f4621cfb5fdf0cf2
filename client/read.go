package client

import (
	"context"

	"postbox"
)

// Read moves the user's read marker of a conversation to a message and returns
// where it is now: it only grows, and to the last message at most. The other
// side of a direct conversation learns of it, unless the user's receipts are off.
func (c *Client) Read(ctx context.Context, place Place, seq postbox.Seq) (postbox.Seq, error) {
	request := struct {
		wirePlace
		Seq postbox.Seq `json:"seq"`
	}{wirePlace(place), seq}
	var reply struct {
		ReadSeq postbox.Seq `json:"read_seq"`
	}
	err := c.Call(ctx, "read", request, &reply)
	return reply.ReadSeq, err
}
