package web

import (
	"context"
	"sync"

	"postbox"
)

// held are the requests that stay open: streams, and those that wait. It bounds
// how many a user has, and ends them.
type held struct {
	most int // of one user

	mu    sync.Mutex // guards users and over
	users map[postbox.UserID]map[*hold]struct{}
	over  bool
}

// hold is one of them.
type hold struct {
	login postbox.LoginID
	end   context.CancelCauseFunc
}

var errShutdown = postbox.Errorf(postbox.CodeUnavailable, "the server is shutting down: try again")

// begin holds a request. Its context ends with the user's token, with a kick and
// with the server; its cause says which. release must be called.
func (h *held) begin(ctx context.Context, who Identity) (_ context.Context, release func(), _ *postbox.Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	mine := h.users[who.ID]
	switch {
	case h.over:
		return nil, nil, errShutdown
	case len(mine) >= h.most:
		return nil, nil, postbox.Errorf(postbox.CodeRateLimited, "%d streams and waiting requests are open already: end one first", len(mine))
	}
	if h.users == nil {
		h.users = make(map[postbox.UserID]map[*hold]struct{})
	}
	if mine == nil {
		mine = make(map[*hold]struct{})
		h.users[who.ID] = mine
	}
	ctx, end := context.WithCancelCause(ctx)
	stop := func() {}
	if !who.Ends.IsZero() {
		ctx, stop = context.WithDeadlineCause(ctx, who.Ends, postbox.Errorf(postbox.CodeUnauthenticated, "the token has ended: get a new one"))
	}
	one := &hold{who.Login, end}
	mine[one] = struct{}{}
	return ctx, func() {
		stop()
		end(nil)
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(mine, one)
		if len(mine) == 0 {
			delete(h.users, who.ID)
		}
	}, nil
}

// kick ends those of a user, or only those of one of the user's logins.
func (h *held) kick(user postbox.UserID, login postbox.LoginID, cause *postbox.Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for one := range h.users[user] {
		if login == 0 || one.login == login {
			one.end(cause)
		}
	}
}

// shutdown ends all, for good.
func (h *held) shutdown() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	for _, mine := range h.users {
		for one := range mine {
			one.end(errShutdown)
		}
	}
}
