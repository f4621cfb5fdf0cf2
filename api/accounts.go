package api

import (
	"context"
	"time"

	"postbox"
)

// Grant is what somebody was let in with.
type Grant struct {
	User   postbox.User
	Access string        // a token, for Bearer and as MQTT password
	Life   time.Duration // of the access token
	// Refresh is used once, for a new Grant.
	Refresh string

	Login   postbox.LoginID
	Since   time.Time // from when the access token counts, by the database's clock
	Expires time.Time // when it ends
}

// Registration is an account that somebody makes for themself.
type Registration struct {
	Name        postbox.User
	DisplayName string
	Password    string
	Invite      string // the code of an invitation; empty: none
	Device      string // what the login is to be called; empty: nothing
	Address     string // where it comes from
}

// SignIn lets people in, and keeps them in. Wrong passwords are slowed by user and
// address and by address: postbox.ErrRateLimited. What cannot be checked now is
// postbox.ErrUnavailable (in the chain), never a wrong password.
type SignIn interface {
	// Register makes an account: ErrForbidden if that is not for strangers, or the
	// invitation does not count; ErrConflict if the name is taken.
	Register(ctx context.Context, r Registration) (Grant, error)
	// Login lets in who knows the password: ErrUnauthenticated, whether there is
	// such a user or not.
	Login(ctx context.Context, user postbox.User, password, device, address string) (Grant, error)
	// Refresh spends a refresh token: ErrUnauthenticated if it does not count,
	// ErrForbidden if it is of another user than the caller, who may be nobody.
	Refresh(ctx context.Context, caller Caller, token string) (Grant, error)
	// StreamToken makes a token for the stream alone, that ends with what the caller
	// has shown.
	StreamToken(ctx context.Context, caller Caller) (token string, life time.Duration, err error)
	// ChangePassword ends all else that the caller's old password has opened:
	// ErrForbidden if that is wrong.
	ChangePassword(ctx context.Context, caller Caller, old, renewed string) (Grant, error)
}

// Logins are where a user has signed in.
type Logins interface {
	Logins(ctx context.Context, user postbox.UserID) ([]postbox.LoginState, error)
	// EndLogin is ErrNotFound if the user has no such login.
	EndLogin(ctx context.Context, user postbox.UserID, login postbox.LoginID) error
}

// NewAccount is an account that an administrator makes.
type NewAccount struct {
	Name        postbox.User
	DisplayName string
	Password    string // empty: the user cannot come in with one
	Admin       bool
}

// Directory is all accounts, for administrators. A change of one is in force on
// every server and connection within a second.
type Directory interface {
	// Accounts lists by name at most limit of those whose names begin with a prefix,
	// behind the one named.
	Accounts(ctx context.Context, prefix string, after postbox.User, limit int) ([]postbox.Account, error)
	// AddAccount is ErrConflict if the name is taken.
	AddAccount(ctx context.Context, a NewAccount) error
	// ChangeAccount changes one: ErrNotFound if there is none.
	ChangeAccount(ctx context.Context, user postbox.User, c AccountChange) error
}

// AccountChange is one change of an account.
type AccountChange struct {
	Password *string
	Disabled *bool
	Admin    *bool
	// EndTokens ends all logins, tokens and connections of the user.
	EndTokens bool
}

// Invites are the invitations that have not been used up.
type Invites interface {
	// AddInvite makes one, and the code, which nobody is shown again.
	AddInvite(ctx context.Context, note string, uses int, life time.Duration) (i postbox.Invite, code string, err error)
	Invites(ctx context.Context) ([]postbox.Invite, error)
	// RemoveInvite is ErrNotFound if there is none.
	RemoveInvite(ctx context.Context, id int64) error
}
