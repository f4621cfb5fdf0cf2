package hooks_test

import (
	"log/slog"
	"net"
	"sync"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/internal/mqtttest"
)

// bare is a Mochi server without anything of ours but a listener that notes
// what its connections end with.
type bare struct {
	*mqtt.Server
	addr string

	mu     sync.Mutex
	faults []any // panics of connections
}

// probe is a hook made of functions; it lets everybody in.
type probe struct {
	mqtt.HookBase
	acl           func(topic string, write bool) bool
	publish       func(pk packets.Packet) (packets.Packet, error)
	unsubscribed  func(cl *mqtt.Client)
	disconnected  func(cl *mqtt.Client)
	connected     func(cl *mqtt.Client)
	dropped       func()
	authenticates bool
}

func (p *probe) ID() string           { return "probe" }
func (p *probe) Provides(b byte) bool { return true }

func (p *probe) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return p.authenticates }

func (p *probe) OnACLCheck(_ *mqtt.Client, topic string, write bool) bool {
	return p.acl == nil || p.acl(topic, write)
}

func (p *probe) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if p.publish == nil {
		return pk, nil
	}
	return p.publish(pk)
}

func (p *probe) OnUnsubscribed(cl *mqtt.Client, _ packets.Packet) {
	if p.unsubscribed != nil {
		p.unsubscribed(cl)
	}
}

func (p *probe) OnDisconnect(cl *mqtt.Client, _ error, _ bool) {
	if p.disconnected != nil {
		p.disconnected(cl)
	}
}

func (p *probe) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	if p.connected != nil {
		p.connected(cl)
	}
	return nil
}

func (p *probe) OnPublishDropped(*mqtt.Client, packets.Packet) {
	if p.dropped != nil {
		p.dropped()
	}
}

func newBare(t *testing.T, change func(*mqtt.Options), hooks ...*probe) *bare {
	t.Helper()
	o := &mqtt.Options{Logger: slog.New(slog.DiscardHandler), Capabilities: mqtt.NewDefaultServerCapabilities()}
	if change != nil {
		change(o)
	}
	b := &bare{Server: mqtt.New(o)}
	if len(hooks) == 0 {
		hooks = []*probe{{authenticates: true}}
	}
	for _, h := range hooks {
		if err := b.AddHook(h, nil); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = l.Addr().String()
	if err := b.Serve(); err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			work.Go(func() { b.establish(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		work.Wait()
		_ = b.Close()
	})
	return b
}

// establish serves a connection and notes a panic, which in Mochi's own
// listeners ends the process.
func (b *bare) establish(conn net.Conn) {
	defer func() {
		if fault := recover(); fault != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.faults = append(b.faults, fault)
		}
	}()
	_ = b.EstablishConnection("test", conn)
}

func (b *bare) panics() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.faults)
}

// through connects a client whose connection is a pipe: nothing of what the
// server writes goes out before it is read.
func (b *bare) through(t *testing.T, pk packets.Packet, filter string, wrap func(net.Conn) net.Conn) *peer {
	t.Helper()
	near, far := net.Pipe()
	var work sync.WaitGroup
	work.Go(func() { b.establish(wrap(far)) })
	t.Cleanup(work.Wait)
	p := &peer{mqtttest.New(t, near)}
	if ack := p.Connect(pk); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	p.subscribe(1, filter)
	return p
}

func asIs(c net.Conn) net.Conn { return c }
