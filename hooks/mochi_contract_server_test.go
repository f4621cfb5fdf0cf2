package hooks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/internal/mqtttest"
)

// failing is a listener whose first Accept fails, as for want of a file
// descriptor.
type failing struct {
	net.Listener
	once sync.Once
}

func (l *failing) Accept() (c net.Conn, err error) {
	l.once.Do(func() { err = errors.New("no file descriptor") })
	if err != nil {
		return nil, err
	}
	return l.Listener.Accept()
}

// 16. Accepting ends with its first error, and Close waits for a connection
// that has not said CONNECT. (That ours goes on accepting is shown in package
// broker, whose listener it is.)
func TestMochiListener(t *testing.T) {
	t.Parallel()
	t.Run("bare, accept", func(t *testing.T) {
		t.Parallel()
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := listeners.NewNet("test", &failing{Listener: inner})
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.Serve(func(string, net.Conn) error { return nil })
		}()
		within(t, "the end of accepting", done)
		l.Close(func(string) {})
	})
	t.Run("bare, close", func(t *testing.T) {
		t.Parallel()
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := &noting{Listener: inner, reading: make(chan struct{})}
		b := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
		if err := b.AddListener(listeners.NewNet("test", l)); err != nil {
			t.Fatal(err)
		}
		if err := b.Serve(); err != nil {
			t.Fatal(err)
		}
		p := dial(t, inner.Addr().String())
		within(t, "the connection to be read", l.reading)
		done := make(chan struct{})
		go func() { _ = b.Close(); close(done) }()
		select {
		case <-done:
			t.Error("Close does not wait for a connection without CONNECT")
		case <-time.After(300 * time.Millisecond):
		}
		_ = p.Net.Close()
		within(t, "Close", done)
	})
	t.Run("postbox, close", func(t *testing.T) {
		t.Parallel()
		s := newPostbox(t, slog.DiscardHandler)
		alice := s.user("alice")
		idle, half := dial(t, s.addr), dial(t, s.addr)
		half.Write([]byte{0x10})
		connect(t, s.addr, connectPacket(5, alice, "phone", true)) // the others are accepted by now
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := s.server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 5*time.Second { // before the deadline of CONNECT
			t.Errorf("it took %v", took)
		}
		idle.Ended()
		half.Ended()
	})
}

// noting is a listener that tells when its one connection is read.
type noting struct {
	net.Listener
	reading chan struct{}
}

func (l *noting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return notingConn{c, l.reading}, err
}

type notingConn struct {
	net.Conn
	reading chan struct{}
}

func (c notingConn) Read(p []byte) (int, error) {
	close(c.reading) // once: nothing is ever sent
	return c.Conn.Read(p)
}

// mute is a connection that cannot be written to.
type mute struct{ net.Conn }

func (mute) Write([]byte) (int, error) { return 0, errors.New("connection reset by peer") }

// 17. The clean-up of an old connection can remove the new one, and a CONNACK
// that cannot be written leaves a ghost.
func TestMochiTakeoverRaces(t *testing.T) {
	t.Parallel()
	t.Run("bare, the new one is removed", func(t *testing.T) {
		t.Parallel()
		cleaning, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		b := newBare(t, nil, &probe{authenticates: true, unsubscribed: func(*mqtt.Client) {
			once.Do(func() { close(cleaning); <-goOn })
		}})
		old, _ := connect(t, b.addr, connectPacket(5, "bob", "phone", false))
		_ = old.Net.Close()
		within(t, "the clean-up of the old one", cleaning)
		p, _ := connect(t, b.addr, connectPacket(5, "bob", "phone", false))
		p.subscribe(1, "a")
		close(goOn)
		await(t, "the loss of the new one", func() bool { _, there := b.Clients.Get("phone"); return !there })
		sender, _ := connect(t, b.addr, connectPacket(4, "alice", "alice", true))
		sender.Send(publishPacket(1, 1, "a", "x"))
		sender.Expect(packets.Puback)
		p.Quiet() // alive, and deaf
	})
	t.Run("bare, a ghost", func(t *testing.T) {
		t.Parallel()
		var ended atomic.Int32
		b := newBare(t, nil, &probe{authenticates: true, disconnected: func(*mqtt.Client) { ended.Add(1) }})
		near, far := net.Pipe()
		defer near.Close()
		done := make(chan struct{})
		go func() { defer close(done); b.establish(mute{far}) }()
		if _, err := near.Write(mqtttest.Encode(t, connectPacket(4, "alice", "ghost", true))); err != nil {
			t.Fatal(err)
		}
		within(t, "the end of the connection", done)
		if _, there := b.Clients.Get("ghost"); !there || ended.Load() != 0 {
			t.Errorf("still known: %v; OnDisconnect was called %d times", there, ended.Load())
		}
	})
	t.Run("postbox", func(t *testing.T) {
		t.Parallel()
		s := newPostbox(t, slog.DiscardHandler)
		alice, bob := s.user("alice"), s.user("bob")
		sender, _ := connect(t, s.addr, connectPacket(4, alice, "phone", true))
		pk := connectPacket(5, bob, "phone", false)
		for n := range 60 {
			// One is cut or taken over, one goes before its CONNACK.
			p := dial(t, s.addr)
			p.Version = 5
			p.Write(mqtttest.Encode(t, pk))
			if _, err := p.Next(); err != nil {
				t.Fatalf("round %d: wait for CONNACK: %v", n, err)
			}
			if n%2 == 0 {
				_ = p.Net.Close()
			}
			hasty := dial(t, s.addr)
			hasty.Write(mqtttest.Encode(t, pk))
			_ = hasty.Net.(*net.TCPConn).SetLinger(0)
			_ = hasty.Net.Close()
			// The hasty ones may be served late: then they take over, once.
			var err error
			for attempt := range 5 {
				if err = s.roundTrip(sender, pk, bob, fmt.Sprint("round ", n, attempt)); err == nil {
					break
				}
			}
			if err != nil {
				t.Fatalf("round %d: %v", n, err)
			}
		}
	})
}

