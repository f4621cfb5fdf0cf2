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
// bytes of a message that are not UTF-8 become body_base64. An entry without a
// message has its number and its type only.
func AppendEnvelope(dst []byte, e *Entry, v View) []byte {
	m := e.Message
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
	if m == nil {
		return append(dst, `"}`...)
	}
	dst = append(dst, `","id":"`...)
	dst = m.ID.Append(dst)
	// Names need no escaping: their form allows no character that does.
	dst = append(dst, `","from":"`...)
	dst = append(dst, m.From...)
	if m.Room != "" {
		dst = append(dst, `","room":"`...)
		dst = append(dst, m.Room...)
	} else {
		dst = append(dst, `","to":"`...)
		dst = append(dst, m.To...)
	}
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendInt(dst, int64(m.Seq), 10)
	dst = append(dst, `,"sent_at":"`...)
	dst = AppendTime(dst, m.SentAt)
	dst = append(dst, '"')
	if !m.EditedAt.IsZero() {
		dst = append(dst, `,"edited_at":"`...)
		dst = append(AppendTime(dst, m.EditedAt), '"')
	}
	if e.Own {
		dst = appendOwn(dst, m)
	}
	if t := e.Tombstone(v.Now); t != "" {
		dst = append(dst, `,"`...)
		dst = append(dst, t...)
		return append(dst, `":true}`...)
	}
	dst = append(dst, `,"content_type":`...)
	dst = AppendString(dst, m.ContentTypeOf())
	if m.Ref != "" {
		dst = append(dst, `,"ref":`...)
		dst = append(dst, m.Ref...)
	}
	if v.TooLarge > 0 {
		dst = append(dst, `,"too_large":`...)
		return append(strconv.AppendInt(dst, int64(v.TooLarge), 10), '}')
	}
	return append(appendBody(dst, m.Body), '}')
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
