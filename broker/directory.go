package broker

import (
	"context"
	"time"

	"postbox"
	"postbox/api"
	"postbox/auth"
	"postbox/store"
)

// directory is all accounts, for administrators: an api.Directory.
type directory struct{ *Engine }

// Accounts implements api.Directory.
func (d directory) Accounts(ctx context.Context, prefix string, after postbox.User, limit int) ([]postbox.Account, error) {
	return d.store.Accounts(ctx, prefix, after, limit)
}

// AddAccount implements api.Directory.
func (d directory) AddAccount(ctx context.Context, a api.NewAccount) error {
	hash := ""
	if a.Password != "" {
		var err error
		if hash, err = d.known.verifier.Hash(ctx, a.Password); err != nil {
			return err
		}
	}
	return d.store.AddAccount(ctx, store.NewUser{Name: a.Name, DisplayName: a.DisplayName, PasswordHash: hash}, a.Admin)
}

// ChangeAccount implements api.Directory.
func (d directory) ChangeAccount(ctx context.Context, user postbox.User, c api.AccountChange) error {
	switch {
	case c.Password != nil:
		hash, err := d.known.verifier.Hash(ctx, *c.Password)
		if err != nil {
			return err
		}
		return d.store.SetPassword(ctx, user, hash)
	case c.Disabled != nil:
		return d.store.SetDisabled(ctx, user, *c.Disabled)
	case c.Admin != nil:
		return d.store.SetAdmin(ctx, user, *c.Admin)
	case c.EndTokens:
		return d.store.EndTokens(ctx, user)
	}
	return nil
}

// invites are the invitations: an api.Invites.
type invites struct{ store *store.Store }

// AddInvite implements api.Invites.
func (i invites) AddInvite(ctx context.Context, note string, uses int, life time.Duration) (postbox.Invite, string, error) {
	code := auth.NewInviteCode()
	made, err := i.store.AddInvite(ctx, auth.InviteHash(code), note, uses, life)
	return made, code, err
}

// Invites implements api.Invites.
func (i invites) Invites(ctx context.Context) ([]postbox.Invite, error) { return i.store.Invites(ctx) }

// RemoveInvite implements api.Invites.
func (i invites) RemoveInvite(ctx context.Context, id int64) error {
	return i.store.RemoveInvite(ctx, id)
}
