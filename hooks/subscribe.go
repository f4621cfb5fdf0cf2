package hooks

import (
	"context"
	"errors"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/inbox"
	"postbox/store"
)

func (c *client) inboxFilter() string { return "inbox/" + string(c.who.Name) }

// What takes the place of a filter that is refused: one that OnACLCheck does
// not allow (SUBACK 0x87), and one that is none to Mochi (0x8F).
const (
	forbiddenFilter = "$share/refused/x"
	invalidFilter   = "$share/refused"
)

// OnSubscribe takes each filter that the client may have into its session,
// before the SUBACK. It bounds the QoS to what is granted: 1 for the inbox, 0
// for what is not kept.
func (h *Hook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := clientOf(cl)
	if c == nil {
		return pk
	}
	ctx, cancel := h.within(connectTimeout)
	defer cancel()
	c.readSince(pk)
	filters := make(packets.Subscriptions, len(pk.Filters))
	copy(filters, pk.Filters)
	pk.Filters = filters
	for i := range filters {
		f, err := c.parseFilter(filters[i].Filter)
		switch {
		case errors.Is(err, postbox.ErrInvalid):
			filters[i] = packets.Subscription{Filter: invalidFilter}
			continue
		case err != nil || !f.Control && !c.room(filters[i].Filter):
			filters[i] = packets.Subscription{Filter: forbiddenFilter}
			continue
		}
		if f.Kind != postbox.KindInbox {
			filters[i].Qos = 0
		}
		if f.Control {
			// Granted, and one and the same to Mochi, which keeps them all.
			filters[i].Filter = c.inboxFilter() + "/since/0"
		}
		filters[i].Qos = min(filters[i].Qos, 1)
		if err := c.subscribe(ctx, filters[i], f, pk.Properties); err != nil {
			// Not granted and not refused for good: the client must come back.
			h.o.Logger.Warn("a subscription could not be kept", "error", err, "user", c.who.Name)
			c.disconnect(packets.ErrServerBusy)
			return pk
		}
	}
	return pk
}

// parseFilter parses a filter that the client may have.
func (c *client) parseFilter(filter string) (postbox.Filter, error) {
	if c.mayUse(filter, false) {
		return postbox.Filter{}, nil
	}
	return postbox.ParseFilter(filter, c.who.Name)
}

// room reports whether the device may have one more filter, and counts it.
func (c *client) room(filter string) bool {
	if c.filters[filter] {
		return true
	}
	if len(c.filters) >= c.hook.o.Limits.Subscriptions {
		return false
	}
	c.filters[filter] = true
	return true
}

// readSince notes where the client says it is, in a control filter or a user
// property.
func (c *client) readSince(pk packets.Packet) {
	for _, sub := range pk.Filters {
		if f, err := postbox.ParseFilter(sub.Filter, c.who.Name); err == nil && f.Control {
			c.since = &f.Since
		}
	}
	for _, u := range pk.Properties.User {
		if u.Key == "since" {
			if pos, err := postbox.ParsePosition(u.Val); err == nil {
				c.since = &pos
			}
		}
	}
}

func (c *client) subscribe(ctx context.Context, sub packets.Subscription, f postbox.Filter, p packets.Properties) error {
	kept := store.Subscription{Filter: sub.Filter, QoS: sub.Qos, NoLocal: sub.NoLocal, Identifier: sub.Identifier}
	if f.Control {
		return nil // it is an instruction, not a subscription
	}
	for _, u := range p.User {
		if u.Key == "form" && u.Val == "raw" && f.Kind == postbox.KindInbox {
			kept.Raw = true
		}
	}
	switch f.Kind {
	case postbox.KindInbox:
		if err := c.startInbox(ctx, kept); err != nil {
			return err
		}
	case postbox.KindPresence:
		c.noteWatch(sub)
	case postbox.KindSignal:
		c.listen(sub)
	}
	if c.session.Device == 0 {
		return nil
	}
	return c.hook.patiently(ctx, func() error { return c.hook.o.Sessions.SaveSubscription(ctx, c.session.Device, kept) })
}

// startInbox makes or replaces the device's subscription to its inbox.
func (c *client) startInbox(ctx context.Context, sub store.Subscription) error {
	c.starting = true
	c.mu.Lock()
	old := c.inbox
	c.mu.Unlock()
	since := c.since
	c.since = nil
	if old != nil && (since == nil || c.session.Present) {
		// A library's automatic re-subscribe: delivery goes on where it is.
		if old.kept == sub {
			return nil
		}
		at := old.place()
		old.Close()
		return c.subscribeInbox(ctx, sub, at)
	}
	if old != nil {
		old.Close()
	}
	at, err := c.startAt(ctx, since)
	if err != nil {
		return err
	}
	if err := c.subscribeInbox(ctx, sub, at); err != nil {
		return err
	}
	if since != nil && since.Epoch == c.hook.o.Epoch && c.inbox.Unheard() != "" {
		c.hook.o.Lineage.Ahead(ctx)
	}
	return c.keepStart(ctx)
}

