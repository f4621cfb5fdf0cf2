package broker

import (
	"context"
	"fmt"

	"postbox"
	"postbox/auth"
	"postbox/store"
)

// router decides who may write to whom: the facts come from the store, the
// decision from auth.
type router struct {
	store *store.Store
	limit int // members of a room
}

// Routes implements inbox.Router.
func (r *router) Routes(ctx context.Context, keys []postbox.RouteKey) ([]postbox.Route, error) {
	var direct, rooms []postbox.RouteKey
	for _, k := range keys {
		if k.Room == "" {
			direct = append(direct, k)
		} else {
			rooms = append(rooms, k)
		}
	}
	toUsers, err := r.direct(ctx, direct)
	if err != nil {
		return nil, err
	}
	toRooms, err := r.rooms(ctx, rooms)
	if err != nil {
		return nil, err
	}
	routes := make([]postbox.Route, len(keys))
	for i, k := range keys {
		from := &toUsers
		if k.Room != "" {
			from = &toRooms
		}
		routes[i], *from = (*from)[0], (*from)[1:]
	}
	return routes, nil
}

// direct finds the routes to users.
func (r *router) direct(ctx context.Context, keys []postbox.RouteKey) ([]postbox.Route, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	facts, err := r.store.Recipients(ctx, keys)
	if err != nil {
		return nil, err
	}
	if len(facts) != len(keys) {
		return nil, fmt.Errorf("look up recipients: %d answers to %d questions", len(facts), len(keys))
	}
	routes := make([]postbox.Route, len(keys))
	var missing []int
	var pairs []store.Pair
	for i, f := range facts {
		to := postbox.UserID(f.User.Int64)
		routes[i].Refusal = refusal(keys[i], f)
		if routes[i].Refusal != nil {
			continue
		}
		if to != keys[i].Sender {
			routes[i].Recipients = []postbox.UserID{to}
		}
		if f.Conversation.Valid && f.Wrote {
			routes[i].Conversation = postbox.ConversationID(f.Conversation.Int64)
			continue
		}
		missing = append(missing, i)
		pairs = append(pairs, store.Pair{keys[i].Sender, to})
	}
	if len(missing) == 0 {
		return routes, nil
	}
	made, err := r.store.MakeConversations(ctx, pairs)
	if err != nil {
		return nil, err
	}
	if len(made) != len(missing) {
		return nil, fmt.Errorf("make conversations: %d of %d made", len(made), len(missing))
	}
	for j, i := range missing {
		routes[i].Conversation = made[j]
	}
	return routes, nil
}

// mayWrite decides for one pair, or one room, and makes nothing.
func (r *router) mayWrite(ctx context.Context, k postbox.RouteKey) error {
	route, err := r.look(ctx, k)
	if err == nil && route.Refusal != nil {
		return route.Refusal
	}
	return err
}

// look finds a route, and makes nothing: a direct one may have no conversation.
func (r *router) look(ctx context.Context, k postbox.RouteKey) (postbox.Route, error) {
	if k.Room != "" {
		routes, err := r.rooms(ctx, []postbox.RouteKey{k})
		if err != nil {
			return postbox.Route{}, err
		}
		return routes[0], nil
	}
	facts, err := r.store.Recipients(ctx, []postbox.RouteKey{k})
	if err != nil {
		return postbox.Route{}, err
	}
	return postbox.Route{Recipients: []postbox.UserID{postbox.UserID(facts[0].User.Int64)}, Refusal: refusal(k, facts[0])}, nil
}

func refusal(k postbox.RouteKey, f store.Recipient) *postbox.Error {
	if postbox.UserID(f.User.Int64) == k.Sender {
		return nil // everybody may write to themself
	}
	err := auth.MayWrite("", auth.Recipient{
		User: k.To, Exists: f.User.Valid, Erased: f.Erased,
		Accept: auth.Accept(f.Accept), Blocked: f.Blocked, Knows: f.Known,
	})
	if err == nil {
		return nil
	}
	return postbox.AsError(err)
}

func (e *Engine) router() *router {
	return &router{store: e.store, limit: e.o.Config.Limits.MembersPerRoom}
}
