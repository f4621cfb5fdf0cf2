package client_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"postbox"
	"postbox/auth"
	"postbox/broker"
	"postbox/client"
	"postbox/configs"
	"postbox/internal/pgtest"
	"postbox/store"
)

// world is a real server with the users alice and bob.
//
// With POSTBOX_TEST_URL set it is that server, over any URL that a client
// takes; POSTBOX_TEST_PASSWORD is then the password of both. Else it is one in
// this process, on a PostgreSQL of its own.
type world struct {
	url, password string
	inside        *broker.Server // nil for a server elsewhere
	database      string
}

// elsewhere is held by the one test that uses a server elsewhere: its users'
// inboxes are shared.
var elsewhere sync.Mutex

const insidePassword = "correct horse"

// insideHash is made once: it costs what a password should cost.
var insideHash = sync.OnceValues(func() (string, error) { return auth.HashPassword(insidePassword) })

func newWorld(t testing.TB) *world {
	t.Helper()
	if url := os.Getenv("POSTBOX_TEST_URL"); url != "" {
		elsewhere.Lock()
		t.Cleanup(elsewhere.Unlock)
		return &world{url: url, password: os.Getenv("POSTBOX_TEST_PASSWORD")}
	}
	return newInside(t)
}

func newInside(t testing.TB) *world {
	t.Helper()
	w := &world{password: insidePassword, database: pgtest.New(t)}
	st, err := store.Open(store.Options{URL: w.database, PoolSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	hash, err := insideHash()
	if err != nil {
		t.Fatal(err)
	}
	if err := st.AddUsers(t.Context(), []postbox.User{"alice", "bob"}, hash); err != nil {
		t.Fatal(err)
	}
	w.start(t, "127.0.0.1:0")
	t.Cleanup(func() { w.stop(t) })
	return w
}

func (w *world) start(t testing.TB, address string) {
	t.Helper()
	c := configs.Default()
	c.Listen.MQTT, c.Listen.HTTP, c.Listen.Private = address, "127.0.0.1:0", "127.0.0.1:0"
	c.Limits.PublishRate, c.Limits.RequestRate = 0, 0
	ctx := bounded(t)
	var server *broker.Server
	for server == nil {
		var err error
		server, err = broker.New(ctx, broker.Options{
			Config: c, DatabaseURL: w.database, Logger: slog.New(slog.DiscardHandler),
			Fenced: func() { t.Error("the server was fenced") },
		})
		// PostgreSQL lets go of a stopped server's lock a moment after its
		// connection has ended.
		if err != nil && (ctx.Err() != nil || !errors.Is(err, store.ErrOwned)) {
			t.Fatal(err)
		}
	}
	if err := server.Start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	w.inside, w.url = server, "tcp://"+server.Addresses().MQTT
}

func (w *world) stop(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.inside.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// as is how a new device of a user connects.
func (w *world) as(user postbox.User) client.Options {
	o := options(w.url)
	o.User, o.Password, o.Device = user, w.password, "test-"+rand.Text()
	return o
}

// cutter passes connections on to a server, and cuts them on demand.
type cutter struct {
	url      string
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

func newCutter(t testing.TB, url string) *cutter {
	t.Helper()
	target, ok := strings.CutPrefix(url, "tcp://")
	if !ok {
		t.Fatalf("the server %s is not reached over TCP: set POSTBOX_TEST_URL to tcp://…", url)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{url: "tcp://" + listener.Addr().String(), listener: listener, target: target}
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		listener.Close()
		c.cut()
		c.wg.Wait()
	})
	return c
}

func (c *cutter) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", c.target)
		if err != nil {
			near.Close()
			continue
		}
		c.mu.Lock()
		c.conns = append(c.conns, near, far)
		c.mu.Unlock()
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			c.wg.Go(func() {
				_, _ = io.Copy(way[0], way[1])
				way[0].Close()
				way[1].Close()
			})
		}
	}
}

// cut kills all connections and reports how many there were.
func (c *cutter) cut() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.conns) / 2
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
	return n
}

func bodyOf(d client.Delivery) string {
	return cmp.Or(string(d.Body), d.Type)
}