// startAt says where the device's subscription begins.
func (c *client) startAt(ctx context.Context, since *postbox.Position) (inbox.Start, error) {
	switch {
	case since != nil && since.Epoch != "" && since.Epoch != c.hook.o.Epoch:
		var at postbox.InboxSeq
		var known bool
		err := c.hook.patiently(ctx, func() (err error) {
			at, known, err = c.hook.o.Lineage.PositionSince(ctx, c.who.ID, *since)
			return err
		})
		return inbox.Start{After: at, AtEnd: !known, Lost: postbox.CodeEpochChanged}, err
	case since != nil:
		return inbox.Start{After: since.Seq}, nil
	case c.left != nil:
		return *c.left, nil
	case c.session.Device == 0 || c.session.Cursor < 0:
		return inbox.Start{AtEnd: true}, nil
	}
	return c.returnAt(), nil
}

// returnAt is where a session goes on.
func (c *client) returnAt() inbox.Start {
	at := inbox.Start{After: c.session.Cursor, Resumed: c.session.Present}
	if c.session.Epoch != c.hook.o.Epoch {
		// The cursor is that of the database as it was when the epoch ended, so
		// what is after it is due.
		at.Lost = postbox.CodeEpochChanged
	}
	return at
}

// keepStart keeps where the device starts before the SUBACK, also backwards;
// with no epoch while the device is still to hear that its own is over.
func (c *client) keepStart(ctx context.Context) error {
	if c.session.Device == 0 {
		return nil
	}
	if err := c.hook.patiently(ctx, func() error { return c.hook.o.Mail.FlushCursors(ctx) }); err != nil {
		return err
	}
	c.session.Cursor, c.session.Epoch = c.inbox.Cursor(), c.hook.o.Epoch
	if c.inbox.Unheard() != "" {
		c.session.Epoch = ""
	}
	return c.hook.patiently(ctx, func() error {
		return c.hook.o.Sessions.SetCursor(ctx, c.session.Device, c.session.Epoch, c.session.Cursor)
	})
}

// place is where a subscription is, for another that takes its place.
func (s *inboxSubscription) place() inbox.Start {
	return inbox.Start{After: s.Cursor(), Lost: s.Unheard(), Resumed: true}
}

// subscribeInbox attaches the device to its inbox. Delivery starts with Resume.
func (c *client) subscribeInbox(ctx context.Context, sub store.Subscription, at inbox.Start) error {
	d := inbox.Device{
		User: c.who.ID, ID: c.session.Device, Name: c.device,
		QoS: sub.QoS, NoLocal: sub.NoLocal, Window: c.window,
	}
	out := &outlet{client: c, sub: sub}
	var s *inbox.Subscription
	err := c.hook.patiently(ctx, func() (err error) {
		s, err = c.hook.o.Mail.Subscribe(ctx, d, at, out)
		return err
	})
	if err != nil {
		return err
	}
	c.conn.OnDrained(s.Resume)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inbox = &inboxSubscription{Subscription: s, kept: sub}
	return nil
}

// OnPacketProcessed starts delivery once Mochi has written the SUBACK.
func (h *Hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, _ error) {
	if pk.FixedHeader.Type != packets.Subscribe {
		return
	}
	c := clientOf(cl)
	if c == nil {
		return
	}
	c.showPresent()
	if !c.starting {
		return
	}
	c.starting = false
	c.mu.Lock()
	sub := c.inbox
	c.mu.Unlock()
	if sub != nil {
		sub.Resume()
	}
}

// OnUnsubscribe ends delivery; the cursor is kept.
func (h *Hook) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := clientOf(cl)
	if c == nil {
		return pk
	}
	ctx, cancel := h.within(connectTimeout)
	defer cancel()
	names := make([]string, 0, len(pk.Filters))
	for _, f := range pk.Filters {
		names = append(names, f.Filter)
		delete(c.filters, f.Filter)
		if strings.HasPrefix(f.Filter, "presence/") {
			c.dropWatch(f.Filter)
		}
		if f.Filter == c.signalFilter() {
			c.endListening(nil)
		}
		if f.Filter != c.inboxFilter() {
			continue
		}
		c.mu.Lock()
		sub := c.inbox
		c.inbox = nil
		c.mu.Unlock()
		if sub != nil {
			at := sub.place()
			c.left = &at
			sub.Close()
		}
	}
	if c.session.Device != 0 {
		err := h.patiently(ctx, func() error { return h.o.Sessions.DeleteSubscriptions(ctx, c.session.Device, names) })
		if err != nil {
			h.o.Logger.Warn("an unsubscribe could not be kept", "error", err, "user", c.who.Name)
			c.disconnect(packets.ErrServerBusy)
		}
	}
	return pk
}

// OnACLCheck answers for subscriptions and for what Mochi fans out. Writing is
// always allowed here: a refusal at this place would be answered out of order
// and would disconnect 3.1.1 clients. Publishes are judged in publish.
func (h *Hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	c := clientOf(cl)
	if c == nil {
		return false
	}
	if write {
		return true
	}
	if strings.HasPrefix(topic, "$") {
		return false
	}
	// Who may see whom is not asked here: presence does not come by Mochi.
	_, err := c.parseFilter(topic)
	return err == nil
}
