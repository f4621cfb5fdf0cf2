package client

import (
	"strings"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// arrive takes one PUBLISH from Paho, which waits for it to return before it
// reads on.
func (c *Client) arrive(l *link, m mqtt.Message) {
	head, _, _ := strings.Cut(m.Topic(), "/")
	switch head {
	case "reply":
		c.replied(m)
	case "signal":
		s, err := parseSignal(m.Payload())
		if err != nil {
			c.dropped(m, err)
			return
		}
		c.signals.put(s)
	case "presence":
		p, err := parsePresence(m.Payload())
		if err != nil {
			c.dropped(m, err)
			return
		}
		c.presence.put(p)
	default:
		c.delivered(l, m)
	}
}

func (c *Client) replied(m mqtt.Message) {
	id, r, err := readReply(m.Payload())
	if err != nil {
		c.dropped(m, err)
		return
	}
	c.outbox.answer(id, r)
}

func (c *Client) dropped(m mqtt.Message, err error) {
	c.o.Logger.Error("delivery cannot be read and is dropped", "device", c.o.Device, "topic", m.Topic(), "error", err)
}

// delivered takes an entry of the inbox, a gap or an error.
func (c *Client) delivered(l *link, m mqtt.Message) {
	l.prove()
	defer c.ledger.flush()
	e, err := ParseEnvelope(m.Payload())
	if err != nil {
		c.dropped(m, err)
		c.ledger.skip(l, m.Ack)
		return
	}
	if e.Type == TypeError {
		c.ledger.skip(l, m.Ack)
		// What a request is refused for its reply has told.
		if !c.outbox.refuse(&e) && !strings.HasPrefix(e.Topic, "api/") {
			c.o.Logger.Warn("refusal of a send that nobody waits for", "topic", e.Topic, "idempotency_key", e.Key, "code", e.Code)
		}
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
