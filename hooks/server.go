package hooks

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// Capabilities are the Mochi options that Postbox needs, made from its limits.
func Capabilities(l Limits) *mqtt.Capabilities {
	c := mqtt.NewDefaultServerCapabilities()
	c.MaximumMessageExpiryInterval = 0 // would drop and mark deliveries by itself
	c.MaximumClientWritesPending = 64  // a channel per client; deliveries do not use it
	c.MaximumSessionExpiryInterval = uint32(l.SessionLife / time.Second)
	c.MaximumPacketSize = uint32(l.Packet)
	c.ReceiveMaximum = receiveMaximum(l)
	c.TopicAliasMaximum = 0 // its access check sees an empty topic
	c.Compatibilities.NoInheritedPropertiesOnAck = true
	return c
}

func receiveMaximum(l Limits) uint16 { return uint16(min(l.Inflight, 65535)) }

// mostWritesPending bounds the queue that Mochi allocates for each connection,
// before it has sent anything: eight bytes for each place.
const mostWritesPending = 1024

// Init checks the server when it takes the hook. Options, and other hooks, under
// which promises would not hold are an error that names them.
func (h *Hook) Init(any) error {
	if h.added.Swap(true) {
		return fmt.Errorf("the hook was added already: add it once")
	}
	return h.check()
}

// Check tells whether a server would take a hook with such limits: what Init does,
// before anything else has been begun.
func Check(server *mqtt.Server, l Limits) error {
	return (&Hook{server: server, o: Options{Limits: l}}).check()
}

func (h *Hook) check() error {
	if atomic.LoadInt64(&h.server.Info.Time) != 0 {
		return fmt.Errorf("the server serves already: add the hook before Serve, or connections pass it")
	}
	if err := checkCapabilities(h.server.Options.Capabilities, h.o.Limits); err != nil {
		return err
	}
	return h.CheckHooks()
}

func checkCapabilities(c *mqtt.Capabilities, l Limits) error {
	for _, o := range []struct {
		name     string
		is, must any
		why      string
	}{
		{"MaximumPacketSize", c.MaximumPacketSize, uint32(l.Packet), "it is what clients are told; with 0 a header of five bytes allocates 256 MiB"},
		{"ReceiveMaximum", c.ReceiveMaximum, receiveMaximum(l), "it is what clients are told, and Postbox ends those who exceed its limit"},
		{"MaximumSessionExpiryInterval", c.MaximumSessionExpiryInterval, uint32(l.SessionLife / time.Second), "it is what clients are told of the life of their sessions"},
		{"MaximumMessageExpiryInterval", c.MaximumMessageExpiryInterval, int64(0), "any other marks and drops messages by itself"},
		{"MaximumQos", c.MaximumQos, byte(2), "less does not stop a 3.1.1 client, it only breaks its handshake"},
		{"TopicAliasMaximum", c.TopicAliasMaximum, uint16(0), "an aliased publish passes the access check unseen"},
		{"RetainAvailable", c.RetainAvailable, byte(1), "retained messages would be acknowledged and not kept"},
		{"Compatibilities.NoInheritedPropertiesOnAck", c.Compatibilities.NoInheritedPropertiesOnAck, true, "MQTT.js takes the other form of PUBACK for an error"},
		{"Compatibilities.PassiveClientDisconnect", c.Compatibilities.PassiveClientDisconnect, false, "a taken-over connection would stay open"},
		{"Compatibilities.ObscureNotAuthorized", c.Compatibilities.ObscureNotAuthorized, false, "a refused subscription is answered with 0x87"},
	} {
		if o.is != o.must {
			return fmt.Errorf("the Mochi option %s is %v: set it to %v, as Capabilities does (%s)", o.name, o.is, o.must, o.why)
		}
	}
	if n := c.MaximumClientWritesPending; n < 1 || n > mostWritesPending {
		return fmt.Errorf("the Mochi option MaximumClientWritesPending is %d: set it to 64, as Capabilities does, or to %d at most (each connection allocates eight bytes for each, before its CONNECT)", n, mostWritesPending)
	}
	return nil
}

// CheckHooks looks at the server's other hooks. Mochi lets in, or grants, what
// any one of them says yes to, so only this one may be asked; and none may bring
// sessions of its own.
func (h *Hook) CheckHooks() error {
	others, err := hooksOf(h.server)
	if err != nil {
		return err
	}
	for _, c := range h.server.Options.Hooks { // which Serve adds
		others = append(others, c.Hook)
	}
	for _, other := range others {
		if this, ok := other.(*Hook); ok && this == h {
			continue
		}
		switch {
		case other.ID() == h.ID():
			return fmt.Errorf("the server has Postbox already: add it once")
		case other.Provides(mqtt.OnConnectAuthenticate):
			return fmt.Errorf("the hook %q provides OnConnectAuthenticate, and its yes would let in whom Postbox refuses: remove it and give its decision to Authenticate", other.ID())
		case other.Provides(mqtt.OnACLCheck):
			return fmt.Errorf("the hook %q provides OnACLCheck, and its yes would grant what Postbox refuses: remove it and give its decision to MayUse", other.ID())
		case other.Provides(mqtt.StoredClients), other.Provides(mqtt.StoredSubscriptions), other.Provides(mqtt.StoredInflightMessages):
			return fmt.Errorf("the hook %q brings stored sessions: remove it, sessions are in PostgreSQL", other.ID())
		}
	}
	return nil
}

// hooksOf lists the hooks of a server, which Mochi keeps to itself.
func hooksOf(s *mqtt.Server) ([]mqtt.Hook, error) {
	field := reflect.ValueOf(s).Elem().FieldByName("hooks")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*mqtt.Hooks]() {
		return nil, fmt.Errorf("this version of Mochi (%s) does not show its hooks: use the one that Postbox requires", mqtt.Version)
	}
	return (*mqtt.Hooks)(field.UnsafePointer()).GetAll(), nil
}
