package postbox

import "time"

// Profile is what is shown of a user: to everybody the first block, to the user
// themself all of it.
type Profile struct {
	Name        User
	DisplayName string

	Admin    bool
	Receipts bool   // others see how far the user has read
	Accept   string // from whom the user takes messages: everyone, known, nobody
}

// ProfileChange changes what is not nil.
type ProfileChange struct {
	DisplayName *string
	Receipts    *bool
	Accept      *string
}

// DeviceState is a device with a session.
type DeviceState struct {
	Name        string // the MQTT client id
	Cursor      InboxSeq
	Connected   bool
	ConnectedAt time.Time
	SeenAt      time.Time // when it was last connected; now while it is
}

// PresenceState is whether a user has a device connected.
type PresenceState struct {
	User     User
	Online   bool
	LastSeen time.Time // zero: never, or not to be known
}
