package hooks

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
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
	// Ends is when the connection's right ends, with its token; zero: never.
	Ends time.Time
}

// Accounts tells who a client is. Authenticate returns
// postbox.ErrUnauthenticated, ErrDisabled, or postbox.ErrUnavailable (in the
// chain) when it cannot be told now.
type Accounts interface {
	Authenticate(ctx context.Context, name string, password []byte) (Identity, error)
}

// Sessions keeps devices between their connections.
type Sessions interface {
	OpenSession(ctx context.Context, r store.SessionRequest) (store.Session, error)
	CloseSession(ctx context.Context, device postbox.DeviceID, life time.Duration, known postbox.MessageID) error
	SaveSubscription(ctx context.Context, device postbox.DeviceID, sub store.Subscription) error
	DeleteSubscriptions(ctx context.Context, device postbox.DeviceID, filters []string) error
	SetCursor(ctx context.Context, device postbox.DeviceID, epoch postbox.Epoch, cursor postbox.InboxSeq) error
}

// Records reads what is kept of a device's publishes, for the re-send rule.
type Records interface {
	SentPublish(ctx context.Context, user postbox.UserID, device string, packetID uint16) (*postbox.SentPublish, error)
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
}

// Options are what a Hook works with; all are required.
type Options struct {
	Accounts Accounts
	Sessions Sessions
	Records  Records
	Mail     Mail
	Wills    Wills
	// MayWrite decides whether a user may write to another: an error of
	// docs/spec.md §9 says why not, postbox.ErrUnavailable (in the chain) that it
	// cannot be told now.
	MayWrite func(ctx context.Context, sender postbox.UserID, to postbox.User) error
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
	// MayAsk counts a request of a user against the rate, and reports whether
	// there is room for it; nil: always.
	MayAsk func(postbox.UserID) bool
	Limits Limits
	Logger *slog.Logger
}

// Hook is the Mochi hook. Add it with Server.AddHook; it must be the only hook
// that authenticates or decides on access.
type Hook struct {
	mqtt.HookBase
	o        Options
	server   *mqtt.Server
	local    *mqtt.Client // who publishes what the server itself has to say
	registry registry
	limiters limiters
	wills    wills
	presence presence
	work     sync.WaitGroup // goroutines that run errands

	ctx    context.Context // of all that waits; see Hurry
	cancel context.CancelFunc
}

// New makes the hook for a server, whose options it checks: those under which
// promises would not hold are an error that names them.
func New(server *mqtt.Server, o Options) (*Hook, error) {
	if err := checkServer(server); err != nil {
		return nil, err
	}
	h := &Hook{o: o, server: server, local: newLocal(server)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.registry.init()
	h.presence.init(presenceGrace)
	h.limiters.rate, h.limiters.burst = rate.Limit(o.Limits.PublishRate), o.Limits.PublishBurst
	return h, nil
}

// ID names the hook to Mochi.
func (h *Hook) ID() string { return "postbox" }

// Provides tells Mochi which events the hook takes.
func (h *Hook) Provides(event byte) bool {
	switch event {
	case mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck,
		mqtt.OnSessionEstablish, mqtt.OnSessionEstablished, mqtt.OnDisconnect,
		mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnPacketProcessed,
		mqtt.OnSubscribe, mqtt.OnUnsubscribe:
		return true
	}
	return false
}

// Capabilities are the Mochi options that Postbox needs, made from its limits.
func Capabilities(l Limits) *mqtt.Capabilities {
	c := mqtt.NewDefaultServerCapabilities()
	c.MaximumMessageExpiryInterval = 0 // would drop and mark deliveries by itself
	c.MaximumClientWritesPending = 64  // a channel per client; deliveries do not use it
	c.MaximumSessionExpiryInterval = uint32(l.SessionLife / time.Second)
	c.MaximumPacketSize = uint32(l.Packet)
	c.ReceiveMaximum = uint16(min(l.Inflight, 65535))
	c.TopicAliasMaximum = 0 // its access check sees an empty topic
	c.Compatibilities.NoInheritedPropertiesOnAck = true
	return c
}

func checkServer(s *mqtt.Server) error {
	c := s.Options.Capabilities
	switch {
	case c.TopicAliasMaximum != 0:
		return errors.New("mochi option TopicAliasMaximum must be 0: an aliased publish passes the access check unseen")
	case c.MaximumMessageExpiryInterval != 0:
		return errors.New("mochi option MaximumMessageExpiryInterval must be 0: it marks and drops messages by itself")
	case c.MaximumPacketSize == 0:
		return errors.New("mochi option MaximumPacketSize must be set: without it a header of five bytes allocates 256 MiB")
	case c.MaximumQos != 2:
		return errors.New("mochi option MaximumQos must be 2: less does not stop a 3.1.1 client, it only breaks its handshake")
	case !c.Compatibilities.NoInheritedPropertiesOnAck:
		return errors.New("mochi option NoInheritedPropertiesOnAck must be true: MQTT.js takes the other form of PUBACK for an error")
	case c.Compatibilities.PassiveClientDisconnect:
		return errors.New("mochi option PassiveClientDisconnect must be false: a taken-over connection would stay open")
	}
	return nil
}
