package hooks

import (
	"context"
	"errors"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/inbox"
)

// Signals carries what is not kept (docs/spec.md §3, signal).
type Signals interface {
	// Signal sends s to the devices that are online now, or says why it may not.
	Signal(ctx context.Context, s *postbox.Signal) error
	// Listen adds a device of a user, until Leave.
	Listen(user postbox.UserID, l inbox.Listener)
	Leave(user postbox.UserID, l inbox.Listener)
}

// signalTimeout bounds the look at who may signal to whom. A signal that it takes
// longer for is lost: nobody waits for it.
const signalTimeout = 2 * time.Second

// signal sends what is not kept, and makes the draft with which it is answered in
// its turn: what is published behind it waits for the look at who gets it.
func (c *client) signal(pk packets.Packet, topic postbox.Topic) (*inbox.Draft, func()) {
	if len(pk.Payload) > postbox.MaxSignal {
		return c.refused(pk, postbox.Errorf(postbox.CodeTooLarge, "the signal has %d bytes; at most %d are allowed", len(pk.Payload), postbox.MaxSignal)), nil
	}
	d := c.passed(pk)
	s := &postbox.Signal{
		Sender: c.who.ID, From: c.who.Name, Device: c.device, To: topic.User, Room: topic.Room, Body: pk.Payload,
	}
	return d, func() {
		ctx, cancel := c.hook.within(signalTimeout)
		defer cancel()
		err := c.hook.o.Signals.Signal(ctx, s)
		var refusal *postbox.Error
		if errors.As(err, &refusal) && refusal.Code != postbox.CodeUnavailable {
			d.Refusal = refusal
		} else if err != nil && ctx.Err() == nil && !errors.Is(err, postbox.ErrUnavailable) {
			c.hook.o.Logger.Warn("a signal was lost", "error", err, "user", c.who.Name)
		}
	}
}

// signalFilter is where the user's signals come.
func (c *client) signalFilter() string { return "signal/" + string(c.who.Name) }

// listening is a connection's subscription to its signals.
type listening struct {
	client     *client
	identifier int
	noLocal    bool
}

// listen begins to take signals, or goes on in another way.
func (c *client) listen(sub packets.Subscription) {
	l := &listening{client: c, identifier: sub.Identifier, noLocal: sub.NoLocal}
	c.hook.o.Signals.Listen(c.who.ID, l)
	c.endListening(l)
}

// endListening ends the subscription there was; next takes its place.
func (c *client) endListening(next *listening) {
	c.mu.Lock()
	old := c.signals
	c.signals = next
	c.mu.Unlock()
	if old != nil {
		c.hook.o.Signals.Leave(c.who.ID, old)
	}
}

// Signal implements inbox.Listener: at QoS 0. A device that takes nothing now does
// without.
func (l *listening) Signal(payload []byte, s *postbox.Signal) {
	c := l.client
	own := s != nil && s.Sender == c.who.ID && s.Device == c.device
	if own && l.noLocal || !c.conn.Ready() {
		return
	}
	f := publishFrame{topic: c.signalFilter(), v5: c.v5, payload: payload}
	if c.v5 {
		f.properties = appendText(append(f.properties, propPayloadFormat, 1, propContentType), "application/json")
		if l.identifier > 0 {
			f.properties = appendLength(append(f.properties, propSubscriptionID), l.identifier)
		}
		f.properties = appendSignal(f.properties, s)
	}
	if c.maxSize > 0 && f.size() > c.maxSize {
		return
	}
	c.conn.Append(f.append(nil))
	c.conn.Kick()
}

// appendSignal appends the fields of a signal but its body.
func appendSignal(p []byte, s *postbox.Signal) []byte {
	if s == nil {
		return p
	}
	p = appendUser(appendUser(p, "type", "signal"), "from", string(s.From))
	if s.Room != "" {
		return appendUser(p, "room", string(s.Room))
	}
	return appendUser(p, "to", string(s.To))
}
