package broker

import (
	"context"
	"errors"
	"time"

	"postbox"
	"postbox/api"
	"postbox/auth"
	"postbox/configs"
	"postbox/store"
)

// streamLife is how long a token for the stream counts at most.
const streamLife = time.Hour

// signIn lets people in by the accounts in the database: an api.SignIn.
type signIn struct{ *Engine }

var (
	errElsewhere = postbox.Errorf(postbox.CodeForbidden, "the accounts of this server are kept elsewhere: log in there")
	errClosed    = postbox.Errorf(postbox.CodeForbidden, "registration is closed on this server: ask its administrator for an account")
	errInvited   = postbox.Errorf(postbox.CodeForbidden, "registration needs an invitation on this server: give its code as invite")
	errDisabled  = postbox.Errorf(postbox.CodeUnauthenticated, "the account is disabled")
)

// inHouse refuses where somebody else's function knows who users are.
func (e *Engine) inHouse() error {
	if e.o.Authenticate != nil {
		return errElsewhere
	}
	return nil
}

// Register implements api.SignIn. An invitation is looked at first, so that only who
// has one learns which names are taken, and what costs most comes last.
func (s signIn) Register(ctx context.Context, r api.Registration) (api.Grant, error) {
	if err := s.inHouse(); err != nil {
		return api.Grant{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	n := store.NewUser{Name: r.Name, DisplayName: r.DisplayName}
	switch {
	case s.o.Config.Registration == configs.RegistrationClosed:
		return api.Grant{}, errClosed
	case s.o.Config.Registration == configs.RegistrationInvite:
		if r.Invite == "" {
			return api.Grant{}, errInvited
		}
		n.Invite = auth.InviteHash(r.Invite)
		if err := s.store.InviteCounts(ctx, n.Invite); err != nil {
			return api.Grant{}, err
		}
	}
	if _, err := s.store.UserByName(ctx, r.Name); err == nil {
		return api.Grant{}, postbox.Errorf(postbox.CodeConflict, "the name %s is taken: choose another", r.Name)
	} else if !errors.Is(err, postbox.ErrNotFound) {
		return api.Grant{}, err
	}
	var err error
	if n.PasswordHash, err = s.known.verifier.HashFrom(ctx, r.Address, r.Password); err != nil {
		return api.Grant{}, err
	}
	refresh, login := s.newLogin(r.Device)
	_, begun, err := s.store.Register(ctx, n, login)
	if err != nil {
		return api.Grant{}, err
	}
	return s.grant(r.Name, begun, refresh)
}

// Login implements api.SignIn.
func (s signIn) Login(ctx context.Context, user postbox.User, password, device, address string) (api.Grant, error) {
	if err := s.inHouse(); err != nil {
		return api.Grant{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	refresh, login := s.newLogin(device)
	for range hashPatience - 1 {
		g, err := s.login(ctx, user, password, address, refresh, login)
		if !errors.Is(err, store.ErrAccountChanged) {
			return g, err
		}
	}
	return s.login(ctx, user, password, address, refresh, login)
}

// hashPatience is how often a password is checked that is right, while its stored
// hash is being replaced.
const hashPatience = 3

func (s signIn) login(ctx context.Context, user postbox.User, password, address string, refresh auth.RefreshToken, login store.NewLogin) (api.Grant, error) {
	u, err := s.known.check(ctx, address, string(user), password)
	switch {
	case err != nil:
		return api.Grant{}, err
	case u.ErasedAt.Valid:
		return api.Grant{}, errCredentials
	case u.DisabledAt.Valid:
		return api.Grant{}, errDisabled
	}
	begun, err := s.store.BeginLogin(ctx, u.ID, u.PasswordHash, login)
	if err != nil {
		return api.Grant{}, err
	}
	return s.grant(u.Name, begun, refresh)
}

// Refresh implements api.SignIn.
func (s signIn) Refresh(ctx context.Context, caller api.Caller, token string) (api.Grant, error) {
	if err := s.inHouse(); err != nil {
		return api.Grant{}, err
	}
	old, err := auth.ParseRefreshToken(token)
	if err != nil {
		return api.Grant{}, err
	}
	salt := auth.NewSalt()
	d, err := s.store.RenewLogin(ctx, store.Renewal{
		User: caller.ID, Family: old.Family(), Hash: old.Hash(), Salt: salt, Next: old.Next(salt).Hash(), Life: s.o.Config.Tokens.Refresh,
	})
	switch {
	case errors.Is(err, postbox.ErrUnauthenticated):
		return api.Grant{}, auth.ErrRefreshToken
	case err != nil:
		return api.Grant{}, err
	}
	return s.grant(d.Name, d.Begun, old.Next(d.Salt))
}

// StreamToken implements api.SignIn. The token has the age and the login of what the
// caller has shown, so that it dies with that.
func (s signIn) StreamToken(_ context.Context, caller api.Caller) (string, time.Duration, error) {
	life := streamLife
	if !caller.Shown.Ends.IsZero() {
		life = min(life, time.Until(caller.Shown.Ends))
	}
	if life <= 0 {
		return "", 0, postbox.Errorf(postbox.CodeUnauthenticated, "the token has ended: get a new one")
	}
	token, _, err := s.known.tokens.Grant(auth.Grant{
		User: caller.Name, Purpose: auth.PurposeStream, Life: life, Issued: caller.Shown.Since, Login: caller.Shown.Login,
	})
	return token, life, err
}

// ChangePassword implements api.SignIn.
func (s signIn) ChangePassword(ctx context.Context, caller api.Caller, old, renewed string) (api.Grant, error) {
	if err := s.inHouse(); err != nil {
		return api.Grant{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	refresh, login := s.newLogin(caller.Device)
	for range hashPatience - 1 {
		g, err := s.changePassword(ctx, caller, old, renewed, refresh, login)
		if !errors.Is(err, store.ErrPasswordChanged) {
			return g, err
		}
	}
	return s.changePassword(ctx, caller, old, renewed, refresh, login)
}

func (s signIn) changePassword(ctx context.Context, caller api.Caller, old, renewed string, refresh auth.RefreshToken, login store.NewLogin) (api.Grant, error) {
	u, err := s.known.check(ctx, caller.Address, string(caller.Name), old)
	switch {
	case errors.Is(err, postbox.ErrUnauthenticated):
		return api.Grant{}, postbox.Errorf(postbox.CodeForbidden, "old: this is not the password")
	case err != nil:
		return api.Grant{}, err
	}
	hash, err := s.known.verifier.Hash(ctx, renewed)
	if err != nil {
		return api.Grant{}, err
	}
	begun, err := s.store.ChangePassword(ctx, u.Name, u.PasswordHash, hash, caller.Connection, login)
	if err != nil {
		return api.Grant{}, err
	}
	return s.grant(u.Name, begun, refresh)
}

func (e *Engine) newLogin(device string) (auth.RefreshToken, store.NewLogin) {
	t := auth.NewRefreshToken()
	return t, store.NewLogin{Family: t.Family(), TokenHash: t.Hash(), Device: device, Life: e.o.Config.Tokens.Refresh}
}

// grant makes the access token of a login that has begun or gone on.
func (e *Engine) grant(user postbox.User, b store.Begun, refresh auth.RefreshToken) (api.Grant, error) {
	life := e.o.Config.Tokens.Access
	access, expires, err := e.known.tokens.Grant(auth.Grant{User: user, Purpose: auth.PurposeAccess, Life: life, Issued: b.Now, Login: b.Login})
	if err != nil {
		return api.Grant{}, err
	}
	return api.Grant{
		User: user, Access: access, Life: life, Refresh: refresh.Secret(), Login: b.Login, Since: b.Now, Expires: expires,
	}, nil
}
