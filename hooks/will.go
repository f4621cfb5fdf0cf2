package hooks

import (
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/inbox"
)

// will is a client's last message. It goes the way of every publish: checked
// at CONNECT, stored when it fires.
type will struct {
	packet packets.Packet
	topic  postbox.Topic
	delay  time.Duration
}

// readWill checks the will of a CONNECT like a publish.
func (c *client) readWill(offered *packets.ConnectParams) error {
	if offered == nil || !offered.WillFlag {
		return nil
	}
	topic, err := postbox.ParseTopic(offered.WillTopic)
	if err != nil {
		return err
	}
	p := offered.WillProperties
	w := &will{topic: topic, delay: time.Duration(p.WillDelayInterval) * time.Second}
	w.packet = packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish},
		TopicName:   offered.WillTopic, Payload: offered.WillPayload, Properties: p,
	}
	if topic.Kind != postbox.KindInbox {
		return errNotStored(offered.WillTopic)
	}
	if d := c.draft(w.packet, topic); d.Refusal != nil {
		return d.Refusal
	}
	c.will = w
	return nil
}

// wills are those that wait for their delay, one per device. A device that
// returns in time takes its will back [MQTT-3.1.3-9].
type wills struct {
	mu     sync.Mutex // guards timers
	timers map[deviceKey]*time.Timer
}

func (w *wills) cancel(k deviceKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.timers[k]; t != nil {
		t.Stop()
		delete(w.timers, k)
	}
}

func (w *wills) after(k deviceKey, delay time.Duration, send func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timers == nil {
		w.timers = make(map[deviceKey]*time.Timer)
	}
	if t := w.timers[k]; t != nil {
		t.Stop()
	}
	var t *time.Timer
	t = time.AfterFunc(delay, func() {
		w.mu.Lock()
		mine := w.timers[k] == t
		if mine {
			delete(w.timers, k)
		}
		w.mu.Unlock()
		if mine {
			send()
		}
	})
	w.timers[k] = t
}

// leaveWill fires the will of a connection that ended without DISCONNECT,
// after its delay or with its session, whichever is sooner.
func (c *client) leaveWill() {
	c.mu.Lock()
	w := c.will
	c.will = nil
	clean := c.clean
	delay := time.Duration(0)
	if w != nil {
		delay = min(w.delay, c.life)
	}
	c.mu.Unlock()
	if w == nil || clean {
		return
	}
	send := func() {
		d := c.draft(w.packet, w.topic)
		d.Origin = nil // nobody waits for an answer
		if err := c.lane.Submit(d); err != nil {
			c.hook.o.Logger.Warn("a will was not stored", "error", err, "user", c.who.Name)
		}
	}
	if delay == 0 {
		send()
		return
	}
	c.hook.wills.after(c.key(), delay, send)
}

var _ inbox.Origin = (*client)(nil)
