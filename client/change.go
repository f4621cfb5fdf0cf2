package client

import (
	"context"
	"crypto/rand"
	"encoding/json"

	"postbox"
)

// Edit replaces the body of a message that the user has sent, and returns the
// entry that tells of it. Another's message is ErrForbidden. WithKey names the
// edit; no other option has a meaning here.
func (c *Client) Edit(ctx context.Context, id postbox.MessageID, body []byte, opts ...SendOption) (Envelope, error) {
	request := struct {
		ID wireID `json:"id"`
		wireBody
		Key string `json:"idempotency_key"`
	}{wireID(id), bodyOf(body), keyOf(opts)}
	return c.change(ctx, "edit", request)
}

// Retract takes a message back: an own one, or as a room's owner or admin any of
// the room. A tombstone stays in its place. WithKey names the retraction; no
// other option has a meaning here.
func (c *Client) Retract(ctx context.Context, id postbox.MessageID, opts ...SendOption) (Envelope, error) {
	request := struct {
		ID  wireID `json:"id"`
		Key string `json:"idempotency_key"`
	}{wireID(id), keyOf(opts)}
	return c.change(ctx, "retract", request)
}

func (c *Client) change(ctx context.Context, operation string, request any) (Envelope, error) {
	var reply struct {
		Entry json.RawMessage `json:"entry"`
	}
	if err := c.Call(ctx, operation, request, &reply); err != nil {
		return Envelope{}, err
	}
	return ParseEnvelope(reply.Entry)
}

// keyOf is the key among options, or a new one.
func keyOf(opts []SendOption) string {
	var m outgoing
	for _, opt := range opts {
		opt(&m)
	}
	if m.key == "" {
		m.key = rand.Text()
	}
	return m.key
}
