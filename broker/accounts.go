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

// bearers verifies access tokens: our own, or another issuer's.
type bearers interface {
	VerifyAccess(ctx context.Context, token string) (auth.Claims, error)
}

// accounts decides who a client is, from the accounts in the database.
type accounts struct {
	store    *store.Store
	verifier *auth.Verifier
	bearers  bearers
	tokens   *auth.Tokens // our own
	welcome  bool         // who comes with a token of another issuer and has no account gets one
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
	claims, err := a.bearers.VerifyAccess(ctx, token)
	if err != nil {
		return hooks.Identity{}, err
	}
	if name != "" && name != string(claims.User) {
		return hooks.Identity{}, postbox.Errorf(postbox.CodeUnauthenticated, "the token is of another user: leave the user name empty or give the token's")
	}
	return a.bearer(ctx, claims)
}

// byStreamToken takes a token that is for the stream alone.
func (a *accounts) byStreamToken(ctx context.Context, token string) (hooks.Identity, error) {
	claims, err := a.tokens.Verify(token, auth.PurposeStream)
	if err != nil {
		return hooks.Identity{}, err
	}
	return a.bearer(ctx, claims)
}

// bearer is whom a verified token lets in, unless it was ended.
func (a *accounts) bearer(ctx context.Context, claims auth.Claims) (hooks.Identity, error) {
	u, over, err := a.store.UserOfToken(ctx, claims.User, claims.Login)
	if errors.Is(err, postbox.ErrNotFound) && claims.Foreign && a.welcome {
		u, over, err = a.add(ctx, claims)
	}
	switch {
	case errors.Is(err, postbox.ErrNotFound):
		return hooks.Identity{}, errCredentials
	case err != nil:
		return hooks.Identity{}, err
	case over, claims.Issued.Before(u.TokensValidAfter):
		return hooks.Identity{}, postbox.Errorf(postbox.CodeUnauthenticated, "the token was ended: log in again")
	}
	who, err := admit(u)
	who.Admin = who.Admin && !claims.Foreign // another issuer chooses names, and no rights
	who.Ends, who.Renews, who.Since, who.Login = claims.Expires, true, claims.Issued, claims.Login
	return who, err
}

// add makes an account for who comes for the first time. A name that is taken
// meanwhile is the same user's, unless it is kept from everybody.
func (a *accounts) add(ctx context.Context, claims auth.Claims) (u store.User, over bool, err error) {
	if _, err := a.store.AddUser(ctx, claims.User, "", false); err != nil && !errors.Is(err, postbox.ErrConflict) {
		return store.User{}, false, err
	}
	return a.store.UserOfToken(ctx, claims.User, claims.Login)
}

func (a *accounts) byPassword(ctx context.Context, from, name, password string) (hooks.Identity, error) {
	u, err := a.check(ctx, from, name, password)
	if err != nil {
		return hooks.Identity{}, err
	}
	return admit(u)
}

// check finds the user whose name and password these are. It costs the same for a
// user who does not exist.
func (a *accounts) check(ctx context.Context, from, name, password string) (store.User, error) {
	u, origin := store.User{}, auth.Origin{User: "?", Address: from} // all that is no name is one
	if user, err := postbox.ParseUser(name); err == nil {
		origin.User = name
		u, err = a.store.UserByName(ctx, user)
		if err != nil && !errors.Is(err, postbox.ErrNotFound) {
			return store.User{}, err
		}
	}
	verdict, err := a.verifier.CheckFrom(ctx, origin, u.PasswordHash, password)
	switch {
	case err != nil:
		return store.User{}, err
	case !verdict.OK:
		return store.User{}, errCredentials
	case verdict.Renew:
		a.renew(ctx, &u, password)
	}
	return u, nil
}

// renew replaces a hash of another kind or cost. That it fails changes nothing for
// the user.
func (a *accounts) renew(ctx context.Context, u *store.User, password string) {
	renewed, err := a.verifier.Hash(ctx, password)
	if err == nil {
		err = a.store.RenewPassword(ctx, u.ID, u.PasswordHash, renewed)
	}
	if err != nil {
		a.log.Warn("renewing a password hash failed", "error", err, "user", u.Name)
		return
	}
	u.PasswordHash = renewed
}

func admit(u store.User) (hooks.Identity, error) {
	switch {
	case u.ErasedAt.Valid:
		return hooks.Identity{}, errCredentials
	case u.DisabledAt.Valid:
		return hooks.Identity{}, hooks.ErrDisabled
	}
	// What a password or a certificate gives counts until the user's tokens are ended
	// the next time.
	since := u.TokensValidAfter
	if since.Before(u.CreatedAt) {
		since = u.CreatedAt
	}
	return hooks.Identity{ID: u.ID, Name: u.Name, Admin: u.Admin, Since: since}, nil
}
