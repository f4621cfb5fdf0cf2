package api

import (
	"context"
	"time"

	"postbox"
)

// Shown is with what somebody was let in.
type Shown struct {
	// Since is from when it counts, by the database's clock: tokens made from it die
	// when the user's are ended after that.
	Since time.Time
	Ends  time.Time       // when it does; zero: never
	Login postbox.LoginID // to which it belongs; zero: to none
}

// Caller is who asks, and how: an authenticated user, or nobody (of ID zero) for an
// operation that is Anonymous.
type Caller struct {
	ID     postbox.UserID
	Name   postbox.User
	Device string // the MQTT client id; empty over HTTP
	Admin  bool

	// Edge is where the request came in: EdgeHTTP or EdgeMQTT.
	Edge Edge
	// Address is the IP address that it comes from.
	Address string
	// Shown is with what the caller was let in.
	Shown Shown
	// Connection names an MQTT connection among all there are.
	Connection string
	// Renewed is told of tokens that the caller is given; nil: nobody is.
	Renewed func(Grant)
	// MaxReply is the most bytes of the reply; zero: no bound. A list is cut to
	// what fits, and says that there is more.
	MaxReply int
	// RequestID is under what a fault is logged.
	RequestID string
	// Key is an idempotency key that came beside the request; nil: none.
	Key *string
}

// Writer appends to the logs. Both methods return when the database has
// committed, or with postbox.ErrUnavailable (in the chain) when ctx ends before:
// what was asked for may then still be committed. Any other error is a
// *postbox.Error that says why nothing was stored.
type Writer interface {
	// Send stores a message to a user or to a room: to is of KindInbox or KindRoom.
	// Of p the caller has filled in the first block, without conversation and
	// recipients.
	Send(ctx context.Context, to postbox.Topic, p *postbox.Publish) (stored postbox.Stored, duplicate bool, err error)
	// Change stores an edit, a retraction, a read marker or a change of a room, and
	// fills in c.
	Change(ctx context.Context, c *postbox.Change) error
}

// Archive reads what is stored, as far as the user may see it.
type Archive interface {
	// Place finds a conversation of the user: with another user, or a room; one
	// of the names is empty. ErrNotFound if there is no such user or room that the
	// user may see. A direct conversation in which nothing was ever written has
	// the number zero.
	Place(ctx context.Context, user postbox.UserID, with postbox.User, room postbox.Room) (postbox.Place, error)
	// Page reads messages of a place. A bound that names a message which is not in
	// it is ErrNotFound.
	Page(ctx context.Context, p postbox.Place, r postbox.PageRequest) (postbox.Page, error)
	// Conversations lists the user's conversations by their last message, newest
	// first, and then the rooms without one, by name: those after the bound.
	Conversations(ctx context.Context, user postbox.UserID, from postbox.ListBound, limit int) ([]postbox.Summary, error)
	// MarkRead moves the user's read marker, which only grows, to at most the
	// place's last message. It returns the position now kept, and whether it moved.
	MarkRead(ctx context.Context, user postbox.UserID, p postbox.Place, seq postbox.Seq) (postbox.Seq, bool, error)
	// Search finds messages by their words, the newest first, and reports whether
	// there are more. A text with nothing to look for is ErrInvalid, a bound or a
	// sender that the user cannot know of ErrNotFound.
	Search(ctx context.Context, r postbox.SearchRequest) ([]*postbox.Message, bool, error)
}

// Inbox reads a user's inbox.
type Inbox interface {
	Head(ctx context.Context, user postbox.UserID) (postbox.InboxSeq, error)
	// Entries reads at most limit entries after `after` and up to `upTo`, in order;
	// what was removed by retention is left out.
	Entries(ctx context.Context, user postbox.UserID, after, upTo postbox.InboxSeq, limit int) ([]*postbox.Entry, error)
	// PositionSince translates a position of an earlier epoch into the numbers of
	// the one in force; false: it is of no epoch of this database.
	PositionSince(ctx context.Context, user postbox.UserID, p postbox.Position) (postbox.InboxSeq, bool, error)
	// Ahead is told that a client knows of more entries of the epoch in force
	// than there are.
	Ahead(ctx context.Context)
	// Await returns when the user's inbox has an entry after `after`, or ctx ends.
	Await(ctx context.Context, user postbox.UserID, after postbox.InboxSeq) error
}

// People knows users: what they show of themselves and whom they block.
type People interface {
	// Profile is the user's own.
	Profile(ctx context.Context, user postbox.UserID) (postbox.Profile, error)
	// Profiles are those of the names that exist, in any order.
	Profiles(ctx context.Context, names []postbox.User) ([]postbox.Profile, error)
	UpdateProfile(ctx context.Context, user postbox.UserID, c postbox.ProfileChange) (postbox.Profile, error)
	// SetBlock blocks another user or ends that: ErrNotFound if there is none.
	// What is in force on every server and connection within a second.
	SetBlock(ctx context.Context, user postbox.UserID, other postbox.User, blocked bool) error
	Blocks(ctx context.Context, user postbox.UserID) ([]postbox.User, error)
}

// Devices are the sessions of users.
type Devices interface {
	Devices(ctx context.Context, user postbox.UserID) ([]postbox.DeviceState, error)
	// RevokeDevice forgets a session and ends its connection: ErrNotFound if there
	// is none.
	RevokeDevice(ctx context.Context, user postbox.UserID, device string) error
}

// Presence tells who has a device connected: of the names those that the user
// may see.
type Presence interface {
	Presence(ctx context.Context, user postbox.UserID, names []postbox.User) ([]postbox.PresenceState, error)
}

// Unannounced is a read marker whose entry is not in any inbox yet.
type Unannounced struct {
	User  postbox.UserID
	Name  postbox.User
	Place postbox.Place // Spans are not needed
	Seq   postbox.Seq
}

// Markers knows the read markers that were moved and not announced.
type Markers interface {
	// Unannounced lists at most limit of them.
	Unannounced(ctx context.Context, limit int) ([]Unannounced, error)
}
