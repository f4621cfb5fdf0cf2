package broker

import (
	"context"
	"errors"
	"log/slog"

	"postbox"
	"postbox/auth"
	"postbox/hooks"
	"postbox/store"
)

// accounts decides who a client is, from the accounts in the database.
type accounts struct {
	store    *store.Store
	verifier *auth.Verifier
	tokens   *auth.Tokens
	log      *slog.Logger
}

var errCredentials = postbox.Errorf(postbox.CodeUnauthenticated, "the user name or the password is wrong")

// Authenticate takes the account's password or an access token. With a token
// the name may be empty, else it must be the token's. Wrong passwords are slowed
// by where they come from.
func (a *accounts) Authenticate(ctx context.Context, from, name string, password []byte) (hooks.Identity, error) {
	if secret := string(password); auth.LooksLikeToken(secret) {
		return a.byToken(ctx, name, secret)
	}
	return a.byPassword(ctx, from, name, string(password))
}

func (a *accounts) byToken(ctx context.Context, name, token string) (hooks.Identity, error) {
	claims, err := a.tokens.Verify(token, auth.PurposeAccess)
	if err != nil {
		return hooks.Identity{}, err
	}
	if name != "" && name != string(claims.User) {
		return hooks.Identity{}, postbox.Errorf(postbox.CodeUnauthenticated, "the token is of another user: leave the user name empty or give the token's")
	}
	u, err := a.store.UserByName(ctx, claims.User)
	switch {
	case errors.Is(err, postbox.ErrNotFound):
		return hooks.Identity{}, errCredentials
	case err != nil:
		return hooks.Identity{}, err
	case claims.Issued.Before(u.TokensValidAfter):
		return hooks.Identity{}, postbox.Errorf(postbox.CodeUnauthenticated, "the token was ended: log in again")
	}
	who, err := admit(u)
	who.Ends = claims.Expires
	return who, err
}

// byPassword costs the same for a user who does not exist.
func (a *accounts) byPassword(ctx context.Context, from, name, password string) (hooks.Identity, error) {
	u, origin := store.User{}, auth.Origin{User: "?", Address: from} // all that is no name is one
	if user, err := postbox.ParseUser(name); err == nil {
		origin.User = name
		u, err = a.store.UserByName(ctx, user)
		if err != nil && !errors.Is(err, postbox.ErrNotFound) {
			return hooks.Identity{}, err
		}
	}
	verdict, err := a.verifier.CheckFrom(ctx, origin, u.PasswordHash, password)
	switch {
	case err != nil:
		return hooks.Identity{}, err
	case !verdict.OK:
		return hooks.Identity{}, errCredentials
	case verdict.Renew:
		a.renew(ctx, u, password)
	}
	return admit(u)
}

// renew replaces a hash of an older kind. That it fails changes nothing for
// the user.
func (a *accounts) renew(ctx context.Context, u store.User, password string) {
	renewed, err := a.verifier.Hash(ctx, password)
	if err == nil {
		err = a.store.RenewPassword(ctx, u.ID, u.PasswordHash, renewed)
	}
	if err != nil {
		a.log.Warn("renewing a password hash failed", "error", err, "user", u.Name)
	}
}

func admit(u store.User) (hooks.Identity, error) {
	switch {
	case u.ErasedAt.Valid:
		return hooks.Identity{}, errCredentials
	case u.DisabledAt.Valid:
		return hooks.Identity{}, hooks.ErrDisabled
	}
	return hooks.Identity{ID: u.ID, Name: u.Name, Admin: u.Admin}, nil
}
