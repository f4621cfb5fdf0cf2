package broker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"

	"postbox"
	"postbox/auth"
	"postbox/configs"
	"postbox/hooks"
	"postbox/inbox"
	"postbox/schema"
	"postbox/store"
	"postbox/web"
)

// Options are what a Server works with; all but the functions are required.
type Options struct {
	Config configs.Config
	// DatabaseURL is where the database is; Config.Database.URL is not looked
	// at, so that an embedded database can take its place.
	DatabaseURL string
	Logger      *slog.Logger
	// Fenced is called when another server has taken the database over: this
	// one can store nothing any more and must be shut down.
	Fenced func()
	// Replaced is called, maybe more than once, when the database has another
	// lineage than the one that this server began on: what it has in memory may
	// be wrong now. It must be shut down, and a new one made in its place.
	Replaced func()
}

// Addresses are where a started server listens.
type Addresses struct {
	MQTT    string `json:"mqtt"`
	HTTP    string `json:"http"`
	Private string `json:"private"`
}

// Server is one Postbox server. New makes it, Start runs it, Shutdown ends it.
type Server struct {
	o       Options
	store   *store.Store
	owner   *store.Owner
	control *store.ControlWatch
	epoch   postbox.Epoch
	hub     *inbox.Hub
	lanes   []*inbox.Lane
	inner   []*store.Lane
	mochi   *mqtt.Server
	hook    *hooks.Hook
	door    *door
	tokens  *auth.Tokens

	listener  net.Listener
	public    *http.Server
	private   *http.Server
	addresses Addresses

	cancel   context.CancelFunc
	work     sync.WaitGroup
	replaced atomic.Bool
	outage   outage
	unowned  bool // askDatabase's: somebody else holds the database
	shutdown sync.Once
	result   error
}

// New connects to the database, brings its schema up to date, and takes it for
// this server. It waits half a minute for a database that is away, and fails
// when it is newer, or taken, or does not let the server in.
func New(ctx context.Context, o Options) (*Server, error) {
	for _, f := range []*func(){&o.Fenced, &o.Replaced} {
		if *f == nil {
			*f = func() {}
		}
	}
	s := &Server{o: o}
	if err := s.prepare(ctx); err != nil {
		s.closeDatabase()
		return nil, err
	}
	return s, nil
}

func (s *Server) prepare(ctx context.Context) error {
	var err error
	if err = s.awaitDatabase(ctx, s.openDatabase); err != nil {
		return err
	}
	if s.tokens, err = OpenTokens(ctx, s.store); err != nil {
		return err
	}
	limits := limitsOf(s.o.Config)
	s.mochi = mqtt.New(&mqtt.Options{
		Capabilities:             hooks.Capabilities(limits),
		Logger:                   slog.New(mochiLog{s.o.Logger.Handler()}),
		ClientNetReadBufferSize:  2048,
		ClientNetWriteBufferSize: 2048,
		SysTopicResendInterval:   3600, // each one stops the world and fills the retained store
	})
	s.hook, err = hooks.New(s.mochi, hooks.Options{
		Accounts: &accounts{store: s.store, verifier: auth.NewVerifier(auth.VerifierOptions{}), tokens: s.tokens, log: s.o.Logger},
		Sessions: s.store, Records: s.store, Mail: s.hub, Wills: s.store, Epoch: s.epoch, Lineage: s, Limits: limits, Logger: s.o.Logger,
		MayWrite: (&router{s.store}).mayWrite, AwaySince: s.awaySince,
		LaneOf: func(u postbox.UserID) hooks.Lane { return s.lanes[int(u)%len(s.lanes)] },
	})
	if err != nil {
		return err
	}
	if err := s.mochi.AddHook(s.hook, nil); err != nil {
		return fmt.Errorf("add hook to mochi: %w", err)
	}
	l := s.o.Config.Limits
	s.door = &door{
		server: s.mochi, hook: s.hook, log: s.o.Logger, perHost: l.ConnectionsPerAddress,
		greeting: hooks.Greeting{Timeout: l.ConnectTimeout, Limit: int(l.ConnectSize)},
		waiting:  make(map[string]int), conns: make(map[*hooks.Conn]struct{}),
	}
	return nil
}

