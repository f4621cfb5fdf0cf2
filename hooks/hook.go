package hooks

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"postbox"
	"postbox/inbox"
	"postbox/store"
)

// Identity is an authenticated user.
type Identity struct {
	ID    postbox.UserID
	Name  postbox.User
	Admin bool
	// Ends is when the connection's right ends, with its token or certificate;
	// zero: never.
	Ends time.Time
	// Renews is true where Ends is that of a token, whose place a newer one may take.
	Renews bool
	// Since is from when the right counts, by the database's clock; Login is the
	// login that the token belongs to, zero: none.
	Since time.Time
	Login postbox.LoginID
}

// Credentials are what a client says of itself in its CONNECT, and what its
// connection has shown.
type Credentials struct {
	User     string
	Password []byte
	// Certificate is that of the connection; nil: it has none.
	Certificate *Certificate
	// Remote is the host that the connection comes from, for limits and the log.
	Remote string
}

// Certificate is a client's certificate that was verified. It counts instead of
// a password.
type Certificate struct {
	User string    // as it stands there; empty: it names none
	Ends time.Time // when it does
}

// Accounts tells who a client is. Authenticate returns
// postbox.ErrUnauthenticated, ErrDisabled, or postbox.ErrUnavailable (in the
// chain) when it cannot be told now.
type Accounts interface {
	Authenticate(ctx context.Context, c Credentials) (Identity, error)
}

// Sessions keeps devices between their connections.
type Sessions interface {
	OpenSession(ctx context.Context, r store.SessionRequest) (store.Session, error)
	CloseSession(ctx context.Context, session store.Session, life time.Duration, known postbox.MessageID) error
	SaveSubscription(ctx context.Context, device postbox.DeviceID, sub store.Subscription) error
	DeleteSubscriptions(ctx context.Context, device postbox.DeviceID, filters []string) error
	SetCursor(ctx context.Context, device postbox.DeviceID, epoch postbox.Epoch, cursor postbox.InboxSeq) error
}

// Records reads what is kept of a device's publishes, for the re-send rule.
type Records interface {
	SentPublish(ctx context.Context, user postbox.UserID, device string, packetID uint16, known postbox.MessageID, before postbox.InboxSeq,
	) (record *postbox.SentPublish, next postbox.InboxSeq, err error)
	OpenPublishes(ctx context.Context, device postbox.DeviceID) ([]postbox.SentPublish, error)
}

// Mail attaches devices to their inboxes.
type Mail interface {
	Subscribe(ctx context.Context, d inbox.Device, at inbox.Start, out inbox.Outlet) (*inbox.Subscription, error)
	FlushCursors(ctx context.Context) error
}

// Lineage knows the epochs of the database.
type Lineage interface {
	// PositionSince translates a position of an earlier epoch into the numbers
	// of the one in force; false: it is of no epoch of this database.
	PositionSince(ctx context.Context, user postbox.UserID, p postbox.Position) (postbox.InboxSeq, bool, error)
	// Ahead is told that a client knows of more entries of the epoch in force
	// than there are.
	Ahead(ctx context.Context)
}

// Lane takes drafts; see inbox.Lane.
type Lane interface {
	Submit(d *inbox.Draft) error
}

// Limits are the settings of docs/spec.md §2 that this edge enforces. Zero
// values are not defaults: give them all.
type Limits struct {
	Body          int           // bytes of a message
	Packet        int           // bytes of a packet, announced
	Ref           int           // bytes of a ref
	KeepAlive     time.Duration // longest
	Inflight      int           // unacknowledged publishes per connection, announced
	Window        int           // deliveries to a 3.1.1 device
	SessionLife   time.Duration // longest
	Devices       int           // per user
	Subscriptions int           // per device
	PublishRate   float64       // durable publishes per user and second; zero: no limit
	PublishBurst  int
	PacketRate    float64 // other packets per user and second, see flood.go; zero: no limit
	PacketBurst   int
	Connections   int // of a user at once
	Connects      int // of an address that are being checked at once
}

// Options are what a Hook works with; all but MayUse and Tracer are required.
type Options struct {
	Accounts Accounts
	Sessions Sessions
	Records  Records
	Mail     Mail
	Wills    Wills
	// MayWrite decides whether a user may write to another, or in a room: an error of
	// docs/spec.md §9 says why not, postbox.ErrUnavailable (in the chain) that it
	// cannot be told now.
	MayWrite func(ctx context.Context, to postbox.RouteKey) error
	// MayUse decides who publishes and subscribes to topics that are not
	// postbox.Reserved, which Mochi serves: it is asked for each publish, will
	// and filter, and for each delivery with the topic. It is called from many
	// goroutines and must not wait. Nil: there are no such topics.
	MayUse func(user postbox.User, topic string, write bool) bool
	// AwaySince tells since when the database is known to be away; zero: it is
	// not.
	AwaySince func() time.Time
	// LaneOf chooses a connection's lane, for life.
	LaneOf  func(postbox.UserID) Lane
	Epoch   postbox.Epoch
	Lineage Lineage
	// Operations answers what is published to api/v1/…
	Operations Operations
	Sight      Sight
	Signals    Signals
	// MayAsk counts a request of a user against the rate, and reports whether
	// there is room for it; nil: always.
	MayAsk func(postbox.UserID) bool
	Limits Limits
	Logger *slog.Logger
	// Tracer gets the traces of messages; nil: nothing is traced.
	Tracer trace.Tracer
}

// Hook is the Mochi hook. It must be the only hook that authenticates or decides
// on access: Mochi takes one yes for an answer.
type Hook struct {
	mqtt.HookBase
	o        Options
	server   *mqtt.Server
	local    *mqtt.Client // who publishes what the server itself has to say
	registry registry
	checking checking
	limiters limiters // of publishes
	packets  limiters // of all else
	wills    wills
	added    atomic.Bool
	refusing atomic.Bool // see Admit
	metrics  metrics
	traces   *traces // nil: nothing is traced
	presence presence
	work     sync.WaitGroup // goroutines that run errands

	ctx    context.Context // of all that waits; see Hurry
	cancel context.CancelFunc
}

// New makes the hook for a server, to be added with its AddHook before it serves.
func New(server *mqtt.Server, o Options) *Hook {
	h := &Hook{o: o, server: server, local: newLocal(server), metrics: newMetrics(), traces: newTraces(o.Tracer)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.registry.init()
	h.presence.init(presenceGrace)
	h.checking.limit = o.Limits.Connects
	h.limiters.rate, h.limiters.burst = rate.Limit(o.Limits.PublishRate), o.Limits.PublishBurst
	h.packets.rate, h.packets.burst = rate.Limit(o.Limits.PacketRate), o.Limits.PacketBurst
	return h
}

// ID names the hook to Mochi.
func (h *Hook) ID() string { return "postbox" }

// Provides tells Mochi which events the hook takes.
func (h *Hook) Provides(event byte) bool {
	switch event {
	case mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck,
		mqtt.OnSessionEstablish, mqtt.OnSessionEstablished, mqtt.OnDisconnect,
		mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnPacketSent, mqtt.OnPacketProcessed,
		mqtt.OnSubscribe, mqtt.OnUnsubscribe, mqtt.OnPublish:
		return true
	}
	return false
}
