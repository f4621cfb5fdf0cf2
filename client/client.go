package client

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Client is one device of one user, connected until Close. It is safe for
// concurrent use.
type Client struct {
	o   Options
	url *url.URL

	// ctx ends with the client; its cause says why.
	ctx  context.Context
	stop context.CancelCauseFunc
	done chan struct{} // closed when run has returned

	ledger   *ledger
	outbox   *outbox
	arrivals *queue
}

// Dial connects and subscribes to the user's inbox; ctx bounds no more than
// that. It tries once: postbox.ErrUnauthenticated and postbox.ErrInvalid will
// not go away, after postbox.ErrUnavailable and network errors it may be tried
// again. From then on the client keeps itself connected, until Close or until
// the server refuses the login, which then is the error of all its methods.
func Dial(ctx context.Context, o Options) (*Client, error) {
	o, u, err := o.prepared()
	if err != nil {
		return nil, err
	}
	c := &Client{
		o: o, url: u,
		done:     make(chan struct{}),
		ledger:   newLedger(),
		outbox:   newOutbox(o.User, o.InFlight),
		arrivals: newQueue(o.Buffer),
	}
	c.ctx, c.stop = context.WithCancelCause(context.Background())
	l, err := connect(ctx, o, u, c.ledger, c.arrive)
	if err != nil {
		c.stop(err)
		return nil, err
	}
	go c.run(l)
	return c, nil
}

// Close ends the client: sends and receives that wait return ErrClosed, what
// was acknowledged is told to the server, and the connection is closed. It
// waits for that until ctx ends. What was not acknowledged comes again when
// the device next connects. Close may be called twice.
func (c *Client) Close(ctx context.Context) error {
	c.stop(ErrClosed)
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close client: %w", ctx.Err())
	}
}

// run keeps the client connected, from its first connection on.
func (c *Client) run(l *link) {
	defer close(c.done)
	var publishers sync.WaitGroup
	defer publishers.Wait()
	pause := backoff{least: c.o.ReconnectMin, most: c.o.ReconnectMax}
	for {
		since := time.Now()
		c.serve(l, &publishers)
		if c.ctx.Err() != nil {
			return
		}
		if time.Since(since) > c.o.ReconnectMax {
			pause.reset()
		}
		c.o.Logger.Info("connection lost", "device", c.o.Device, "error", l.err)
		if l = c.reconnect(&pause); l == nil {
			return
		}
		c.o.Logger.Info("connected again", "device", c.o.Device)
	}
}

// reconnect tries until there is a connection; nil means that the client has
// ended.
func (c *Client) reconnect(pause *backoff) *link {
	for {
		wait := time.NewTimer(pause.pause())
		select {
		case <-wait.C:
		case <-c.ctx.Done():
			wait.Stop()
			return nil
		}
		l, err := connect(c.ctx, c.o, c.url, c.ledger, c.arrive)
		switch {
		case err == nil:
			return l
		case c.ctx.Err() != nil:
			return nil
		case final(err):
			c.o.Logger.Error("connection refused for good", "device", c.o.Device, "error", err)
			c.stop(err)
			return nil
		}
		c.o.Logger.Info("connection attempt failed", "device", c.o.Device, "error", err)
	}
}

// serve publishes on a connection until it is lost or the client ends. The
// publisher may live on for a moment: Paho lets it go late.
func (c *Client) serve(l *link, publishers *sync.WaitGroup) {
	publishers.Go(func() { c.publish(l) })
	select {
	case <-l.lost:
	case <-c.ctx.Done():
	}
	l.close()
}

// publish writes what waits to be sent, again from the first, then each new
// one, until the connection is lost or closed.
func (c *Client) publish(l *link) {
	c.outbox.begin(l)
	defer tell(c.outbox.more) // it may have taken a note meant for its successor
	for {
		s := c.outbox.take(l)
		if s == nil {
			select {
			case <-c.outbox.more:
				continue
			case <-l.lost:
				return
			}
		}
		if !l.publish(s.topic, s.body) {
			c.outbox.putBack(l, s)
		}
		select {
		case <-l.lost:
			return
		default:
		}
	}
}

// arrive takes one PUBLISH from Paho, which waits for it to return before it
// reads on.
func (c *Client) arrive(l *link, m mqtt.Message) {
	l.prove()
	defer c.ledger.flush()
	e, err := ParseEnvelope(m.Payload())
	if err != nil {
		c.o.Logger.Error("delivery cannot be read and is dropped", "device", c.o.Device, "topic", m.Topic(), "error", err)
		c.ledger.skip(l, m.Ack)
		return
	}
	if e.Type == TypeError {
		if !c.outbox.refuse(&e) {
			c.o.Logger.Warn("refusal of a send that nobody waits for", "topic", e.Topic, "idempotency_key", e.Key, "code", e.Code)
		}
		c.ledger.skip(l, m.Ack)
		return
	}
	it, fresh, jumped := c.ledger.arrived(l, m.Ack, &e)
	if jumped {
		c.o.Logger.Error("entries are missing", "device", c.o.Device, "epoch", e.Epoch, "after", e.After, "inbox_seq", e.InboxSeq)
	}
	c.outbox.confirm(&e)
	switch {
	case !fresh:
	case c.o.SendOnly:
		c.ledger.acknowledge(it)
	default:
		c.arrivals.put(c.ctx, Delivery{Envelope: e, ledger: c.ledger, item: it})
	}
}