// roundTrip connects, subscribes and receives what sender sends then.
func (s *postboxServer) roundTrip(sender *peer, pk packets.Packet, user, body string) error {
	p := dial(s.t, s.addr)
	p.Version = pk.ProtocolVersion
	subscribe := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: 1, ProtocolVersion: p.Version,
		Filters: packets.Subscriptions{{Filter: "inbox/" + user, Qos: 1}},
	}
	p.Write(append(mqtttest.Encode(s.t, pk), mqtttest.Encode(s.t, subscribe)...))
	for _, kind := range []byte{packets.Connack, packets.Suback} {
		got, err := p.Next()
		if err != nil {
			return fmt.Errorf("wait for %s: %w", packets.PacketNames[kind], err)
		}
		if got.FixedHeader.Type != kind || got.SessionPresent || got.ReasonCode != 0 {
			return fmt.Errorf("got a %s, session present %v, code %#x", packets.PacketNames[got.FixedHeader.Type], got.SessionPresent, got.ReasonCode)
		}
	}
	sender.Send(publishPacket(1, 1, "inbox/"+user, body))
	sender.Expect(packets.Puback)
	got, err := p.Next()
	if err == nil && !strings.Contains(string(got.Payload), `"`+body+`"`) {
		err = fmt.Errorf("got a %s: %#x %s", packets.PacketNames[got.FixedHeader.Type], got.ReasonCode, got.Payload)
	}
	return err
}

// 18. The cost of a filter grows with the square of its levels.
func TestMochiTopicDepth(t *testing.T) {
	t.Parallel()
	// The best of many runs is one that nothing else on the machine has
	// interrupted, if a run is short. That the long one may be is no harm: it is
	// to be long.
	cost := func(levels, runs int) time.Duration {
		best := time.Hour
		for range runs {
			index := mqtt.NewTopicsIndex()
			began := time.Now()
			index.Subscribe("id", packets.Subscription{Filter: strings.Repeat("/", levels)})
			best = min(best, time.Since(began))
		}
		return best
	}
	if small, large := cost(300, 60), cost(4800, 1); large < 64*small { // 16 times the levels
		t.Errorf("bare: 300 levels cost %v, 4,800 levels %v", small, large)
	}

	s := newPostbox(t, slog.DiscardHandler)
	alice := s.user("alice")
	for _, v := range []byte{4, 5} {
		p, _ := connect(t, s.addr, connectPacket(v, alice, "phone", true))
		deep := "reply/" + alice + strings.Repeat("/", 30_000)
		if code := p.subscribe(1, deep); code < 0x80 {
			t.Errorf("SUBACK %#x", code)
		}
		p.Send(publishPacket(1, 1, deep, "x"))
		ack := p.Expect(packets.Puback)
		if refused := ack.ReasonCode >= 0x80; refused != (v == 5) {
			t.Errorf("PUBACK %#x", ack.ReasonCode)
		}
		p.Quiet()
	}
}

// loud is a log that keeps everything.
type loud struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *loud) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

func (l *loud) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.out.String(), s)
}

func (l *loud) handler() slog.Handler {
	return slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})
}

// 19. Log lines contain whole packets. Payloads and passwords are looked for
// in each form that a line may have them.
func TestMochiLogsPayloads(t *testing.T) {
	t.Parallel()
	const secret = "tell nobody"
	forms := []string{secret, fmt.Sprint([]byte(secret)), "dGVsbCBub2JvZHk"}
	var log loud
	b := newBare(t, func(o *mqtt.Options) { o.Logger = slog.New(log.handler()) },
		&probe{authenticates: true, publish: func(pk packets.Packet) (packets.Packet, error) { return pk, errors.New("no") }})
	p, _ := connect(t, b.addr, connectPacket(4, "alice", "alice", true))
	p.Send(publishPacket(1, 1, "a", secret))
	p.Expect(packets.Puback)
	await(t, "the payload in the log", func() bool { return log.contains(forms[0]) || log.contains(forms[1]) })

	var ours loud
	s := newPostbox(t, ours.handler())
	alice := s.user("alice")
	for _, v := range []byte{4, 5} {
		will := connectPacket(v, alice, "will", true)
		will.Connect.WillFlag, will.Connect.WillTopic, will.Connect.WillPayload = true, "inbox/"+alice, []byte(secret)
		w, _ := connect(t, s.addr, will)
		w.Write([]byte{0x36, 5, 0, 1, 'a', 0, 1}) // malformed
		w.Ended()
		p, _ := connect(t, s.addr, connectPacket(v, alice, "phone", true))
		p.subscribe(1, "inbox/"+alice)
		for id, topic := range map[uint16]string{1: "inbox/" + alice, 2: "inbox/nobody", 3: "nowhere"} {
			p.Send(publishPacket(id, 1, topic, secret))
		}
		p.Send(publishPacket(4, 1, "#", secret)) // ends it
		p.Ended()
		bad := connectPacket(v, alice, "phone", true)
		bad.Connect.Password = []byte(secret)
		refused := dial(t, s.addr)
		refused.Version = v
		refused.Send(bad)
		refused.Expect(packets.Connack)
		refused.Ended()
		cut, _ := connect(t, s.addr, connectPacket(v, alice, "cut", true))
		cut.Write(truncatedSubscribe[:3])
		_ = cut.Net.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	for _, form := range append(forms, password) {
		if ours.contains(form) {
			t.Errorf("the log contains %q", form)
		}
	}
}
