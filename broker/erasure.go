package broker

import (
	"context"
	"errors"
	"time"

	"postbox"
	"postbox/api"
)

// erasePatience is how long a request to erase an account works on it; the
// housekeeping does the rest.
const erasePatience = 15 * time.Second

// erasure ends accounts: an api.Erasure.
type erasure struct{ *Engine }

// Erase implements api.Erasure.
func (e erasure) Erase(ctx context.Context, caller api.Caller, password string) (messages int, complete bool, err error) {
	if err := e.inHouse(); err != nil {
		return 0, false, err
	}
	u, err := e.store.UserByName(ctx, caller.Name)
	if err != nil {
		return 0, false, err
	}
	if u.PasswordHash != "" {
		_, err := e.known.check(ctx, caller.Address, string(caller.Name), password)
		if errors.Is(err, postbox.ErrUnauthenticated) {
			return 0, false, postbox.Errorf(postbox.CodeForbidden, "password is not that of the account")
		}
		if err != nil {
			return 0, false, err
		}
	}
	user, err := e.store.CloseAccount(ctx, caller.Name)
	if err != nil {
		return 0, false, err
	}
	// It goes on though the caller may have gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), erasePatience)
	defer cancel()
	err = e.store.Erase(ctx, user, func(n int) { messages = n })
	if err != nil {
		e.o.Logger.Warn("erasing what a closed account has left goes on later", "error", err, "user_id", user)
	}
	return messages, err == nil, nil
}
