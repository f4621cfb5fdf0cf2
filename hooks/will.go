package hooks

import (
	"context"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/inbox"
	"postbox/store"
)

// A will goes the way of every publish: checked at CONNECT, stored with the
// session, and from there through the lane of its user into the inbox. The row
// of the will is deleted by the transaction that inserts its message, so that it
// is sent once, whenever the server is killed: what is left of it at the next
// start is due then.

// willPatience is for how long a CONNECT with a will waits while its user
// publishes faster than allowed.
const willPatience = connectTimeout / 2

// readWill checks the will of a CONNECT like a publish, as which it counts for
// the publish rate: here, where the client can be made to wait or come back, and
// not when it is sent and must not be lost.
func (c *client) readWill(ctx context.Context, offered *packets.ConnectParams) error {
	if offered == nil || !offered.WillFlag {
		return nil
	}
	if !strings.ContainsAny(offered.WillTopic, "+#") && c.mayUse(offered.WillTopic, true) {
		c.leaveWillToMochi(offered)
		return nil
	}
	topic, err := c.hook.parseTopic(offered.WillTopic)
	if err == nil && topic.Kind != postbox.KindInbox && topic.Kind != postbox.KindRoom {
		// Nobody is there any more to hear a reply.
		err = postbox.Errorf(postbox.CodeInvalid, "a will cannot go to %.80q: give it the topic inbox/{user} or room/{room}", offered.WillTopic)
	}
	if err != nil {
		return err
	}
	p := offered.WillProperties
	d := c.draft(packets.Packet{TopicName: offered.WillTopic, Payload: offered.WillPayload, Properties: p}, topic)
	if d.Refusal != nil {
		return d.Refusal
	}
	to := postbox.RouteKey{Sender: c.who.ID, To: topic.User, Room: topic.Room}
	err = c.hook.patiently(ctx, func() error { return c.hook.o.MayWrite(ctx, to) })
	if err != nil {
		return err
	}
	if err := c.hook.limiters.await(ctx, c.who.ID, willPatience); err != nil {
		return err
	}
	m := d.Publish.Message
	c.will = &store.Will{
		ID: m.ID, User: m.Sender, From: m.From, ClientID: m.Device,
		Delay: time.Duration(p.WillDelayInterval) * time.Second,
		To:    m.To, Room: m.Room, Key: m.Key, ContentType: m.ContentType, Ref: m.Ref, Expiry: d.Publish.Expiry, Body: m.Body,
	}
	return nil
}

// draftOfWill makes the draft of the message that a will becomes.
func draftOfWill(w store.Will) *inbox.Draft {
	d := &inbox.Draft{To: w.To, User: w.User}
	d.Publish = postbox.Publish{
		Message: &postbox.Message{
			ID: w.ID, Sender: w.User, From: w.From, To: w.To, Room: w.Room, ContentType: w.ContentType,
			Ref: w.Ref, Key: w.Key, Device: w.ClientID, Body: w.Body,
		},
		Expiry: w.Expiry, Will: true,
	}
	d.Publish.Digest = postbox.DigestOf(d.Publish.Message.Destination(), w.ContentType, w.Ref, w.Expiry, w.Body)
	return d
}

// takeWill takes the connection's will away from it; nil if it has none.
func (c *client) takeWill() (w *store.Will, life time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, c.will = c.will, nil
	return w, c.life
}

// leaveWill is for the end of a connection without DISCONNECT: the will is due
// after its delay or with the session, whichever is sooner [MQTT-3.1.3-9]. One
// that is due now is in its lane when this returns, before anything that the
// device's next connection publishes. But where the server has ended the user's
// connections, as those of a disabled one, what the database says of the user
// counts, and not what was true at CONNECT: the will is read from there.
func (c *client) leaveWill(ctx context.Context) {
	w, life := c.takeWill()
	switch {
	case w == nil:
	case min(w.Delay, life) == 0 && !c.hook.registry.kickedSince(c, c.began):
		c.hook.sendWill(*w)
	default:
		c.hook.noteWill(ctx, willNote{id: w.ID, due: time.Now().Add(min(w.Delay, life))})
	}
}

// dropWill is for a DISCONNECT that takes the will back [MQTT-3.14.4-3], and for
// a CONNECT that was refused. It returns when the will is forgotten, so that a
// client that sees its connection closed can rely on it; unless the database is
// away.
func (c *client) dropWill(ctx context.Context) {
	if w, _ := c.takeWill(); w != nil {
		c.hook.noteWill(ctx, willNote{id: w.ID, drop: true})
	}
}
