package hooks

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/api"
	"postbox/store"
)

// connectTimeout bounds what a CONNECT may wait for: the database, a free
// place to check a password, the end of the device's earlier connection.
const connectTimeout = 10 * time.Second

// OnConnect authenticates, takes the device over from its earlier connection,
// and opens its session. A refusal is answered here, with the code that says
// why, because Mochi knows one only.
func (h *Hook) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	conn := h.connOf(cl)
	if err := h.CheckHooks(); err != nil { // one may have been added since
		h.o.Logger.Error("nobody is let in", "error", err)
		return h.refuse(cl, pk, errNotNow)
	}
	if h.refusing.Load() {
		h.o.Logger.Warn("a connect was refused: Postbox has not been started, or has ended")
		return h.refuse(cl, pk, errNotNow)
	}
	ctx, cancel := h.within(connectTimeout)
	defer cancel()
	span := h.traces.connect(conn, pk)
	var c *client
	end, err := h.checking.begin(conn.host())
	if err == nil {
		defer end()
		if c, err = h.connect(ctx, cl, conn, pk, span); err == nil {
			span.done("")
			return nil
		}
	}
	refusal := h.connectRefusal(err)
	span.done(refusal.Code)
	refused := h.refuse(cl, pk, refusal)
	if c != nil { // what it had opened before it failed
		c.stopDelivery()
		c.dropWatches()
		c.endListening(nil)
		ctx, cancel := h.within(endTimeout)
		defer cancel()
		c.dropWill(ctx)
		if c.closeSession() {
			c.leaveGate(false)
		} else {
			h.work.Go(func() {
				c.closeLater()
				c.leaveGate(false)
			})
		}
	}
	return refused
}

// refuse answers a CONNECT that is not let in. The log gets the code alone: the
// sentence may repeat what the client sent.
func (h *Hook) refuse(cl *mqtt.Client, pk packets.Packet, e *postbox.Error) error {
	h.connOf(cl).judged = true
	h.metrics.refused.WithLabelValues(string(e.Code)).Inc()
	_ = h.server.SendConnack(cl, connackCode(e, pk.ProtocolVersion == 5), false, nil)
	return fmt.Errorf("connect refused: %s", e.Code)
}

var errNotNow = postbox.Errorf(postbox.CodeUnavailable, "the server cannot check this connection now: try again later")

// connectRefusal is what the client is told. What is not the client's fault is
// "try again later", and its cause goes to the log.
func (h *Hook) connectRefusal(err error) *postbox.Error {
	var e *postbox.Error
	if errors.As(err, &e) && e.Code != postbox.CodeUnavailable && e.Code != postbox.CodeInternal {
		return e
	}
	h.o.Logger.Warn("a connect could not be checked", "error", err)
	return errNotNow
}

func (h *Hook) connect(ctx context.Context, cl *mqtt.Client, conn *Conn, pk packets.Packet, span *connecting) (*client, error) {
	c := &client{
		hook: h, cl: cl, conn: conn, device: cl.ID, name: rand.Text(), protocol: pk.ProtocolVersion, v5: pk.ProtocolVersion == 5,
		filters: make(map[string]bool), problem: true, began: time.Now(), connected: span.context(),
	}
	c.settled.L = &c.mu
	if err := postbox.CheckDevice(c.device); err != nil {
		return nil, err
	}
	if pk.Properties.AuthenticationMethod != "" {
		return nil, errAuthMethod
	}
	done := span.step("authenticate")
	err := h.patiently(ctx, func() (err error) {
		c.who, err = h.o.Accounts.Authenticate(ctx, Credentials{
			User: string(pk.Connect.Username), Password: pk.Connect.Password,
			Certificate: conn.certificate, Remote: conn.host(),
		})
		return err
	})
	done()
	if err != nil {
		return nil, err
	}
	if !h.packets.take(c.who.ID, costConnect) {
		return nil, errTooManyConnects
	}
	if h.registry.crowded(c.key(), h.o.Limits.Connections) {
		return nil, errCrowded
	}
	c.lane = h.o.LaneOf(c.who.ID)
	c.readProperties(pk)
	if err := c.readWill(ctx, conn.offered); err != nil {
		return nil, err
	}
	cl.ID = c.mochiID()
	c.boundKeepAlive()
	if err := c.takeOver(ctx); err != nil {
		return c, err
	}
	done = span.step("open session")
	err = c.openSession(ctx, pk)
	done()
	if err != nil {
		return c, err
	}
	c.shown = api.Shown{Since: c.who.Since, Ends: c.who.Ends, Login: c.who.Login}
	if !c.who.Ends.IsZero() {
		c.ends = time.AfterFunc(time.Until(c.who.Ends), func() { c.disconnect(packets.ErrMaxConnectTime) })
	}
	conn.client.Store(c)
	return c, nil
}

// readProperties takes what the client said of itself.
func (c *client) readProperties(pk packets.Packet) {
	p := pk.Properties
	c.window = c.hook.o.Limits.Window
	c.life = c.hook.o.Limits.SessionLife
	if !c.v5 {
		if pk.Connect.Clean {
			c.life = 0
		}
		return
	}
	c.maxSize = int(p.MaximumPacketSize)
	c.problem = !p.RequestProblemInfoFlag || p.RequestProblemInfo != 0
	c.life = min(c.life, time.Duration(p.SessionExpiryInterval)*time.Second)
	c.window = maxWindow
	if p.ReceiveMaximum > 0 {
		c.window = min(int(p.ReceiveMaximum), maxWindow)
	}
}

