package broker

import (
	"context"
	"time"

	"postbox"
	"postbox/api"
	"postbox/hooks"
	"postbox/inbox"
	"postbox/store"
	"postbox/web"
)

// openOperations makes the operations of both edges.
func (e *Engine) openOperations() {
	l := e.o.Config.Limits
	e.rates = api.NewRates(l.RequestRate)
	e.operations = api.New(api.Options{
		Writer:  inbox.Writer{LaneOf: e.laneOf},
		Archive: e.store, People: e.store, Devices: e.store,
		Inbox: inboxes{lineage{e}, e.hub, e.store}, Presence: sight{e.store, e.online}, Markers: markers{e.store},
		SignIn: signIn{e}, Logins: e.store, Directory: directory{e}, Invites: invites{e.store}, Erasure: erasure{e},
		Rooms: e.store, Signals: e.signals,
		Epoch: e.epoch, Logger: e.o.Logger,
		Limits: api.Limits{Body: int(l.BodySize), Ref: int(l.RefSize), Request: int(l.PacketSize)},
	})
}

// laneOf chooses the lane of a user, for life.
func (e *Engine) laneOf(user postbox.UserID) *inbox.Lane { return e.lanes[int(user)%len(e.lanes)] }

func (e *Engine) online(name postbox.User) bool { return e.hook.Online(name) }

// overHTTP makes the HTTP edge of the operations.
func (e *Engine) overHTTP() *web.API {
	c := e.o.Config
	return web.NewAPI(web.APIOptions{
		Exporter:   api.Exporter{Archive: e.store, People: e.store, Devices: e.store, Now: time.Now},
		Operations: e.operations, Accounts: callers{e}, Mail: e.hub, Signals: e.signals, Lineage: lineage{e}, Limiter: e.rates,
		Strangers: api.NewRatesOf[string](c.Limits.ConnectRate, 10*c.Limits.ConnectRate),
		Epoch:     e.epoch, Origins: c.Listen.Origins, Proxies: proxiesOf(c.Proxy), MaxRequest: int(c.Limits.PacketSize), Held: c.Limits.StreamsPerUser,
		Version: e.o.Version, Logger: e.o.Logger,
	})
}

// callers are the accounts as the HTTP edge asks for them.
type callers struct{ *Engine }

// checkPatience bounds what a request may wait for a password to be checked.
const checkPatience = 10 * time.Second

// Authenticate implements web.Accounts.
func (c callers) Authenticate(ctx context.Context, from, name string, password []byte) (web.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	who, err := c.accounts().Authenticate(ctx, hooks.Credentials{User: name, Password: password, Remote: from})
	return overHTTP(who), err
}

// Stream implements web.Accounts.
func (c callers) Stream(ctx context.Context, token string) (web.Identity, error) {
	who, err := c.known.byStreamToken(ctx, token)
	return overHTTP(who), err
}

func overHTTP(who hooks.Identity) web.Identity {
	return web.Identity{ID: who.ID, Name: who.Name, Admin: who.Admin, Ends: who.Ends, Since: who.Since, Login: who.Login}
}

// inboxes are what the operations read of inboxes.
type inboxes struct {
	lineage
	hub   *inbox.Hub
	store *store.Store
}

func (i inboxes) Head(ctx context.Context, user postbox.UserID) (postbox.InboxSeq, error) {
	return i.store.Head(ctx, user)
}

func (i inboxes) Entries(ctx context.Context, user postbox.UserID, after, upTo postbox.InboxSeq, limit int) ([]*postbox.Entry, error) {
	return i.store.Entries(ctx, user, after, upTo, limit)
}

func (i inboxes) Await(ctx context.Context, user postbox.UserID, after postbox.InboxSeq) error {
	return i.hub.Await(ctx, user, after)
}

// markers are the read markers that were not announced.
type markers struct{ store *store.Store }

func (m markers) Unannounced(ctx context.Context, limit int) ([]api.Unannounced, error) {
	found, err := m.store.Unannounced(ctx, limit)
	all := make([]api.Unannounced, len(found))
	for i, u := range found {
		all[i] = api.Unannounced(u)
	}
	return all, err
}
