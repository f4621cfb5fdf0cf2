package hooks

import (
	"context"
	"errors"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/store"
)

// endTimeout bounds what the database is told once at the end of a connection.
const endTimeout = 5 * time.Second

// within is the context of work that may take d, and no longer than Hurry says.
func (h *Hook) within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(h.ctx, d)
}

// Hurry is for a server that shuts down: from d on nothing in the hook waits any
// more, whether a connection begins, runs or ends. What the database has not
// been told until then the next start makes good. Each call counts; nothing
// takes it back.
func (h *Hook) Hurry(d time.Duration) {
	if d <= 0 {
		h.cancel()
		return
	}
	time.AfterFunc(d, h.cancel)
}

// OnDisconnect does nothing by itself: Ended does, which also runs for
// connections that Mochi loses sight of.
func (h *Hook) OnDisconnect(cl *mqtt.Client, err error, _ bool) {
	c := clientOf(cl)
	if c == nil {
		return
	}
	if isProtocolError(err) {
		c.conn.cutFor(cutProtocol)
	}
	if !c.conn.accepted {
		c.conn.finish()
		h.Ended(c.conn) // no listener of ours does it
	}
	c.stopDelivery()
}

// Ended cleans up after a connection, whatever ended it: a listener calls it
// once Mochi's EstablishConnection has returned or panicked. The device's next
// connection waits for it. The first call counts.
func (h *Hook) Ended(conn *Conn) {
	if conn.ending.Swap(true) {
		return
	}
	later := false
	defer func() {
		if !later {
			close(conn.ended)
		}
	}()
	_ = conn.Close()
	h.countCut(conn)
	c := conn.client.Load()
	if c == nil {
		return
	}
	c.stopDelivery()
	c.mu.Lock()
	if c.ends != nil {
		c.ends.Stop()
	}
	c.mu.Unlock()
	h.sweep(c)
	ctx, cancel := h.within(endTimeout)
	c.leaveWill(ctx)
	cancel()
	c.dropWatches()
	c.endListening(nil)
	if c.arrived {
		h.Left(c.who.Name)
	}
	if c.closeSession() {
		c.depart()
		return
	}
	later = true
	h.work.Go(func() {
		defer close(conn.ended)
		c.closeLater()
		c.depart()
	})
}

// depart lets the device's next connection in.
func (c *client) depart() {
	c.leaveGate(false)
	c.hook.registry.remove(c)
	c.mu.Lock()
	c.gone = true
	settled := c.inflight == 0
	c.mu.Unlock()
	if settled {
		c.hook.registry.vacate(c)
	}
}

func (c *client) stopDelivery() {
	c.mu.Lock()
	sub := c.inbox
	c.inbox = nil
	c.over = true
	c.mu.Unlock()
	if sub != nil {
		sub.Close()
	}
}

// sweep removes what Mochi may have left of a client, after a panic in its
// decoder or a CONNACK that could not be written.
func (h *Hook) sweep(c *client) {
	if there, ok := h.server.Clients.Get(c.cl.ID); ok && there == c.cl {
		h.server.UnsubscribeClient(c.cl)
		h.server.Clients.Delete(c.cl.ID)
	}
}

// closeSession notes the end of the connection in the database. It is false when
// that is away: closeLater must follow, else what the device has shown to know, and
// that its session ends or lives on, would be lost.
func (c *client) closeSession() bool {
	if c.session.Device == 0 {
		return true
	}
	again, err := c.tryToClose()
	if err != nil {
		c.hook.o.Logger.Warn("noting the end of a connection failed", "error", err, "user", c.who.Name, "again", again)
	}
	return !again
}

// askAnyway is how long nobody asks the database while it is known to be away.
const askAnyway = 5 * time.Second

// closeLater notes the end of the connection as soon as the database is back. What a
// server that ends has not noted the next start makes good.
func (c *client) closeLater() {
	h, tried := c.hook, time.Now()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		select {
		case <-h.ctx.Done():
			return
		case <-time.After(pause):
		}
		if !h.o.AwaySince().IsZero() && time.Since(tried) < askAnyway {
			continue
		}
		tried = time.Now()
		if again, _ := c.tryToClose(); !again {
			return
		}
	}
}

// tryToClose reports whether it is worth another try.
func (c *client) tryToClose() (again bool, err error) {
	c.mu.Lock()
	life := c.life
	c.mu.Unlock()
	ctx, cancel := c.hook.within(endTimeout)
	defer cancel()
	opened := store.Session{Device: c.session.Device, Opened: c.session.Opened}
	err = c.hook.o.Sessions.CloseSession(ctx, opened, life, c.sent.knows())
	return errors.Is(err, postbox.ErrUnavailable), err
}

// DisconnectUser ends a user's connections with a reason, but the one that has asked
// for it under the name that api.Caller has; empty: none has.
func (h *Hook) DisconnectUser(user postbox.UserID, code packets.Code, spare string) {
	for _, c := range h.registry.kick(target{user: user}) {
		if spare == "" || c.name != spare {
			c.disconnect(code)
		}
	}
}

// DisconnectLogin ends the connections of one of a user's logins with a reason.
func (h *Hook) DisconnectLogin(user postbox.UserID, login postbox.LoginID, code packets.Code) {
	for _, c := range h.registry.kick(target{user: user, login: login}) {
		c.disconnect(code)
	}
}

// DisconnectDevice ends the connection of one of a user's devices with a reason.
func (h *Hook) DisconnectDevice(user postbox.UserID, device string, code packets.Code) {
	for _, c := range h.registry.kick(target{user: user, device: device}) {
		c.disconnect(code)
	}
}

// DisconnectAll ends every connection with a reason, without waiting.
func (h *Hook) DisconnectAll(code packets.Code) {
	for _, c := range h.registry.all() {
		c.disconnect(code)
	}
}

// Admit lets clients in, or refuses them with "not now": before the parts beneath
// have begun, and when they end. A new hook admits.
func (h *Hook) Admit(yes bool) { h.refusing.Store(!yes) }

// AwaitEnds waits until every connection has ended, or ctx.
func (h *Hook) AwaitEnds(ctx context.Context) error {
	for _, c := range h.registry.all() {
		select {
		case <-c.conn.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Connected is how many clients are connected.
func (h *Hook) Connected() int { return len(h.registry.all()) }

// Finish waits for what connections have left to be done, after Hurry(0) and
// after their ends.
func (h *Hook) Finish() { h.work.Wait() }