// maxWindow bounds the deliveries that may be unacknowledged, whatever a
// client allows: enough to keep any link busy.
const maxWindow = 1024

// boundKeepAlive bounds the keep-alive, also for clients that want none: Mochi
// computes its one and a half in 16 bits, and would wait for ever.
func (c *client) boundKeepAlive() {
	longest := uint16(min(c.hook.o.Limits.KeepAlive/time.Second, 43690))
	if k := c.cl.State.Keepalive; k == 0 || k > longest {
		c.cl.State.Keepalive = longest
		c.cl.State.ServerKeepalive = true // announced to MQTT 5
	}
	c.conn.SetKeepAlive(time.Duration(c.cl.State.Keepalive) * time.Second)
}

// takeOver waits for the device's gate, ends its earlier connection, and waits
// until what that one published is settled.
func (c *client) takeOver(ctx context.Context) error {
	s, old, err := c.hook.registry.enter(ctx, c.key())
	if err != nil {
		return fmt.Errorf("wait for another connect of the device: %w", err)
	}
	c.entered = s
	if old == nil {
		return nil
	}
	old.disconnect(packets.ErrSessionTakenOver)
	select {
	case <-old.conn.ended:
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of the device's earlier connection: %w", ctx.Err())
	}
	if err := old.drained(ctx); err != nil {
		return fmt.Errorf("wait for the publishes of the device's earlier connection: %w", err)
	}
	return nil
}

func (c *client) openSession(ctx context.Context, pk packets.Packet) error {
	defer c.hook.wills.read()()
	// The device's earlier connection may have left a cursor to be saved.
	err := c.hook.patiently(ctx, func() error { return c.hook.o.Mail.FlushCursors(ctx) })
	if err != nil {
		return err
	}
	err = c.hook.patiently(ctx, func() (err error) {
		c.session, err = c.hook.o.Sessions.OpenSession(ctx, store.SessionRequest{
			User: c.who.ID, ClientID: c.device, Epoch: c.hook.o.Epoch, Protocol: pk.ProtocolVersion,
			Life: c.life, Clean: pk.Connect.Clean, Limit: c.hook.o.Limits.Devices, Will: c.will,
			Began: c.began,
		})
		return err
	})
	if err != nil {
		return err
	}
	for _, w := range c.session.Wills {
		c.hook.sendWill(w)
	}
	c.sent.known.upTo = c.session.Known
	for _, sub := range c.session.Subscriptions {
		c.filters[sub.Filter] = true
		switch {
		case sub.Filter == c.inboxFilter():
			if err := c.subscribeInbox(ctx, sub, c.returnAt()); err != nil {
				return err
			}
		case strings.HasPrefix(sub.Filter, "presence/"):
			// A session resumes with the state as it is now.
			c.noteWatch(packets.Subscription{Filter: sub.Filter, Identifier: sub.Identifier})
		case sub.Filter == c.signalFilter():
			c.listen(packets.Subscription{Identifier: sub.Identifier, NoLocal: sub.NoLocal})
		}
	}
	return nil
}

// leaveGate lets the device's next CONNECT in. The first call counts.
func (c *client) leaveGate(connected bool) {
	c.mu.Lock()
	s := c.entered
	c.entered = nil
	c.mu.Unlock()
	if s == nil {
		return
	}
	if connected {
		c.hook.registry.leave(c.key(), s, c)
	} else {
		c.hook.registry.leave(c.key(), s, nil)
	}
}

// OnConnectAuthenticate lets in whom OnConnect has let in.
func (h *Hook) OnConnectAuthenticate(cl *mqtt.Client, _ packets.Packet) bool {
	return clientOf(cl) != nil
}

// OnSessionEstablish gives Mochi the session's subscriptions to what it fans
// out itself.
func (h *Hook) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	c := clientOf(cl)
	if c == nil {
		return
	}
	for _, sub := range c.session.Subscriptions {
		if sub.Filter != c.inboxFilter() {
			s := packets.Subscription{Filter: sub.Filter, Identifier: sub.Identifier, NoLocal: sub.NoLocal}
			h.server.Topics.Subscribe(cl.ID, s)
			cl.State.Subscriptions.Add(sub.Filter, s)
		}
	}
}

// OnSessionEstablished starts delivery, after the CONNACK.
func (h *Hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	c := clientOf(cl)
	if c == nil {
		return
	}
	// Sessions are ours: to Mochi every client is a clean one, which it
	// forgets when the connection ends.
	cl.Properties.Clean = true
	cl.Properties.Props.SessionExpiryInterval = 0
	if c.v5 {
		c.conn.expectFarewell()
	}
	c.leaveGate(true)
	h.metrics.accepted.WithLabelValues(protocolOf(c.protocol)).Inc()
	h.metrics.connect.Observe(time.Since(c.began).Seconds())
	c.arrived = true
	h.Arrived(c.who.ID, c.who.Name)
	if h.registry.kickedSince(c, c.began) {
		c.disconnect(packets.ErrAdministrativeAction)
		return
	}
	if h.refusing.Load() {
		c.disconnect(packets.ErrServerShuttingDown)
		return
	}
	c.mu.Lock()
	sub := c.inbox
	c.mu.Unlock()
	if sub != nil {
		sub.Resume()
	}
	c.showPresent()
}
