package postbox

import (
	"time"
	"unicode/utf8"
)

// MinPasswordLength is the fewest characters of a new password, MaxPasswordLength
// the most bytes of any.
const (
	MinPasswordLength = 8
	MaxPasswordLength = 1024
)

// CheckNewPassword checks a password that somebody chooses: only its length counts
// (NIST SP 800-63B §5.1.1.2). The error is ErrInvalid.
func CheckNewPassword(password string) error {
	if utf8.RuneCountInString(password) < MinPasswordLength || len(password) > MaxPasswordLength {
		return Errorf(CodeInvalid, "a password has at least %d characters and at most %d bytes, of any kind: choose another", MinPasswordLength, MaxPasswordLength)
	}
	return nil
}

// LoginID is the number of a login: a sign-in, and all tokens that follow from
// it. Zero is none.
type LoginID int64

// LoginState is a login as its user sees it.
type LoginState struct {
	ID      LoginID
	Device  string    // what it called itself; empty: nothing
	Created time.Time // when the user signed in
	Used    time.Time // when its tokens were last renewed
	Expires time.Time // when its refresh token will
}

// Account is a user as an administrator sees one.
type Account struct {
	Name        User
	DisplayName string
	Admin       bool
	Disabled    bool
	Password    bool // there is one; else the user comes in by other means
	Created     time.Time
}

// Invite is an invitation to make an account.
type Invite struct {
	ID      int64
	Note    string // an administrator's own words
	Uses    int    // how many accounts may be made with it
	Used    int    // how many were
	Created time.Time
	Expires time.Time
}
