package hooks

import (
	"context"
	"strconv"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.opentelemetry.io/otel/trace"

	"postbox"
	"postbox/api"
	"postbox/inbox"
	"postbox/store"
)

// client is one authenticated MQTT connection. Fields of the first block do
// not change after CONNECT; those of the second belong to the goroutine that
// reads the connection; those of the third to the settling goroutine of its
// lane.
type client struct {
	hook     *Hook
	cl       *mqtt.Client
	conn     *Conn
	who      Identity
	device   string // the client id as the device knows it
	name     string // among all connections there are
	session  store.Session
	protocol byte // level: 3, 4 or 5
	v5       bool
	lane     Lane
	window   int
	maxSize  int  // the largest packet the client takes; zero: any
	problem  bool // the client wants problem information

	began     time.Time // of the CONNECT
	connected trace.SpanContext
	since     *postbox.Position
	arrived   bool     // counted as present
	starting  bool     // a subscription waits for its SUBACK
	unseen    []string // presence filters whose present state does
	sent      sentRecords

	left *inbox.Start // where a subscription was that was given up

	errands errands // what publishes wait for, with those behind them
	reads   errands // requests that only read: nothing waits for them

	traced   []*inbox.Draft // settled since the last Flush
	acks     []byte
	counted  int               // drafts settled since the last Flush
	answered postbox.MessageID // by the acks
	unacked  int               // less than zero: acknowledgements since the last Flush

	mu       sync.Mutex // guards the fields below
	settled  sync.Cond
	inflight int // drafts that are not settled
	pending  int // of these, publishes that wait for PUBACK or PUBREC
	life     time.Duration
	inbox    *inboxSubscription
	filters  map[string]bool
	watches  map[string]watch // presence filters
	signals  *listening
	will     *store.Will
	ends     *time.Timer
	shown    api.Shown // by the client, at CONNECT or since
	entered  *slot     // the gate that is still held
	over     bool      // disconnected by the server, or ended
	gone     bool      // the connection has ended
}

// inboxSubscription is a device's subscription to its inbox.
type inboxSubscription struct {
	*inbox.Subscription
	kept store.Subscription
}

func (c *client) key() deviceKey { return deviceKey{c.who.ID, c.device} }

// belongsTo reports whether the connection was let in, or is kept, by a login.
func (c *client) belongsTo(login postbox.LoginID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown.Login == login
}

// renewed moves the end of a connection that a token has let in to that of a newer
// one. Other connections end when they would have.
func (c *client) renewed(g api.Grant) {
	if !c.who.Renews {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.gone || !c.ends.Stop() {
		return // it has ended meanwhile
	}
	c.shown = api.Shown{Since: g.Since, Ends: g.Expires, Login: g.Login}
	c.ends.Reset(time.Until(g.Expires))
}

// mochiID is the client id that Mochi sees: scoped to the user, so that two
// users may use the same one without touching each other's session.
func (c *client) mochiID() string {
	return strconv.FormatInt(int64(c.who.ID), 10) + "/" + c.device
}

// clientOf finds the client of a Mochi client; nil before its CONNECT was
// accepted.
func clientOf(cl *mqtt.Client) *client {
	if conn, ok := cl.Net.Conn.(*Conn); ok {
		return conn.client.Load()
	}
	return nil
}

// disconnect tells the client why and ends its connection. It does not wait.
func (c *client) disconnect(code packets.Code) {
	c.mu.Lock()
	again := c.over
	c.over = true
	c.mu.Unlock()
	c.settled.Broadcast() // a reader that waits for room gives up
	if again {
		return
	}
	c.conn.cutFor(reasonOf(code))
	if c.v5 {
		_ = c.hook.server.DisconnectClient(c.cl, code)
	} else {
		c.cl.Stop(code)
	}
}

// wait pauses the reading of this connection, or less if it ends.
func (c *client) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return
		case <-time.After(100 * time.Millisecond):
			if c.conn.Closed() {
				return
			}
		}
	}
}

// drained waits until every draft of the connection is settled.
func (c *client) drained(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.settled.Broadcast()
	})
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.inflight > 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.settled.Wait()
	}
	return nil
}
