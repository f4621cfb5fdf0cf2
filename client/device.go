package client

import (
	"context"
	"errors"
	"time"

	"postbox"
)

// Device is one of the user's devices that have a session at the server.
type Device struct {
	Name        string           `json:"device"`
	Cursor      postbox.InboxSeq `json:"cursor"` // it has everything up to here
	Connected   bool             `json:"connected"`
	ConnectedAt time.Time        `json:"connected_at"` // zero: it is not
	LastSeen    time.Time        `json:"last_seen"`
}

// Devices lists the user's devices, those that connected last first. One with
// Options.Cursor has no session, and is not among them.
func (c *Client) Devices(ctx context.Context) ([]Device, error) {
	var reply struct {
		Devices []Device `json:"devices"`
	}
	err := c.Call(ctx, "devices", nil, &reply)
	return reply.Devices, err
}

// RevokeDevice disconnects and forgets a device, and ends the logins that are
// called like it. One that is not there is ErrNotFound. It works on the own
// device too, which then ends this client.
func (c *Client) RevokeDevice(ctx context.Context, device string) error {
	return c.doOnce(ctx, "device.revoke", struct {
		Device string `json:"device"`
	}{device})
}

// doOnce does what cannot be done twice: when it was asked for again after a lost
// connection, that there is nothing left to do it to means that it is done.
func (c *Client) doOnce(ctx context.Context, operation string, request any) error {
	e, err := newRequest(operation, request)
	if err != nil {
		return err
	}
	err = c.ask(ctx, e, nil)
	if errors.Is(err, postbox.ErrNotFound) && c.outbox.repeated(e) {
		return nil
	}
	return err
}
