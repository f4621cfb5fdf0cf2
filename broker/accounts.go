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

// Authenticate takes the account's password, an access token, or the
// certificate of the connection, which makes a password needless. With the
// latter two the name may be empty, else it must be theirs. Wrong passwords are
// slowed by where they come from.
func (a *accounts) Authenticate(ctx context.Context, c hooks.Credentials) (hooks.Identity, error) {
	secret := string(c.Password)
	switch {
	case c.Certificate != nil:
		return a.byCertificate(ctx, c)
	case auth.LooksLikeToken(secret):
		return a.byToken(ctx, c.User, secret)
	}
	return a.byPassword(ctx, c.Remote, c.User, secret)
}

// byCertificate never looks at the password: who has shown a certificate is the
// user whom it names, or nobody.
func (a *accounts) byCertificate(ctx context.Context, c hooks.Credentials) (hooks.Identity, error) {
	user, err := postbox.ParseUser(c.Certificate.User)
	switch {
	case err != nil:
		a.log.Warn("a client certificate names no user as tls.client_name says", "name", c.Certificate.User, "remote", c.Remote)
		return hooks.Identity{}, postbox.Errorf(postbox.CodeUnauthenticated, "the certificate of this connection names no user")
	case c.User != "" && c.User != string(user):
		return hooks.Identity{}, postbox.Errorf(postbox.CodeUnauthenticated, "the certificate is of another user: leave the user name empty or give the certificate's")
	}
	u, err := a.store.UserByName(ctx, user)
	switch {
	case errors.Is(err, postbox.ErrNotFound):
		return hooks.Identity{}, errCredentials
	case err != nil:
		return hooks.Identity{}, err
	}
	who, err := admit(u)
	who.Ends = c.Certificate.Ends
	return who, err
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