func (s *Server) openDatabase(ctx context.Context) error {
	var err error
	s.store, err = store.Open(store.Options{
		URL: s.o.DatabaseURL, PoolSize: s.o.Config.Database.PoolSize, Replaced: s.replace,
	})
	if err != nil {
		return err
	}
	if err := s.store.Ping(ctx); err != nil {
		return fmt.Errorf("the database cannot be used: %w", err)
	}
	if s.owner, err = s.store.Own(ctx); err != nil {
		return err
	}
	if err := s.store.Migrating(ctx, schema.Migrate); err != nil {
		return err
	}
	if _, err := s.store.Durability(ctx); err != nil {
		s.o.Logger.Warn("the database does not promise what postbox does", "error", err)
	}
	if s.control, err = s.store.WatchControl(ctx); err != nil {
		return err
	}
	if s.epoch, err = s.store.Epoch(ctx); err != nil {
		return err
	}
	if err := s.store.DisconnectAll(ctx); err != nil {
		return err
	}
	if err := s.store.ForgetExpired(ctx); err != nil {
		return err
	}
	s.hub = inbox.NewHub(s.store, s.epoch, s.o.Logger)
	return s.openLanes(ctx)
}

func (s *Server) openLanes(ctx context.Context) error {
	if err := s.store.FenceLanes(ctx); err != nil {
		return err
	}
	for i := range s.o.Config.Database.Lanes {
		inner, err := s.store.OpenLane(ctx, i, inbox.ErrFenced)
		if err != nil {
			return err
		}
		s.inner = append(s.inner, inner)
		s.lanes = append(s.lanes, inbox.NewLane(inbox.LaneOptions{
			Appender: inner, Router: &router{s.store}, Hub: s.hub, Logger: s.o.Logger, Fenced: s.o.Fenced,
		}))
	}
	return nil
}

// OpenTokens reads the signing keys of a database, and makes the first.
func OpenTokens(ctx context.Context, st *store.Store) (*auth.Tokens, error) {
	fresh := auth.NewKey()
	kept, err := st.SigningKeys(ctx, store.SigningKey{ID: fresh.ID, Secret: fresh.Secret})
	if err != nil {
		return nil, err
	}
	keys := make([]auth.Key, len(kept))
	for i, k := range kept {
		keys[i] = auth.Key{ID: k.ID, Secret: k.Secret, Created: k.CreatedAt}
	}
	return auth.NewTokens(keys, nil)
}

// Start listens and serves. It returns when everything listens; Addresses then
// tells where.
func (s *Server) Start(ctx context.Context) error {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.hub.Start()
	for _, l := range s.lanes {
		l.Start(run)
	}
	if err := s.mochi.Serve(); err != nil {
		return fmt.Errorf("start mochi: %w", err)
	}
	s.work.Go(func() { s.watch(run) })
	s.work.Go(func() { s.keepHouse(run) })
	s.work.Go(func() { s.askDatabase(run) })
	s.work.Go(func() { s.boundOutage(run) })
	s.work.Go(func() { s.hook.KeepWills(run) })
	return s.listen()
}

func (s *Server) listen() error {
	c := s.o.Config.Listen
	var err error
	if s.listener, err = net.Listen("tcp", c.MQTT); err != nil {
		return fmt.Errorf("listen.mqtt: %w", err)
	}
	public, err := net.Listen("tcp", c.HTTP)
	if err != nil {
		return fmt.Errorf("listen.http: %w", err)
	}
	private, err := net.Listen("tcp", c.Private)
	if err != nil {
		_ = public.Close()
		return fmt.Errorf("listen.private: %w", err)
	}
	s.addresses = Addresses{s.listener.Addr().String(), public.Addr().String(), private.Addr().String()}
	s.public = web.NewServer(web.NewPublic(web.PublicOptions{
		Origins: c.Origins, Logger: s.o.Logger,
		MQTT: func(conn net.Conn) { s.door.serve(conn, "websocket") },
	}), s.o.Logger)
	s.private = web.NewServer(web.NewPrivate(s.ready), s.o.Logger)
	s.work.Go(func() { s.door.accept(s.listener) })
	s.work.Go(func() { _ = s.public.Serve(public) })
	s.work.Go(func() { _ = s.private.Serve(private) })
	return nil
}

// Addresses tells where a started server listens, with the real ports.
func (s *Server) Addresses() Addresses { return s.addresses }
