package postbox

import (
	"encoding/base64"
	"strconv"
	"time"
	"unicode/utf8"
)

// View says how an entry is shown to one device.
type View struct {
	Epoch Epoch
	// After is the number up to which nothing else is due to the device; it is
	// shown only when it is not the entry's number less one.
	After InboxSeq
	// TooLarge, when not zero, is the size in bytes of the full envelope,
	// which the device cannot take: the body is left out.
	TooLarge int
	// Now decides whether the message has expired.
	Now time.Time
}

// AppendEnvelope appends e as the JSON object of docs/spec.md §4. The payload
// bytes of a message that are not UTF-8 become body_base64. An entry of which
// nothing is known has its number and its type only.
func AppendEnvelope(dst []byte, e *Entry, v View) []byte {
	dst = append(dst, `{"inbox_seq":`...)
	dst = strconv.AppendInt(dst, int64(e.InboxSeq), 10)
	if v.After != e.InboxSeq-1 {
		dst = append(dst, `,"after":`...)
		dst = strconv.AppendInt(dst, int64(v.After), 10)
	}
	dst = append(dst, `,"epoch":"`...)
	dst = append(dst, v.Epoch...)
	dst = append(dst, `","type":"`...)
	dst = append(dst, e.Type.String()...)
	dst = append(dst, '"')
	switch {
	case e.Event != nil:
		dst = appendEvent(append(dst, ','), e, v)
	case e.Message != nil:
		dst = appendMessage(append(dst, ','), e, v)
	}
	return append(dst, '}')
}

// AppendMessage appends a message as a JSON object: its envelope without what
// belongs to an inbox. Own shows the idempotency key and the sending device.
func AppendMessage(dst []byte, m *Message, own bool, now time.Time) []byte {
	e := Entry{Message: m, Own: own}
	return append(appendMessage(append(dst, '{'), &e, View{Now: now}), '}')
}

// AppendMessageTooLarge is AppendMessage without the body: size, in bytes, is
// how large all would be.
func AppendMessageTooLarge(dst []byte, m *Message, own bool, now time.Time, size int) []byte {
	e := Entry{Message: m, Own: own}
	return append(appendMessage(append(dst, '{'), &e, View{Now: now, TooLarge: size}), '}')
}

func appendMessage(dst []byte, e *Entry, v View) []byte {
	m := e.Message
	dst = append(dst, `"id":"`...)
	dst = append(m.ID.Append(dst), `",`...)
	dst = appendBetween(dst, m.From, m.To, m.Room, m.Seq)
	dst = append(dst, `,"sent_at":"`...)
	dst = append(AppendTime(dst, m.SentAt), '"')
	if !m.EditedAt.IsZero() {
		dst = append(dst, `,"edited_at":"`...)
		dst = append(AppendTime(dst, m.EditedAt), '"')
	}
	if e.Own {
		dst = appendOwn(dst, m)
	}
	if t := e.Tombstone(v.Now); t != "" {
		return appendTombstone(dst, t)
	}
	dst = append(dst, `,"content_type":`...)
	dst = AppendString(dst, m.ContentTypeOf())
	if m.Ref != "" {
		dst = append(dst, `,"ref":`...)
		dst = append(dst, m.Ref...)
	}
	return appendContent(dst, m.Body, v.TooLarge)
}

// appendEvent appends what happened: of an edit the message's present body, or
// why there is none any more.
func appendEvent(dst []byte, e *Entry, v View) []byte {
	h := e.Event
	if h.Change != nil {
		return appendRoomEvent(dst, h)
	}
	about := e.Type == EntryEdit || e.Type == EntryRetract
	if about {
		dst = append(dst, `"id":"`...)
		dst = append(h.ID.Append(dst), `",`...)
	}
	dst = appendBetween(dst, h.From, h.To, h.Room, h.Seq)
	if about {
		dst = append(dst, `,"ref":{"id":"`...)
		dst = append(h.Of.Append(dst), `"}`...)
	}
	dst = append(dst, `,"sent_at":"`...)
	dst = append(AppendTime(dst, h.At), '"')
	if e.Own && h.Key != "" {
		dst = append(dst, `,"idempotency_key":`...)
		dst = AppendString(dst, h.Key)
	}
	if e.Type != EntryEdit || e.Message == nil {
		return dst
	}
	if t := e.Tombstone(v.Now); t != "" {
		return appendTombstone(dst, t)
	}
	return appendContent(dst, e.Message.Body, v.TooLarge)
}

