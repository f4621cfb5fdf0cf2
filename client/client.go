package client

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"time"

	"postbox"
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

	// places and asking hold one value for each message and for each request that
	// waits for its answer.
	places, asking chan struct{}
	ledger         *ledger
	outbox         *outbox
	keeper         *keeper
	arrivals       *queue
	signals        *news[Signal]
	presence       *news[Presence]
	watched        watched

	// refused is the password that the server has just refused; only connect
	// uses it, which runs once at a time.
	refused string
}

// Dial connects and subscribes to the user's inbox; ctx bounds no more than
// that. It tries once: postbox.ErrUnauthenticated and postbox.ErrInvalid will
// not go away, after postbox.ErrUnavailable and network errors it may be tried
// again. From then on the client keeps itself connected, until Close or until
// the server refuses the login, which then is the error of all its methods.
//
// With Options.Cursor it loads the place to go on from, and if there is none
// stores that where the inbox ends now.
func Dial(ctx context.Context, o Options) (*Client, error) {
	o, u, err := o.prepared()
	if err != nil {
		return nil, err
	}
	c := &Client{
		o: o, url: u,
		done:     make(chan struct{}),
		places:   make(chan struct{}, o.InFlight),
		asking:   make(chan struct{}, maxAsking),
		ledger:   newLedger(),
		outbox:   newOutbox(o.User),
		arrivals: newQueue(o.Buffer),
		signals:  newNews(func(Signal) string { return "" }),
		presence: newNews(func(p Presence) string { return string(p.User) }),
	}
	c.keeper = newKeeper(o.Cursor, c.ledger)
	if err := c.keeper.load(ctx); err != nil {
		return nil, err
	}
	c.ctx, c.stop = context.WithCancelCause(context.Background())
	l, err := c.connect(ctx)
	if c.refused != "" && o.Credentials != nil {
		l, err = c.connect(ctx) // Credentials may have another token
	}
	if err != nil {
		c.stop(err)
		return nil, err
	}
	go c.run(l)
	if err := c.keepStart(ctx); err != nil {
		c.stop(err)
		<-c.done
		return nil, err
	}
	return c, nil
}

// Close ends the client: sends and receives that wait return ErrClosed, what
// was acknowledged is told to the server and to Options.Cursor, and the
// connection is closed. It waits for that until ctx ends. What was not
// acknowledged comes again when the device next connects. The error is ctx's, or
// why the cursor could not be saved. Close may be called twice.
func (c *Client) Close(ctx context.Context) error {
	c.stop(ErrClosed)
	select {
	case <-c.done:
		return c.keeper.failure()
	case <-ctx.Done():
		return fmt.Errorf("close client: %w", ctx.Err())
	}
}

// run keeps the client connected, from its first connection on.
func (c *Client) run(l *link) {
	defer close(c.done)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	helpers.Go(func() {
		if err := c.keeper.run(c.ctx); err != nil {
			c.o.Logger.Error("the cursor cannot be saved", "device", c.o.Device, "error", err)
			c.stop(err)
		}
	})
	pause := backoff{least: c.o.ReconnectMin, most: c.o.ReconnectMax}
	for {
		since := time.Now()
		c.serve(l, &helpers)
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
	refusals := 0
	for {
		wait := time.NewTimer(pause.pause())
		select {
		case <-wait.C:
		case <-c.ctx.Done():
			wait.Stop()
			return nil
		}
		l, err := c.connect(c.ctx)
		switch {
		case err == nil:
			return l
		case c.ctx.Err() != nil:
			return nil
		case final(err):
			// A token may have ended on the way: Options.Credentials gives another.
			if refusals++; c.o.Credentials == nil || refusals > 1 {
				c.o.Logger.Error("connection refused for good", "device", c.o.Device, "error", err)
				c.stop(err)
				return nil
			}
		default:
			refusals = 0
		}
		c.o.Logger.Info("connection attempt failed", "device", c.o.Device, "error", err)
	}
}

// serve publishes on a connection until it is lost or the client ends. The
// publisher may live on for a moment: Paho lets it go late.
func (c *Client) serve(l *link, helpers *sync.WaitGroup) {
	helpers.Go(func() { c.publish(l, helpers) })
	select {
	case <-l.lost:
	case <-c.ctx.Done():
	}
	l.close()
}

// publish writes what waits to be sent, again from the first, then each new
// one, until the connection is lost or closed.
func (c *Client) publish(l *link, helpers *sync.WaitGroup) {
	c.outbox.begin(l)
	defer tell(c.outbox.more) // it may have taken a note meant for its successor
	for {
		e, asRequest := c.outbox.take(l)
		if e == nil {
			select {
			case <-c.outbox.more:
				continue
			case <-l.lost:
				return
			}
		}
		taken := true
		switch {
		case e.filters != nil:
			helpers.Go(func() { c.watch(l, e) })
		case asRequest:
			taken = l.publish("api/v1/"+e.operation, e.object())
		default:
			taken = l.publish(e.topic, e.body)
		}
		if !taken {
			c.outbox.putBack(l, e)
		}
		select {
		case <-l.lost:
			return
		default:
		}
	}
}

// keepStart stores where the inbox ends, when nothing says yet where to go on:
// so that what comes from now on is not missed, even if this device is never
// seen again.
func (c *Client) keepStart(ctx context.Context) error {
	if c.o.FromStart || !c.keeper.empty() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.ConnectTimeout)
	defer cancel()
	var at postbox.Position
	devices, err := c.Devices(ctx)
	if err != nil {
		return fmt.Errorf("find the end of the inbox: %w", err)
	}
	for _, d := range devices {
		if d.Name == c.o.Device {
			at.Seq = d.Cursor
		}
	}
	page, err := c.Sync(ctx, at, 1)
	if err != nil {
		return fmt.Errorf("find the end of the inbox: %w", err)
	}
	at.Epoch = page.Next.Epoch
	return c.keeper.begin(ctx, at)
}
