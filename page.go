package postbox

import "time"

// Place is a conversation as one of those in it sees it.
type Place struct {
	Conversation ConversationID
	Self         User   // who sees it
	SelfID       UserID // the same
	With         User   // the other side of a direct conversation, maybe Self; else empty
	WithID       UserID // the same
	Room         Room   // else empty
	// Spans are what the user may read of it, in order: all of a direct
	// conversation, of a room by membership.
	Spans []Span
}

// Shows reports whether a message is among what the user may read.
func (p Place) Shows(seq Seq) bool {
	for _, s := range p.Spans {
		if s.After < seq && (s.UpTo == 0 || seq <= s.UpTo) {
			return true
		}
	}
	return false
}

// Span is a stretch of a conversation: After < seq, and seq <= UpTo unless that
// is zero.
type Span struct{ After, UpTo Seq }

// Bound is one end of a page: a seq, a message id or a time, whichever is set.
// The zero value is no bound.
type Bound struct {
	Seq  Seq
	ID   MessageID
	Time time.Time
	Set  bool
}

// PageRequest asks for messages of one conversation: the latest; those before
// or after a bound, which is excluded; those between both, from After on; or
// those around one, which is included. Around a time means around the first
// message that is not older, or the last of all.
type PageRequest struct {
	Before, After, Around Bound
	Limit                 int // at least 1
}

// Page is messages of one conversation, oldest first. They show their present
// state. HasBefore and HasAfter tell whether the conversation has messages
// before the first and after the last of them; when there are none, before and
// after the place that was asked for.
type Page struct {
	Messages            []*Message
	HasBefore, HasAfter bool
}

// Summary is a conversation in a user's list.
type Summary struct {
	Place
	Last   *Message // the last one that the user may see; nil if none
	Unread int      // others' visible messages after ReadSeq, counted to 1,000
	// ReadSeq is how far the user has read; PeerDelivered and PeerRead how far
	// the other side of a direct conversation has got and read them, as far as
	// the user may know.
	ReadSeq, PeerDelivered, PeerRead Seq
}

// ListBound is where a list of conversations goes on; zero: it begins. Those
// without a message, rooms, come last, by name, and are passed by it.
type ListBound struct {
	Before    MessageID // the last message of the last conversation before
	AfterRoom Room      // the last of the rooms without a message; then Before does not matter
}

// SearchRequest asks for messages by what is in them.
type SearchRequest struct {
	User UserID // who asks
	// Place is where to look; nil: in all that the user may read.
	Place *Place
	Text  string
	From  User // of whom they are; empty: of anybody
	// Before and After are bounds, which are excluded. They are a seq only with a
	// Place.
	Before, After Bound
	Limit         int // at least 1
}
