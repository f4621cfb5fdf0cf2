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
}

// Routes implements inbox.Router.
func (r *router) Routes(ctx context.Context, keys []postbox.RouteKey) ([]postbox.Route, error) {
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

// mayWrite decides for one pair, and makes nothing.
func (r *router) mayWrite(ctx context.Context, sender postbox.UserID, to postbox.User) error {
	k := postbox.RouteKey{Sender: sender, To: to}
	facts, err := r.store.Recipients(ctx, []postbox.RouteKey{k})
	if err != nil {
		return err
	}
	if e := refusal(k, facts[0]); e != nil {
		return e
	}
	return nil
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
