// Package postbox is the vocabulary of Postbox: the names, numbers, topics,
// envelopes and errors of its wire contract (docs/spec.md).
//
// It holds pure values and functions only: no input or output, no goroutines,
// nothing but the standard library. Everything else in the module builds on it
// and speaks in its terms.
package postbox

import "time"

// UserID is a user's number in the database. It is also the number of the
// user's inbox log.
type UserID int64

// ConversationID is the number of a conversation, direct or room, and of its
// log.
type ConversationID int64

// DeviceID is the number of a device that has a session. Zero means a device
// without one.
type DeviceID int64

// Seq is a position in a conversation: 1, 2, 3 … without a hole. Zero means
// before the first message.
type Seq int64

// InboxSeq is a position in one user's inbox: 1, 2, 3 … without a hole. Zero
// means before the first entry.
type InboxSeq int64

// Epoch names the lineage of the database that numbers belong to. It changes
// when the database is restored or replaced by an older state, so that a
// number of another lineage is never mistaken for one of this.
type Epoch string

// Digest identifies what a sender asked for: destination, body, content type,
// ref and expiry. Two publishes with the same digest ask for the same thing.
type Digest [16]byte

// Limits of docs/spec.md §2 that are part of the contract and not settings.
const (
	MaxNameLength   = 64  // bytes of a user's or room's name
	MaxDeviceLength = 128 // bytes of a device's name, the MQTT client id
	MaxKeyLength    = 128 // bytes of an idempotency key
	MaxFilterLength = 512 // bytes of a topic or filter
	MaxFilterLevels = 8   // levels of a topic or filter
	MaxContentType  = 255 // bytes of a content type
	TextPlain       = "text/plain"
	OctetStream     = "application/octet-stream"
	DeliveryIDs     = 60000 // packet ids 1…60,000 belong to numbered deliveries
)

// AppendTime appends t as RFC 3339 in UTC with milliseconds, the only form of
// time on the wire.
func AppendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	dst = t.AppendFormat(dst, time.RFC3339) // which is several times as fast as a form of one's own
	ms := t.Nanosecond() / 1e6
	return append(dst[:len(dst)-1], '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}

// PacketID is the MQTT packet id of the delivery of entry n. It follows from
// the number alone, so that a delivery keeps its id across a kill of the
// server, and a late acknowledgement never hits another entry.
func (n InboxSeq) PacketID() uint16 {
	return uint16((n-1)%DeliveryIDs) + 1
}
