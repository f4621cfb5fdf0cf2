package broker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/prometheus/client_golang/prometheus"

	"postbox"
	"postbox/auth"
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
	epoch   postbox.Epoch
	hub     *inbox.Hub
	lanes   []*inbox.Lane
	inner   []*store.Lane
	hook    *hooks.Hook
	door    *door
	tokens  *auth.Tokens

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
// let the server in.
func Attach(ctx context.Context, server *mqtt.Server, o Options) (*Engine, error) {
	for _, f := range []*func(){&o.Fenced, &o.Replaced} {
		if *f == nil {
			*f = func() {}
		}
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
	if e.tokens, err = OpenTokens(ctx, e.store); err != nil {
		return err
	}
	limits := limitsOf(e.o.Config)
	e.hook, err = hooks.New(server, hooks.Options{
		Accounts: &accounts{store: e.store, verifier: auth.NewVerifier(auth.VerifierOptions{}), tokens: e.tokens, log: e.o.Logger},
		Sessions: e.store, Records: e.store, Mail: e.hub, Wills: e.store, Epoch: e.epoch, Lineage: lineage{e}, Limits: limits, Logger: e.o.Logger, Tracer: e.tracing.tracer(),
		MayWrite: (&router{e.store}).mayWrite, AwaySince: e.awaySince,
		LaneOf: func(u postbox.UserID) hooks.Lane { return e.lanes[int(u)%len(e.lanes)] },
	})
	if err != nil {
		return err
	}
	if err := server.AddHook(e.hook, nil); err != nil {
		return fmt.Errorf("add hook to mochi: %w", err)
	}
	l := e.o.Config.Limits
	e.door = &door{
		server: server, hook: e.hook, log: e.o.Logger, perHost: l.ConnectionsPerAddress,
		greeting: hooks.Greeting{Timeout: l.ConnectTimeout, Limit: int(l.ConnectSize)},
		waiting:  make(map[string]int), conns: make(map[*hooks.Conn]struct{}),
	}
	return e.register()
}

// Start begins to store and to deliver. It comes before the server serves.
func (e *Engine) Start(ctx context.Context) {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e.cancel = cancel
	e.hub.Start()
	for _, l := range e.lanes {
		l.Start(run)
	}
	e.work.Go(func() { e.watch(run) })
	e.work.Go(func() { e.keepHouse(run) })
	e.work.Go(func() { e.countSessions(run) })
	e.work.Go(func() { e.askDatabase(run) })
	e.work.Go(func() { e.boundOutage(run) })
	e.work.Go(func() { e.hook.KeepWills(run) })
}
