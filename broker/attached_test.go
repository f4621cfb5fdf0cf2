package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"

	"postbox/broker"
	"postbox/internal/mqtttest"
	"postbox/store"
)

// attached is a Mochi server of somebody else's that Postbox was attached to.
type attached struct {
	*world
	kind   string
	adapt  func(*broker.Options)
	mochi  *mqtt.Server
	engine *broker.Engine
	http   *httptest.Server // ours over WebSocket
	addr   string
}

// The listeners of an attached server: Mochi's own, and ours.
const (
	mochiTCP = "mochi-tcp"
	mochiWS  = "mochi-ws"
	oursTCP  = "ours-tcp"
	oursWS   = "ours-ws"
)

// listenerKinds runs f as a subtest for each.
func listenerKinds(t *testing.T, f func(t *testing.T, kind string)) {
	t.Helper()
	for _, kind := range []string{mochiTCP, mochiWS, oursTCP, oursWS} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f(t, kind)
		})
	}
}

// attach starts a server with one listener; adapt may be nil.
func attach(t testing.TB, kind string, adapt func(*broker.Options), change ...func(*world)) *attached {
	t.Helper()
	a := &attached{world: emptyWorld(t, change...), kind: kind, adapt: adapt}
	a.start()
	t.Cleanup(a.stop)
	return a
}

func (a *attached) options() broker.Options {
	o := broker.Options{
		Config: a.config, DatabaseURL: a.url, Logger: slog.New(a.log),
		Fenced: func() { a.t.Error("the server was fenced") },
	}
	if a.adapt != nil {
		a.adapt(&o)
	}
	return o
}

func (a *attached) start() {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	for {
		a.mochi = mqtt.New(&mqtt.Options{
			Capabilities: broker.Capabilities(a.config), Logger: broker.MochiLogger(slog.New(a.log)), InlineClient: true,
		})
		if a.engine, err = broker.Attach(ctx, a.mochi, a.options()); !errors.Is(err, store.ErrOwned) || ctx.Err() != nil {
			break // PostgreSQL may not have noticed yet that the last one is gone
		}
	}
	if err != nil {
		a.t.Fatal(err)
	}
	switch a.kind {
	case mochiTCP:
		err = a.mochi.AddListener(listeners.NewTCP(listeners.Config{ID: "t1", Address: "127.0.0.1:0"}))
	case mochiWS:
		// It does not tell the port that it was given for 0.
		a.http = httptest.NewUnstartedServer(nil)
		at := a.http.Listener.Addr().String()
		_ = a.http.Listener.Close()
		a.http = nil
		err = a.mochi.AddListener(listeners.NewWebsocket(listeners.Config{ID: "t1", Address: at}))
	case oursTCP:
		err = a.mochi.AddListener(a.engine.Listener("t1", "127.0.0.1:0", nil))
	case oursWS:
		a.http = httptest.NewServer(a.engine.WebSocket())
		a.addr = strings.TrimPrefix(a.http.URL, "http://")
	}
	if err != nil {
		a.t.Fatal(err)
	}
	if l, ok := a.mochi.Listeners.Get("t1"); ok {
		a.addr = strings.TrimPrefix(l.Address(), "ws://")
	}
	if err := a.engine.Start(ctx); err != nil {
		a.t.Fatal(err)
	}
	if err := a.mochi.Serve(); err != nil {
		a.t.Fatal(err)
	}
	await(a.t, "the listener", func() bool { // Mochi's for WebSockets begins later
		conn, err := net.Dial("tcp", a.addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

func (a *attached) stop() {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if a.mochi == nil {
		return
	}
	if err := a.engine.Shutdown(ctx); err != nil {
		a.t.Errorf("shutdown: %v", err)
	}
	if a.http != nil {
		a.http.Close()
	}
	_ = a.mochi.Close()
	a.mochi = nil
}

func (a *attached) restart() {
	a.t.Helper()
	a.stop()
	a.start()
}

// open opens a connection by the server's listener and sends nothing.
func (a *attached) open(t testing.TB) *wire {
	t.Helper()
	if a.kind == mochiTCP || a.kind == oursTCP {
		return newWire(t, mqtttest.Dial(t, a.addr).Net)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+a.addr+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	return newWire(t, websocket.NetConn(context.Background(), c, websocket.MessageBinary))
}

// send sends n messages to a user.
func (a *attached) send(t testing.TB, user string, n int) {
	t.Helper()
	s := a.enter(t, login{user: user, id: "sender", clean: true})
	for range n {
		s.say("inbox/"+user, "x")
	}
	s.Leave()
}

// next reads the delivery of an entry and acknowledges it.
func (c *wire) next(seq int64) {
	c.T.Helper()
	if _, e := c.receive(); e.InboxSeq != seq {
		c.T.Fatalf("received entry %d, want %d", e.InboxSeq, seq)
	}
}

// enter connects and must be let in.
func (a *attached) enter(t testing.TB, l login) *wire {
	t.Helper()
	c := a.open(t)
	if ack := c.login(l); ack.ReasonCode != 0 {
		t.Fatalf("connect %s/%s: refused with %#x %s", l.user, l.id, ack.ReasonCode, ack.Properties.ReasonString)
	}
	return c
}
