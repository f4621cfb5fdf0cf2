package postbox

import "time"

// EntryType says what an inbox entry is.
type EntryType uint8

// The entries that take an inbox_seq. Their values are stored in the database.
const (
	EntryMessage EntryType = iota
	EntryEdit
	EntryRetract
	EntryRead
	EntryRoom
)

var entryNames = [...]string{"message", "edit", "retract", "read", "room"}

// String is the envelope's "type".
func (t EntryType) String() string {
	if int(t) < len(entryNames) {
		return entryNames[t]
	}
	return "unknown"
}

// Entry is one numbered line of a user's inbox.
type Entry struct {
	InboxSeq InboxSeq
	Type     EntryType
	// Message is the message that the entry is, or that an edit or a retraction
	// is about, in its present state; nil for all others.
	Message *Message
	// Event is what happened, nil for a message.
	Event *Event
	// Own is true in the inbox of who sent it: only there the envelope shows the
	// idempotency key and the sending device.
	Own bool
}

// Tombstone says why the body of an entry's message is not shown at now:
// "retracted", "expired", or "" when it is shown.
func (e *Entry) Tombstone(now time.Time) string {
	switch {
	case e.Message == nil:
		return ""
	case !e.Message.RetractedAt.IsZero():
		return "retracted"
	case e.Message.Expired(now):
		return "expired"
	}
	return ""
}
