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
	// Certificates are those of a Server's listeners with TLS, where they are to
	// outlive it; nil: it reads its own. An Engine has no use for them.
	Certificates *Certificates
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
	MQTTS   string `json:"mqtts,omitempty"`
	HTTPS   string `json:"https,omitempty"`
}

// Server is one Postbox server: an Engine with the Mochi server, the listeners
// and the HTTP edge of its own. New makes it, Start runs it, Shutdown ends it.
type Server struct {
	o      Options
	engine *Engine
	mochi  *mqtt.Server

	listeners []net.Listener // of MQTT
	servers   []*http.Server
	addresses Addresses

	requests *web.Requests
	api      *web.API
	cancel   context.CancelFunc
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
	if o.Certificates == nil {
		if s.o.Certificates, err = NewCertificates(o.Config, o.Logger); err != nil {
			return nil, err
		}
	}
	if s.engine, err = Attach(ctx, s.mochi, o); err != nil {
		return nil, err
	}
	o.Registry.MustRegister(s.requests.Metrics()...)
	s.api = s.engine.overHTTP()
	s.engine.changed = s.kick
	s.engine.door.proxies, s.engine.door.certificates = proxiesOf(o.Config.Proxy), s.o.Certificates
	return s, nil
}

// kick ends what a user, or one login of the user, has open over HTTP.
func (s *Server) kick(user postbox.UserID, login postbox.LoginID) {
	if login == 0 {
		s.api.Kick(user)
	} else {
		s.api.KickLogin(user, login)
	}
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
	if err := s.listen(); err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	if issuer := s.o.Certificates.issuer; issuer != nil {
		s.work.Go(func() { issuer.keep(run) })
	}
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
	for _, l := range s.listeners {
		_ = l.Close()
	}
	if s.cancel != nil {
		s.cancel()
	}
	s.api.Shutdown()
	err := s.engine.Shutdown(ctx)
	for _, server := range s.servers {
		_ = server.Close()
	}
	_ = s.mochi.Close()
	s.work.Wait()
	return err
}
