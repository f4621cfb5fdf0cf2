package apitest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postbox"
	"postbox/api"
)

// Password is everybody's in a World, Invite the code of its one invitation.
const (
	Password = "correct horse"
	Invite   = "INVITED"
)

// grant makes tokens that look like some.
func (w *World) grant(user postbox.User) api.Grant {
	w.granted++
	return api.Grant{
		User: user, Access: fmt.Sprintf("eyJ.e30.%s-%d", user, w.granted), Life: time.Hour, Refresh: fmt.Sprintf("refresh-%s-%d", user, w.granted),
		Login: 1, Expires: w.clock.Add(time.Hour),
	}
}

// Register implements api.SignIn: nobody is made, but a name that is there is taken.
func (w *World) Register(ctx context.Context, r api.Registration) (api.Grant, error) {
	if err := w.begin(ctx); err != nil {
		return api.Grant{}, err
	}
	defer w.Unlock()
	switch {
	case r.Invite != "" && r.Invite != Invite:
		return api.Grant{}, postbox.ErrForbidden
	case w.Users[r.Name] != nil:
		return api.Grant{}, postbox.Errorf(postbox.CodeConflict, "the name is taken")
	}
	return w.grant(r.Name), nil
}

// Login implements api.SignIn.
func (w *World) Login(ctx context.Context, user postbox.User, password, _, _ string) (api.Grant, error) {
	if err := w.begin(ctx); err != nil {
		return api.Grant{}, err
	}
	defer w.Unlock()
	if w.Users[user] == nil || password != Password {
		return api.Grant{}, postbox.Errorf(postbox.CodeUnauthenticated, "the user name or the password is wrong")
	}
	return w.grant(user), nil
}

// Refresh implements api.SignIn.
func (w *World) Refresh(ctx context.Context, caller api.Caller, token string) (api.Grant, error) {
	if err := w.begin(ctx); err != nil {
		return api.Grant{}, err
	}
	defer w.Unlock()
	parts := strings.Split(token, "-")
	switch {
	case len(parts) != 3 || parts[0] != "refresh" || w.Users[postbox.User(parts[1])] == nil:
		return api.Grant{}, postbox.Errorf(postbox.CodeUnauthenticated, "the refresh token is not valid")
	case caller.ID != 0 && parts[1] != string(caller.Name):
		return api.Grant{}, postbox.Errorf(postbox.CodeForbidden, "the refresh token is another's")
	}
	return w.grant(postbox.User(parts[1])), nil
}

// StreamToken implements api.SignIn.
func (w *World) StreamToken(ctx context.Context, caller api.Caller) (string, time.Duration, error) {
	if err := w.begin(ctx); err != nil {
		return "", 0, err
	}
	defer w.Unlock()
	return "eyJ.e30.stream-" + string(caller.Name), time.Hour, nil
}

// ChangePassword implements api.SignIn: nothing is changed.
func (w *World) ChangePassword(ctx context.Context, caller api.Caller, old, _ string) (api.Grant, error) {
	if err := w.begin(ctx); err != nil {
		return api.Grant{}, err
	}
	defer w.Unlock()
	if old != Password {
		return api.Grant{}, postbox.Errorf(postbox.CodeForbidden, "this is not the password")
	}
	return w.grant(caller.Name), nil
}

// Logins implements api.Logins.
func (w *World) Logins(ctx context.Context, user postbox.UserID) ([]postbox.LoginState, error) {
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	defer w.Unlock()
	return slices.Clone(w.person(user).Logins), nil
}

// EndLogin implements api.Logins.
func (w *World) EndLogin(ctx context.Context, user postbox.UserID, login postbox.LoginID) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	defer w.Unlock()
	p := w.person(user)
	left := slices.DeleteFunc(slices.Clone(p.Logins), func(l postbox.LoginState) bool { return l.ID == login })
	if len(left) == len(p.Logins) {
		return postbox.Errorf(postbox.CodeNotFound, "there is no such login")
	}
	p.Logins = left
	return nil
}

// directory is the World as api.Directory and api.Invites.
type directory struct{ w *World }

// Accounts implements api.Directory.
func (d directory) Accounts(ctx context.Context, prefix string, after postbox.User, limit int) ([]postbox.Account, error) {
	w := d.w
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	defer w.Unlock()
	var all []postbox.Account
	for name, p := range w.Users {
		if strings.HasPrefix(string(name), prefix) && name > after {
			all = append(all, postbox.Account{Name: name, DisplayName: p.DisplayName, Admin: p.Admin, Disabled: p.Disabled, Created: w.clock})
		}
	}
	slices.SortFunc(all, func(a, b postbox.Account) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return all[:min(len(all), limit)], nil
}

// AddAccount implements api.Directory: nobody is made.
func (d directory) AddAccount(ctx context.Context, a api.NewAccount) error {
	if err := d.w.begin(ctx); err != nil {
		return err
	}
	defer d.w.Unlock()
	if d.w.Users[a.Name] != nil {
		return postbox.Errorf(postbox.CodeConflict, "the name is taken")
	}
	return nil
}

// ChangeAccount implements api.Directory.
func (d directory) ChangeAccount(ctx context.Context, user postbox.User, c api.AccountChange) error {
	if err := d.w.begin(ctx); err != nil {
		return err
	}
	defer d.w.Unlock()
	p := d.w.Users[user]
	switch {
	case p == nil:
		return postbox.Errorf(postbox.CodeNotFound, "there is no such user")
	case c.Disabled != nil:
		p.Disabled = *c.Disabled
	case c.Admin != nil:
		p.Admin = *c.Admin
	}
	return nil
}

// AddInvite implements api.Invites.
func (d directory) AddInvite(ctx context.Context, note string, uses int, life time.Duration) (postbox.Invite, string, error) {
	w := d.w
	if err := w.begin(ctx); err != nil {
		return postbox.Invite{}, "", err
	}
	defer w.Unlock()
	i := postbox.Invite{ID: int64(len(w.Invited) + 1), Note: note, Uses: uses, Created: w.clock, Expires: w.clock.Add(life)}
	w.Invited = append(w.Invited, i)
	return i, Invite, nil
}

// Invites implements api.Invites.
func (d directory) Invites(ctx context.Context) ([]postbox.Invite, error) {
	if err := d.w.begin(ctx); err != nil {
		return nil, err
	}
	defer d.w.Unlock()
	return slices.Clone(d.w.Invited), nil
}

// RemoveInvite implements api.Invites.
func (d directory) RemoveInvite(ctx context.Context, id int64) error {
	w := d.w
	if err := w.begin(ctx); err != nil {
		return err
	}
	defer w.Unlock()
	left := slices.DeleteFunc(slices.Clone(w.Invited), func(i postbox.Invite) bool { return i.ID == id })
	if len(left) == len(w.Invited) {
		return postbox.Errorf(postbox.CodeNotFound, "there is no such invitation")
	}
	w.Invited = left
	return nil
}

// Erase implements api.Erasure, but nothing is erased.
func (w *World) Erase(ctx context.Context, _ api.Caller, password string) (int, bool, error) {
	if err := w.begin(ctx); err != nil {
		return 0, false, err
	}
	defer w.Unlock()
	if password != Password {
		return 0, false, postbox.Errorf(postbox.CodeForbidden, "password is not that of the account")
	}
	return 0, true, nil
}
