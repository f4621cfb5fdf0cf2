package broker

import (
	"context"
	"errors"
	"fmt"

	"postbox"
	"postbox/auth"
	"postbox/hooks"
	"postbox/store"
)

// openAccounts makes what decides who somebody is, one for both edges: they count
// wrong passwords together.
func (e *Engine) openAccounts(ctx context.Context) error {
	tokens, err := OpenTokens(ctx, e.store)
	if err != nil {
		return err
	}
	foreign, err := newForeign(e.o.Config.Issuer)
	if err != nil {
		return err
	}
	e.known = &accounts{
		store: e.store, verifier: auth.NewVerifier(auth.VerifierOptions{}), bearers: issuers{tokens, foreign}, tokens: tokens,
		welcome: e.o.Config.Issuer.AddUsers, log: e.o.Logger,
	}
	return nil
}

// accounts are what tells the hook who a client is.
func (e *Engine) accounts() hooks.Accounts {
	if e.o.Authenticate != nil {
		return &guests{e}
	}
	return e.known
}

// AddUser makes sure that there is a user, so that others may write to them
// before they have ever connected. It does nothing for one who is there.
func (e *Engine) AddUser(ctx context.Context, name postbox.User) error {
	if _, err := postbox.ParseUser(string(name)); err != nil {
		return err
	}
	_, err := e.store.AddUser(ctx, name, "", false)
	if errors.Is(err, postbox.ErrConflict) {
		return nil
	}
	return err
}

// guests are users that somebody else's function knows.
type guests struct{ *Engine }

// Authenticate implements hooks.Accounts.
func (g *guests) Authenticate(ctx context.Context, c hooks.Credentials) (hooks.Identity, error) {
	user, err := g.o.Authenticate(ctx, c.User, c.Password)
	switch {
	case errors.Is(err, postbox.ErrUnauthenticated):
		return hooks.Identity{}, errCredentials
	case err != nil:
		return hooks.Identity{}, fmt.Errorf("authenticate: %w", err)
	}
	if _, err := postbox.ParseUser(string(user)); err != nil {
		return hooks.Identity{}, fmt.Errorf("authenticate: %q is no user name", user)
	}
	known, err := g.store.UserByName(ctx, user)
	if errors.Is(err, postbox.ErrNotFound) {
		known, err = g.make(ctx, user)
	}
	if err != nil {
		return hooks.Identity{}, err
	}
	return admit(known)
}

func (g *guests) make(ctx context.Context, name postbox.User) (store.User, error) {
	if err := g.AddUser(ctx, name); err != nil {
		return store.User{}, err
	}
	return g.store.UserByName(ctx, name)
}
