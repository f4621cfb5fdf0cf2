package postbox

import "time"

// Role is what a member of a room may do.
type Role string

// The roles, from the one that may do most to the one that may do least.
const (
	RoleOwner  Role = "owner"
	RoleAdmin  Role = "admin"
	RoleMember Role = "member"
	RoleReader Role = "reader"
)

// History says what a member of a room may read of it.
type History string

// The values of a room's history.
const (
	HistoryAll    History = "all"    // everything, while they are in it
	HistoryJoined History = "joined" // what is said while they are in it
)

// RoomAct is what can be asked for in a room. Those that change it are also what
// its entries tell, as "event".
type RoomAct string

// What can be done with a room.
const (
	RoomCreated RoomAct = "created"
	RoomAdded   RoomAct = "added"
	RoomJoined  RoomAct = "joined"
	RoomLeft    RoomAct = "left"
	RoomRemoved RoomAct = "removed"
	RoomRole    RoomAct = "role"
	RoomUpdated RoomAct = "updated"
	RoomDeleted RoomAct = "deleted"
	RoomSend    RoomAct = "send" // a message or a signal
	RoomGet     RoomAct = "get"
)

// RoomEvent is what an entry about a room tells: what has happened, whom it is
// about, and what holds now.
type RoomEvent struct {
	What RoomAct
	User User // of those about a member, else empty
	Role Role // the same
	// Of created and updated; Title may be empty.
	Title   string
	Public  bool
	History History
}

// RoomChange is a change of a room on its way into the database, as part of a
// Change. Who asks fills in the first block, who decides the second.
type RoomChange struct {
	User    User     // whom; the actor, where it is about nobody else
	Role    Role     // of added and role; empty: member
	Title   *string  // of created and updated: nil stays as it is
	Public  *bool    // the same
	History *History // the same

	UserID  UserID // zero: it is about nobody
	Version int64  // of the room on which it was decided
	Nothing bool   // it is so already: there is nothing to store
}

// RoomState is a room as somebody sees it.
type RoomState struct {
	Name      Room
	Title     string
	Public    bool
	History   History
	Members   int  // how many there are
	Role      Role // of who sees it; empty: not a member
	CreatedAt time.Time
}

// Member is somebody in a room.
type Member struct {
	Name    User
	Role    Role
	Read    bool // ReadSeq is known to who asks
	ReadSeq Seq
}
