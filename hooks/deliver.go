package hooks

import (
	"encoding/binary"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"postbox"
	"postbox/inbox"
	"postbox/store"
)

// outlet writes a device's deliveries to its connection: an inbox.Outlet.
type outlet struct {
	client *client
	sub    store.Subscription
}

// scratch is where a delivery is put together before it is buffered.
type scratch struct {
	payload, properties, frame []byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// Ready reports whether the connection would take more now.
func (o *outlet) Ready() bool { return o.client.conn.Ready() }

// Flush lets the deliveries go out.
func (o *outlet) Flush() { o.client.conn.Kick() }

// Deliver buffers one entry as a PUBLISH, without its body if that is more than
// the client takes. False: not even that fits.
func (o *outlet) Deliver(d inbox.Delivery) bool {
	c := o.client
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	v := postbox.View{Epoch: c.hook.o.Epoch, After: d.After, Now: time.Now()}
	f := o.frame(s, d, v)
	if c.maxSize > 0 && f.size() > c.maxSize {
		v.TooLarge = f.size()
		if f = o.frame(s, d, v); f.size() > c.maxSize {
			return false
		}
	}
	s.frame = f.append(s.frame[:0])
	if f.qos > 0 && d.First {
		c.sent.delivers(f.packetID)
	}
	c.conn.Append(s.frame)
	c.hook.traces.delivered(c, d)
	return true
}

// Gap buffers the news of a gap, whose acknowledgement moves the cursor.
func (o *outlet) Gap(code postbox.Code, after, next postbox.InboxSeq, packetID uint16) bool {
	c := o.client
	f := publishFrame{
		topic: c.inboxFilter(), v5: c.v5,
		payload: postbox.AppendGap(nil, c.hook.o.Epoch, code, after, next),
	}
	if o.sub.QoS > 0 {
		f.qos, f.packetID = 1, packetID
	}
	if c.v5 {
		f.properties = appendUser(appendUser(nil, "type", "gap"), "code", string(code))
	}
	if c.maxSize > 0 && f.size() > c.maxSize {
		return false
	}
	c.conn.Append(f.append(nil))
	return true
}

// frame puts a delivery together.
func (o *outlet) frame(s *scratch, d inbox.Delivery, v postbox.View) publishFrame {
	c := o.client
	f := publishFrame{topic: c.inboxFilter(), qos: d.QoS, dup: d.Dup, v5: c.v5}
	if d.QoS > 0 {
		f.packetID = d.Entry.InboxSeq.PacketID()
	}
	raw := o.sub.Raw && c.v5
	switch {
	case !raw:
		s.payload = postbox.AppendEnvelope(s.payload[:0], d.Entry, v)
		f.payload = s.payload
	case d.Entry.Message != nil && d.Entry.Tombstone(v.Now) == "" && v.TooLarge == 0:
		f.payload = d.Entry.Message.Body
	}
	if c.v5 {
		s.properties = o.appendProperties(s.properties[:0], d.Entry, v, raw)
		f.properties = s.properties
	}
	return f
}

// appendProperties appends the properties of a delivery to MQTT 5: all fields
// of the envelope but the body, and what the protocol itself defines.
func (o *outlet) appendProperties(p []byte, e *postbox.Entry, v postbox.View, raw bool) []byte {
	m := e.Message
	contentType := "application/json"
	if raw && m != nil {
		contentType = m.ContentTypeOf()
	}
	if !raw || m == nil || utf8.Valid(m.Body) {
		p = append(p, propPayloadFormat, 1)
	}
	p = append(p, propContentType)
	p = appendText(p, contentType)
	if m != nil && !m.ExpiresAt.IsZero() && !m.Expired(v.Now) {
		p = append(p, propMessageExpiry)
		p = binary.BigEndian.AppendUint32(p, uint32(m.ExpiresAt.Sub(v.Now)/time.Second)+1)
	}
	if o.sub.Identifier > 0 {
		p = append(p, propSubscriptionID)
		p = appendLength(p, o.sub.Identifier)
	}
	p = appendNumber(p, "inbox-seq", int64(e.InboxSeq))
	if v.After != e.InboxSeq-1 {
		p = appendNumber(p, "after", int64(v.After))
	}
	p = appendUser(p, "epoch", string(v.Epoch))
	p = appendUser(p, "type", e.Type.String())
	switch {
	case e.Event != nil:
		p = appendEvent(p, e)
	case m != nil:
		p = appendMessage(p, e)
	}
	if t := e.Tombstone(v.Now); t != "" && e.Type != postbox.EntryRetract {
		return appendUser(p, t, "true")
	}
	if e.Event == nil && m != nil {
		p = appendUser(p, "content-type", m.ContentTypeOf())
		if m.Ref != "" {
			p = appendUser(p, "ref", m.Ref)
		}
	}
	if v.TooLarge > 0 {
		p = appendNumber(p, "too-large", int64(v.TooLarge))
	}
	return p
}

// appendMessage appends the fields of a message but those of its content.
func appendMessage(p []byte, e *postbox.Entry) []byte {
	m := e.Message
	var buf [36]byte
	p = appendUser(p, "id", m.ID.Append(buf[:0]))
	p = appendBetween(p, m.From, m.To, m.Room, m.Seq)
	p = appendMoment(p, "sent-at", m.SentAt)
	if !m.EditedAt.IsZero() {
		p = appendMoment(p, "edited-at", m.EditedAt)
	}
	if e.Own && m.Key != "" {
		p = appendUser(p, "idempotency-key", m.Key)
	}
	if e.Own && m.Device != "" {
		p = appendUser(p, "device", m.Device)
	}
	return p
}

// appendEvent appends the fields of what happened.
func appendEvent(p []byte, e *postbox.Entry) []byte {
	h := e.Event
	if h.Change != nil {
		return appendRoomEvent(p, h)
	}
	about := e.Type == postbox.EntryEdit || e.Type == postbox.EntryRetract
	var buf [36]byte
	if about {
		p = appendUser(p, "id", h.ID.Append(buf[:0]))
	}
	p = appendBetween(p, h.From, h.To, h.Room, h.Seq)
	p = appendMoment(p, "sent-at", h.At)
	if e.Own && h.Key != "" {
		p = appendUser(p, "idempotency-key", h.Key)
	}
	if about {
		p = appendUser(p, "ref", `{"id":"`+h.Of.String()+`"}`)
	}
	return p
}

// appendRoomEvent appends what has happened to a room.
func appendRoomEvent(p []byte, h *postbox.Event) []byte {
	c := h.Change
	p = appendUser(p, "room", string(h.Room))
	p = appendUser(p, "from", string(h.From))
	p = appendUser(p, "event", string(c.What))
	if c.User != "" {
		p = appendUser(p, "user", string(c.User))
	}
	if c.Role != "" {
		p = appendUser(p, "role", string(c.Role))
	}
	if c.History != "" {
		p = appendUser(p, "title", c.Title)
		p = appendUser(p, "public", strconv.FormatBool(c.Public))
		p = appendUser(p, "history", string(c.History))
	}
	return appendMoment(p, "sent-at", h.At)
}

func appendBetween(p []byte, from, to postbox.User, room postbox.Room, seq postbox.Seq) []byte {
	p = appendUser(p, "from", string(from))
	if room != "" {
		p = appendUser(p, "room", string(room))
	} else {
		p = appendUser(p, "to", string(to))
	}
	return appendNumber(p, "seq", int64(seq))
}

func appendNumber(p []byte, name string, n int64) []byte {
	var buf [20]byte
	return appendUser(p, name, strconv.AppendInt(buf[:0], n, 10))
}

func appendMoment(p []byte, name string, at time.Time) []byte {
	var buf [32]byte
	return appendUser(p, name, postbox.AppendTime(buf[:0], at))
}
