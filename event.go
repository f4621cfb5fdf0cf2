package postbox

import "time"

// Event is what takes a number in inboxes besides messages: an edit, a
// retraction, a read marker, a change of a room.
type Event struct {
	ID   MessageID // shown for edits and retractions
	From User
	To   User // the other side of a direct conversation; empty for a room's
	Room Room
	Seq  Seq       // of the message that it is about
	Of   MessageID // edit and retraction: the message that it is about
	At   time.Time
	Key  string // idempotency key; shown in the actor's own inbox
	// Change is what has happened to a room; nil for all else.
	Change *RoomEvent
}

// Change is an edit, a retraction, a read marker or a change of a room on its way
// into the database.
//
// Who asks fills in the first block; the store the second, when it is committed
// or refused for what it asks.
type Change struct {
	Type  EntryType // EntryEdit, EntryRetract, EntryRead or EntryRoom
	Actor UserID
	Event Event // ID, From and Key; for a read marker also To or Room, and Seq; for a room Room and Change.What
	// Target is the message of an edit or a retraction.
	Target MessageID
	// Conversation is that of a read marker.
	Conversation ConversationID
	// Peer is the other user of a read marker's conversation; zero in a room.
	Peer UserID
	// Quiet keeps a read marker to the reader's own devices.
	Quiet  bool
	Body   []byte // of an edit
	Digest Digest // of what is asked for, under the key
	// Room is of a change of a room, else nil.
	Room *RoomChange

	Refusal    *Error // ErrNotFound, ErrForbidden, ErrConflict
	Duplicate  bool   // the key was used before for the same: Event is that one
	Message    *Message
	Recipients []UserID   // all whose inboxes got an entry, the actor's among them
	InboxSeqs  []InboxSeq // of Recipients, in their order
}

// InboxSeqOf is the change's number in a user's inbox; zero if it has none.
func (c *Change) InboxSeqOf(user UserID) InboxSeq {
	for i, r := range c.Recipients {
		if r == user && i < len(c.InboxSeqs) {
			return c.InboxSeqs[i]
		}
	}
	return 0
}
