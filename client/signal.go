package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"postbox"
)

// The types of Signal.
const (
	TypeSignal    = "signal"
	TypeDelivered = "delivered"
)

// Signal is what is not kept, and comes only to who is there (docs/spec.md §4).
type Signal struct {
	// Type is TypeSignal: From says Body. Or it is TypeDelivered: a device of From
	// has what To has sent it, up to Seq.
	Type string
	From postbox.User
	To   postbox.User // else empty
	Room postbox.Room // else empty
	Body []byte
	Seq  postbox.Seq
}

// Signal sends to the devices of a user, or of a room's members, that are online
// now, at most 4 KiB: that somebody is typing, say. Unlike all other requests it
// is not repeated: ErrUnavailable if the connection was lost before the server
// has answered, ErrRateLimited if there are too many.
func (c *Client) Signal(ctx context.Context, to Place, body []byte) error {
	e, err := newRequest("signal", struct {
		To   postbox.User `json:"to,omitempty"`
		Room postbox.Room `json:"room,omitempty"`
		wireBody
	}{to.With, to.Room, bodyOf(body)})
	if err != nil {
		return err
	}
	e.once = true
	return c.ask(ctx, e, nil)
}

// ReceiveSignal waits for the next signal. The newest 256 are kept; there is
// nothing to acknowledge. It returns ctx's error, ErrClosed, or why the server
// refuses the login; without Options.Signals it is ErrInvalid.
//
// Several goroutines may call it at once; each signal goes to one of them.
func (c *Client) ReceiveSignal(ctx context.Context) (Signal, error) {
	if !c.o.Signals {
		return Signal{}, postbox.Errorf(postbox.CodeInvalid, "this client takes no signals: set Options.Signals")
	}
	return c.signals.take(ctx, c.ctx)
}

func parseSignal(payload []byte) (Signal, error) {
	var w struct {
		Type   string       `json:"type"`
		From   postbox.User `json:"from"`
		To     postbox.User `json:"to"`
		Room   postbox.Room `json:"room"`
		Text   *string      `json:"body"`
		Base64 []byte       `json:"body_base64"`
		Seq    postbox.Seq  `json:"seq"`
	}
	if err := json.Unmarshal(payload, &w); err != nil {
		return Signal{}, fmt.Errorf("read signal of %d bytes: %w", len(payload), err)
	}
	if w.Type == "" {
		return Signal{}, errors.New("read signal: it has no type")
	}
	s := Signal{Type: w.Type, From: w.From, To: w.To, Room: w.Room, Body: w.Base64, Seq: w.Seq}
	if w.Text != nil {
		s.Body = []byte(*w.Text)
	}
	return s, nil
}