// appendRoomEvent appends what happened to a room.
func appendRoomEvent(dst []byte, h *Event) []byte {
	c := h.Change
	dst = append(dst, `"room":"`...)
	dst = append(dst, h.Room...)
	dst = append(dst, `","from":"`...)
	dst = append(dst, h.From...)
	dst = append(dst, `","event":"`...)
	dst = append(dst, c.What...)
	if c.User != "" {
		dst = append(dst, `","user":"`...)
		dst = append(dst, c.User...)
	}
	if c.Role != "" {
		dst = append(dst, `","role":"`...)
		dst = append(dst, c.Role...)
	}
	if c.History != "" {
		dst = append(dst, `","title":`...)
		dst = AppendString(dst, c.Title)
		dst = append(dst, `,"public":`...)
		dst = strconv.AppendBool(dst, c.Public)
		dst = append(dst, `,"history":"`...)
		dst = append(dst, c.History...)
	}
	dst = append(dst, `","sent_at":"`...)
	return append(AppendTime(dst, h.At), '"')
}

// appendBetween appends who wrote where. Names need no escaping: their form
// allows no character that does.
func appendBetween(dst []byte, from, to User, room Room, seq Seq) []byte {
	dst = append(dst, `"from":"`...)
	dst = append(dst, from...)
	if room != "" {
		dst = append(dst, `","room":"`...)
		dst = append(dst, room...)
	} else {
		dst = append(dst, `","to":"`...)
		dst = append(dst, to...)
	}
	dst = append(dst, `","seq":`...)
	return strconv.AppendInt(dst, int64(seq), 10)
}

func appendTombstone(dst []byte, why string) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, why...)
	return append(dst, `":true`...)
}

// appendContent appends a body, or instead of it how large all would be.
func appendContent(dst, body []byte, tooLarge int) []byte {
	if tooLarge > 0 {
		dst = append(dst, `,"too_large":`...)
		return strconv.AppendInt(dst, int64(tooLarge), 10)
	}
	return appendBody(dst, body)
}

func appendOwn(dst []byte, m *Message) []byte {
	if m.Key != "" {
		dst = append(dst, `,"idempotency_key":`...)
		dst = AppendString(dst, m.Key)
	}
	if m.Device != "" {
		dst = append(dst, `,"device":`...)
		dst = AppendString(dst, m.Device)
	}
	return dst
}

func appendBody(dst, body []byte) []byte {
	if utf8.Valid(body) {
		dst = append(dst, `,"body":`...)
		return AppendString(dst, body)
	}
	dst = append(dst, `,"body_base64":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, body)
	return append(dst, '"')
}

// ContentTypeOf is the content type that receivers see: the sender's, or
// text/plain for UTF-8, or application/octet-stream.
func (m *Message) ContentTypeOf() string {
	switch {
	case m.ContentType != "":
		return m.ContentType
	case utf8.Valid(m.Body):
		return TextPlain
	}
	return OctetStream
}

// AppendError appends the error envelope of docs/spec.md §4, which tells a
// device that one of its publishes was refused.
func AppendError(dst []byte, e *Error, topic, key string) []byte {
	dst = append(dst, `{"type":"error","code":`...)
	dst = AppendString(dst, string(e.Code))
	dst = append(dst, `,"topic":`...)
	dst = AppendString(dst, topic)
	if key != "" {
		dst = append(dst, `,"idempotency_key":`...)
		dst = AppendString(dst, key)
	}
	dst = append(dst, `,"message":`...)
	dst = AppendString(dst, e.Error())
	return append(dst, '}')
}

// AppendGap appends the gap envelope: what lies after `after` and before
// `next` cannot be had any more.
func AppendGap(dst []byte, epoch Epoch, code Code, after, next InboxSeq) []byte {
	dst = append(dst, `{"type":"gap","epoch":"`...)
	dst = append(dst, epoch...)
	dst = append(dst, `","code":"`...)
	dst = append(dst, code...)
	dst = append(dst, `","after":`...)
	dst = strconv.AppendInt(dst, int64(after), 10)
	dst = append(dst, `,"next":`...)
	return append(strconv.AppendInt(dst, int64(next), 10), '}')
}
