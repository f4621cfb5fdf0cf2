package broker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/prometheus/client_golang/prometheus"

	"postbox"
	"postbox/api"
	"postbox/configs"
	"postbox/hooks"
	"postbox/inbox"
	"postbox/store"
)

// Engine is Postbox in a Mochi server: the database, the lanes, the hub, and the
// hook that joins them to the server. The server, its listeners and its end are
// its owner's. Attach makes an Engine, Start runs it, Shutdown ends it.
type Engine struct {
	o       Options
	store   *store.Store
	owner   *store.Owner
	control *store.ControlWatch
	indexer *store.Indexer
	epoch   postbox.Epoch
	hub     *inbox.Hub
	lanes   []*inbox.Lane
	inner   []*store.Lane
	crowds  []*store.Lane // the same, for what goes to many inboxes
	hook    *hooks.Hook
	door    *door
	known   *accounts

	operations *api.API
	rates      *api.Rates // of requests, over MQTT and HTTP together
	signals    *signals
	// changed is told of users whose rights have changed, in all or by one login; see
	// Server.
	changed func(user postbox.UserID, login postbox.LoginID)

	cancel   context.CancelFunc
	work     sync.WaitGroup
	replaced atomic.Bool
	outage   outage
	away     awayTime
	sessions sessionCount
	ending   atomic.Bool
	tracing  *tracing
	unowned  bool // askDatabase's: somebody else holds the database
	shutdown sync.Once
	result   error
}

// Attach connects to the database, brings its schema up to date, takes it for
// this server, and adds Postbox to the server as a hook. It waits half a minute
// for a database that is away, and fails when it is newer, or taken, or does not
// let the server in; before that, when the server serves already or has options or
// hooks with which promises would not hold (docs/embedding.md).
func Attach(ctx context.Context, server *mqtt.Server, o Options) (*Engine, error) {
	o = o.complete()
	if err := hooks.Check(server, limitsOf(o.Config)); err != nil {
		return nil, err
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	e := &Engine{o: o}
	if err := e.attach(ctx, server); err != nil {
		e.closeDatabase()
		e.tracing.shutdown(ctx)
		return nil, err
	}
	return e, nil
}

func (e *Engine) attach(ctx context.Context, server *mqtt.Server) error {
	var err error
	if e.tracing, err = newTracing(e.o.Config.Trace, e.o.Version, e.o.Logger); err != nil {
		return err
	}
	if err = e.awaitDatabase(ctx, e.openDatabase); err != nil {
		return err
	}
	if err = e.openAccounts(ctx); err != nil {
		return err
	}
	e.signals = newSignals(looker{e.router()}, e.o.Config.Limits.SignalRate)
	e.hub.Receipts = inbox.NewReceipts(e.signals.Signals, e.store)
	e.openOperations()
	limits := limitsOf(e.o.Config)
	e.hook = hooks.New(server, hooks.Options{
		Accounts: e.accounts(),
		Sessions: e.store, Records: e.store, Mail: e.hub, Wills: e.store, Epoch: e.epoch, Lineage: lineage{e}, Limits: limits, Logger: e.o.Logger, Tracer: e.tracing.tracer(),
		MayWrite: e.router().mayWrite, MayUse: e.o.MayUse, AwaySince: e.awaySince,
		LaneOf:     func(u postbox.UserID) hooks.Lane { return e.laneOf(u) },
		Operations: e.operations, Sight: sight{e.store, e.online}, Signals: e.signals,
		MayAsk: func(u postbox.UserID) bool { return e.rates.Take(u, time.Now()) == 0 },
	})
	if err := server.AddHook(e.hook, nil); err != nil {
		return fmt.Errorf("add hook to mochi: %w", err)
	}
	e.hook.Admit(false)
	e.door = newDoor(server, e.hook, e.o.Config.Limits, e.o.Logger)
	e.door.room.furnish(openFiles(), e.o.Config.Database, e.o.Logger)
	return e.register()
}

// Start begins to store and to deliver; until then nobody is let in. It fails when
// a hook was added since Attach with which Postbox cannot be.
func (e *Engine) Start(ctx context.Context) error {
	if err := e.hook.CheckHooks(); err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e.cancel = cancel
	e.hub.Start()
	for _, l := range e.lanes {
		l.Start(run)
	}
	e.work.Go(func() { e.watch(run) })
	e.work.Go(func() { e.keepHouse(run) })
	e.work.Go(func() { e.index(run) })
	e.work.Go(func() { e.countSessions(run) })
	e.work.Go(func() { e.askDatabase(run) })
	e.work.Go(func() { e.boundOutage(run) })
	e.work.Go(func() { e.hook.KeepWills(run) })
	e.work.Go(func() { e.hook.KeepPresence(run) })
	e.work.Go(func() { e.hub.Receipts.Keep(run) })
	e.operations.Start()
	e.hook.Admit(true)
	return nil
}

// Capabilities are the options that a Mochi server needs under which Attach is
// called with the same settings. Others may be changed; Attach tells if one may
// not.
func Capabilities(c configs.Config) *mqtt.Capabilities { return hooks.Capabilities(limitsOf(c)) }
