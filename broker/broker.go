package broker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/prometheus/client_golang/prometheus"

	"postbox"
	"postbox/configs"
	"postbox/web"
)

// Options are what a Server or an Engine works with.
type Options struct {
	// Config are the settings; a zero Config is configs.Default. An Engine looks
	// at Limits, OutageTimeout and, of Database, at PoolSize and Lanes only.
	Config configs.Config
	// DatabaseURL is where the database is; Config.Database.URL is not looked
	// at, so that an embedded database can take its place.
	DatabaseURL string
	// Logger is slog.Default if nil.
	Logger *slog.Logger
	// Authenticate tells which user a client is, from the user name and the
	// password of its CONNECT; a user who has no account yet gets one. It returns
	// postbox.ErrUnauthenticated (in the chain) to refuse; any other error is
	// logged, and the client told to try again later. It is called from many
	// goroutines, and has ten seconds. Nil: the accounts in the database decide.
	Authenticate func(ctx context.Context, name string, password []byte) (postbox.User, error)
	// MayUse decides who publishes and subscribes to topics that are not
	// postbox.Reserved, such as telemetry/kitchen: Mochi serves them, Postbox
	// stores nothing of them. It is asked for each publish, will and filter, and
	// for each delivery; it is called from many goroutines and must not wait.
	// Nil: nobody.
	MayUse func(user postbox.User, topic string, write bool) bool
	// Fenced is called when another server has taken the database over: this
	// one can store nothing any more and must be shut down.
	Fenced func()
	// Replaced is called, maybe more than once, when the database has another
	// lineage than the one that this server began on: what it has in memory may
	// be wrong now. It must be shut down, and a new one made in its place.
	Replaced func()
	// Registry is where the server's metrics are; nil: in one of its own. Two
	// servers need two.
	Registry *prometheus.Registry
	// Version is that of the program, for the metrics.
	Version string
	// Restarts is how many servers of this process were replaced before this one.
	Restarts int
}

// complete puts in what may be left out.
func (o Options) complete() Options {
	for _, f := range []*func(){&o.Fenced, &o.Replaced} {
		if *f == nil {
			*f = func() {}
		}
	}
	if reflect.ValueOf(o.Config).IsZero() {
		o.Config = configs.Default()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Addresses are where a started server listens.
type Addresses struct {
	MQTT    string `json:"mqtt"`
	HTTP    string `json:"http"`
	Private string `json:"private"`
}

// Server is one Postbox server: an Engine with the Mochi server, the listeners
// and the HTTP edge of its own. New makes it, Start runs it, Shutdown ends it.
type Server struct {
	o      Options
	engine *Engine
	mochi  *mqtt.Server

	listener  net.Listener
	public    *http.Server
	private   *http.Server
	addresses Addresses

	requests *web.Requests
	work     sync.WaitGroup
	shutdown sync.Once
	result   error
}

// New connects to the database, brings its schema up to date, and takes it for
// this server. It waits half a minute for a database that is away, and fails
// when it is newer, or taken, or does not let the server in.
func New(ctx context.Context, o Options) (*Server, error) {
	o = o.complete()
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	s := &Server{o: o, requests: web.NewRequests(), mochi: newMochi(o.Config, o.Logger)}
	var err error
	if s.engine, err = Attach(ctx, s.mochi, o); err != nil {
		return nil, err
	}
	o.Registry.MustRegister(s.requests.Metrics()...)
	return s, nil
}

// newMochi makes the broker that speaks MQTT, with our settings.
func newMochi(c configs.Config, log *slog.Logger) *mqtt.Server {
	return mqtt.New(&mqtt.Options{
		Capabilities:             Capabilities(c),
		Logger:                   MochiLogger(log),
		ClientNetReadBufferSize:  2048,
		ClientNetWriteBufferSize: 2048,
		SysTopicResendInterval:   3600, // each one stops the world and fills the retained store
	})
}

// Start listens and serves. It returns when everything listens; Addresses then
// tells where.
func (s *Server) Start(ctx context.Context) error {
	if err := s.engine.Start(ctx); err != nil {
		return err
	}
	if err := s.mochi.Serve(); err != nil {
		return fmt.Errorf("start mochi: %w", err)
	}
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
		Origins: c.Origins, Logger: s.o.Logger, Requests: s.requests,
		MQTT: func(conn net.Conn) { s.engine.door.serve(conn, "websocket") },
	}), s.o.Logger)
	s.private = web.NewServer(web.NewPrivate(web.PrivateOptions{Ready: s.engine.Ready, Metrics: s.engine.scrape(), Requests: s.requests}), s.o.Logger)
	s.work.Go(func() { s.engine.door.accept(s.listener, "tcp") })
	s.work.Go(func() { _ = s.public.Serve(public) })
	s.work.Go(func() { _ = s.private.Serve(private) })
	return nil
}

// Addresses tells where a started server listens, with the real ports.
func (s *Server) Addresses() Addresses { return s.addresses }

// Shutdown stops accepting, commits and acknowledges what was received, tells
// the clients, and ends. That the database is away or silent is no error, and
// does not hold it up for longer than eight seconds. It is safe to call twice.
// When ctx ends first, its error is returned, two seconds later at most.
func (s *Server) Shutdown(ctx context.Context) error {
	s.shutdown.Do(func() { s.result = s.end(ctx) })
	return s.result
}

func (s *Server) end(ctx context.Context) error {
	if s.listener != nil {
		_ = s.listener.Close()
	}
	err := s.engine.Shutdown(ctx)
	if s.public != nil {
		_ = s.public.Close()
		_ = s.private.Close()
	}
	_ = s.mochi.Close()
	s.work.Wait()
	return err
}
