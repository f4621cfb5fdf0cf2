package client

import (
	"context"

	"postbox"
)

// Delivery is one entry of the inbox, or a gap in it, for the program to
// handle and then to acknowledge.
type Delivery struct {
	Envelope
	ledger *ledger
	item   *item
}

// Ack tells the server that the program is done with the entry. Until then,
// it comes again after the next Dial of the device. Acknowledgements are sent
// in the order of the inbox: one that is given early waits for those before
// it. If the connection is lost meanwhile, the client repeats it by itself.
// Ack may be called twice, and after Close, when it has no effect.
func (d Delivery) Ack() {
	if d.item != nil {
		d.ledger.acknowledge(d.item)
	}
}

// Receive waits for the next delivery: the inbox in its order, own messages
// too, each entry once. It returns ctx's error, ErrClosed, or why the server
// refuses the login. With Options.SendOnly it is ErrInvalid.
//
// Several goroutines may call it at once; each delivery goes to one of them.
func (c *Client) Receive(ctx context.Context) (Delivery, error) {
	if c.o.SendOnly {
		return Delivery{}, postbox.Errorf(postbox.CodeInvalid, "this client only sends: leave out Options.SendOnly to receive")
	}
	for {
		if c.ctx.Err() != nil {
			return Delivery{}, context.Cause(c.ctx)
		}
		if d, ok := c.arrivals.take(); ok {
			return d, nil
		}
		select {
		case <-c.arrivals.more:
		case <-ctx.Done():
			return Delivery{}, ctx.Err()
		case <-c.ctx.Done():
		}
	}
}
