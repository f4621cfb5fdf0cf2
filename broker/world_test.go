package broker_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/lib/pq" // the driver "postgres"
	"github.com/prometheus/client_golang/prometheus"

	"postbox"
	"postbox/auth"
	"postbox/broker"
	"postbox/configs"
	"postbox/internal/pgtest"
	"postbox/store"
)

// patience bounds every wait for something that must happen. It is long: the
// machine may be busy. No test waits for it to pass.
const patience = 20 * time.Second

// password is everybody's. Its hash is computed once for all tests, and its
// verification once for each server.
const password = "correct horse"

var passwordHash = sync.OnceValues(func() (string, error) { return auth.HashPassword(password) })

// world is one server on a database of its own.
type world struct {
	t      testing.TB
	config configs.Config
	log    slog.Handler
	url    string // of the database
	db     *sql.DB
	store  *store.Store
	server *broker.Server
	at     broker.Addresses
	named  *atomic.Int32 // users so far
	// registry is the server's; nil: one of its own.
	registry *prometheus.Registry
	// certificates are given to the server; nil: it reads its own.
	certificates *broker.Certificates
	// replaced counts how often the server asked to be replaced by a new one.
	replaced *atomic.Int32
}

// newWorld starts a server; change may adapt its settings. Rates are off.
func newWorld(t testing.TB, change ...func(*world)) *world {
	t.Helper()
	w := emptyWorld(t, change...)
	w.start()
	t.Cleanup(w.stop)
	return w
}

// emptyWorld is one whose server has not been started.
func emptyWorld(t testing.TB, change ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, url: pgtest.New(t), config: configs.Default(), log: slog.DiscardHandler, named: new(atomic.Int32), replaced: new(atomic.Int32)}
	w.config.Listen = configs.Listen{MQTT: "127.0.0.1:0", HTTP: "127.0.0.1:0", Private: "127.0.0.1:0"}
	w.config.Limits.PublishRate, w.config.Limits.PacketRate, w.config.Limits.ConnectRate = 0, 0, 0
	for _, f := range change {
		f(w)
	}
	var err error
	if w.db, err = sql.Open("postgres", w.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	if w.store, err = store.Open(store.Options{URL: w.url, PoolSize: 2}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	return w
}

func (w *world) start() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server, err := w.make(ctx)
	for errors.Is(err, store.ErrOwned) && ctx.Err() == nil {
		// PostgreSQL may not have noticed yet that the last one is gone.
		server, err = w.make(ctx)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.server = server
	if err := server.Start(ctx); err != nil {
		w.t.Fatal(err)
	}
	w.at = server.Addresses()
}

func (w *world) stop() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		w.t.Errorf("shutdown: %v", err)
	}
}

func (w *world) make(ctx context.Context) (*broker.Server, error) {
	return broker.New(ctx, broker.Options{
		Config: w.config, DatabaseURL: w.url, Logger: slog.New(w.log), Registry: w.registry, Version: "1.2.3", Certificates: w.certificates,
		Fenced:   func() { w.t.Error("the server was fenced") },
		Replaced: func() { w.replaced.Add(1) },
	})
}

// restart ends the server and starts another on the same database.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// user adds an account with a name that no other has.
func (w *world) user(prefix string) string {
	w.t.Helper()
	name := fmt.Sprintf("%s%d", prefix, w.named.Add(1))
	hash, err := passwordHash()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.store.AddUser(w.t.Context(), postbox.User(name), hash, false); err != nil {
		w.t.Fatal(err)
	}
	return name
}

// number runs a query that returns one number.
func (w *world) number(query string, args ...any) int64 {
	w.t.Helper()
	var n int64
	if err := w.db.QueryRow(query, args...).Scan(&n); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	if _, err := w.db.Exec(query, args...); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
}

// stored is how many messages with this body there are from a user.
func (w *world) stored(from, body string) int64 {
	w.t.Helper()
	return w.number(`SELECT count(*) FROM postbox.messages m JOIN postbox.users u ON u.id = m.sender_id
		WHERE u.name = $1 AND m.body = $2`, from, []byte(body))
}

// sent is how many messages of a user are stored.
func (w *world) sent(user string) int64 {
	w.t.Helper()
	return w.number(`SELECT count(*) FROM postbox.messages m JOIN postbox.users u ON u.id = m.sender_id WHERE u.name = $1`, user)
}

// cursor is what is saved of a device's progress.
func (w *world) cursor(user, device string) int64 {
	w.t.Helper()
	return w.number(`SELECT d.cursor FROM postbox.devices d JOIN postbox.users u ON u.id = d.user_id
		WHERE u.name = $1 AND d.client_id = $2`, user, device)
}

// holdCommits keeps every lane from committing, by holding the row that each
// transaction of a lane locks first, until the returned function is called.
func (w *world) holdCommits() (release func()) {
	w.t.Helper()
	tx, err := w.db.Begin()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := tx.Exec(`SELECT 1 FROM postbox.lanes FOR UPDATE`); err != nil {
		w.t.Fatal(err)
	}
	release = sync.OnceFunc(func() { _ = tx.Rollback() })
	w.t.Cleanup(release)
	return release
}

// awaitBlocked waits until n connections to the database wait for a lock.
func (w *world) awaitBlocked(n int64) {
	w.t.Helper()
	await(w.t, fmt.Sprintf("%d connections that wait for a lock", n), func() bool {
		return w.number(`SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`) >= n
	})
}

// databaseAway makes the database refuse all connections, and ends those there
// are, until the returned function is called.
func (w *world) databaseAway() (back func()) {
	w.t.Helper()
	u, err := url.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	name := u.Path[1:]
	u.Path = "/postgres"
	admin, err := sql.Open("postgres", u.String())
	if err != nil {
		w.t.Fatal(err)
	}
	do := func(statement string) {
		if _, err := admin.Exec(statement); err != nil {
			w.t.Errorf("%s: %v", statement, err)
		}
	}
	do(`ALTER DATABASE "` + name + `" WITH ALLOW_CONNECTIONS false`)
	do(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '` + name + `'`)
	back = sync.OnceFunc(func() {
		do(`ALTER DATABASE "` + name + `" WITH ALLOW_CONNECTIONS true`)
		_ = admin.Close()
	})
	w.t.Cleanup(back)
	return back
}

// await waits until done is true.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
