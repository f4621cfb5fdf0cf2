package postbox

import (
	"errors"
	"time"
)

// Stored is what is known of a message that is in the database: the answer to
// its sender, also when the sender asks again.
type Stored struct {
	ID       MessageID
	Seq      Seq
	InboxSeq InboxSeq // of the sender's own copy
	SentAt   time.Time
	Digest   Digest
}

// Publish is one message on its way into the database.
//
// The writer fills in the first block; the store the second, when the batch it
// is in has been committed.
type Publish struct {
	Message    *Message // complete but for Seq and SentAt
	Recipients []UserID // whose inboxes get an entry, besides the sender's
	Expiry     uint32   // seconds after SentAt; zero: never
	PacketID   uint16   // of an MQTT publish with QoS 1 or 2; else zero
	QoS        byte
	Digest     Digest
	Will       bool  // a stored will, whose id is the message's: it is deleted with the insert
	Members    int64 // of a room's: the version of the room on which Recipients were looked up

	InboxSeq  InboxSeq   // of the sender's own copy
	InboxSeqs []InboxSeq // of Recipients, in their order
	Used      *Stored    // set instead when the idempotency key was used before
	Gone      bool       // set instead when the will was sent before or taken back
	Stale     bool       // set instead when the room has another version by now
}

// Numbered fills in what the database gave a publish; the numbers of its
// recipients are not among it.
func (p *Publish) Numbered(seq Seq, own InboxSeq, at time.Time) {
	m := p.Message
	m.Seq, m.SentAt, p.InboxSeq = seq, at.UTC(), own
	if p.Expiry > 0 {
		m.ExpiresAt = m.SentAt.Add(time.Duration(p.Expiry) * time.Second)
	}
}

// OpenPublish is a QoS 2 publish of a device with a session between PUBREC and
// PUBREL. While it is open, the same packet id and digest is a re-send.
type OpenPublish struct {
	Device   DeviceID
	PacketID uint16
	Message  MessageID
	Digest   Digest
}

// Batch is what a lane commits in one transaction.
type Batch struct {
	Now       time.Time // lower bound of SentAt
	Publishes []*Publish
	Opened    []OpenPublish
	Closed    []OpenPublish // only Device and PacketID are used
}

// Route is where a sender's messages to one destination go.
type Route struct {
	Conversation ConversationID
	Recipients   []UserID // of a direct message: besides the sender
	Room         *Members // of a room's
	Refusal      *Error   // set when the sender may not write there
}

// Members are the members of a room in one version of it. They are shared and
// not to be changed.
type Members struct {
	Version int64
	Users   []UserID
}

// Besides are the members without one of them.
func (m *Members) Besides(user UserID) []UserID {
	others := make([]UserID, 0, len(m.Users))
	for _, u := range m.Users {
		if u != user {
			others = append(others, u)
		}
	}
	return others
}

// RouteKey asks for a route: who writes, and to whom, or in which room.
type RouteKey struct {
	Sender UserID
	To     User
	Room   Room // else empty
}

// ErrStaleRoute says that nothing was stored, because a room has changed since it
// was looked up who is in it: those are to be looked up again.
var ErrStaleRoute = errors.New("the room has changed since its members were looked up")

// CursorSave is one device's progress, to be saved. Device is zero for a
// device without a session: then only the user's high-water mark moves.
type CursorSave struct {
	User   UserID
	Device DeviceID
	Cursor InboxSeq
	Epoch  Epoch // of the cursor; it replaces one of another epoch
}

// SentPublish is the record of a stored publish, by which a re-send is
// recognised (docs/spec.md §5).
type SentPublish struct {
	PacketID uint16
	QoS      byte
	Stored   Stored
}
