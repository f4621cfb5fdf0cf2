package proof

import (
	"bufio"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"postbox"
	"postbox/auth"
	"postbox/broker"
	"postbox/store"
)

// storm is many devices that all come back to a server which was killed, as fast
// as they can, from many addresses.
type storm struct {
	*testing.T
	s       *Server
	devices []RawConnect

	mu    sync.Mutex // guards all below
	codes map[byte]int
	cut   int // connections that ended without a CONNACK
	fresh int // devices that were let in without their session
	conns []net.Conn
}

func newStorm(t *testing.T) *storm {
	w := &storm{T: t, s: StartServer(t, ServerOptions{NoRace: true}), codes: make(map[byte]int)}
	w.s.AddUser("bob", "bob's secret")
	t.Cleanup(w.leave)
	return w
}

// add makes n devices of a user.
func (w *storm) add(user, password string, n int) {
	for i := range n {
		// Hardly any two come from one address.
		k := len(w.devices)
		w.devices = append(w.devices, RawConnect{
			Version: 4, ID: fmt.Sprintf("device%d", i), User: user, Password: password, From: fmt.Sprintf("127.0.%d.%d", 1+k/250%250, 1+k%250),
		})
	}
}

// come has all devices connect, each until it is let in. They hold their
// connections.
func (w *storm) come(attempts time.Duration) time.Duration {
	w.Helper()
	began := time.Now()
	work := make(chan RawConnect)
	var wg sync.WaitGroup
	for range 128 {
		wg.Go(func() {
			for o := range work {
				for limit := time.Now().Add(attempts); !w.try(o); time.Sleep(50 * time.Millisecond) {
					if time.Now().After(limit) {
						w.Errorf("%s of %s was not let in", o.ID, o.User)
						break
					}
				}
			}
		})
	}
	for _, o := range w.devices {
		work <- o
	}
	close(work)
	wg.Wait()
	return time.Since(began)
}

// try connects once; true: it was let in.
func (w *storm) try(o RawConnect) bool {
	conn, err := o.dial(w.s.MQTT)
	if err != nil {
		return false // the listener's queue was full
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, err = conn.Write(o.packet())
	var f frame
	if err == nil {
		f, err = readFrame(bufio.NewReader(conn))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil || f.kind() != typeConnack {
		w.cut++
		conn.Close()
		return false
	}
	code := f.body[1]
	if w.codes[code]++; code != 0 {
		conn.Close()
		return false
	}
	if f.body[0]&1 == 0 {
		w.fresh++
	}
	w.conns = append(w.conns, conn)
	return true
}

// leave ends all connections.
func (w *storm) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
	w.conns, w.fresh, w.cut = nil, 0, 0
	clear(w.codes)
}

// again kills the server, starts it and has all come back.
func (w *storm) again(attempts time.Duration) time.Duration {
	w.Helper()
	w.s.Kill9()
	w.leave()
	w.s.Restart()
	took := w.come(attempts)
	w.Logf("%d devices were back after %v: CONNACK codes %v, %d cut, on %d processors", len(w.devices), took.Round(time.Millisecond), w.codes, w.cut, runtime.NumCPU())
	if w.codes[0] != len(w.devices) || w.fresh > 0 {
		w.Errorf("%d of %d devices were let in, %d of them without their session", w.codes[0], len(w.devices), w.fresh)
	}
	if w.codes[4]+w.codes[5] > 0 {
		w.Errorf("devices were told that their password is wrong: %v", w.codes)
	}
	return took
}

// store is the server's database; it is for making what the server then checks.
func (w *storm) store() *store.Store {
	w.Helper()
	url, err := w.s.DatabaseURL()
	if err != nil {
		w.Fatal(err)
	}
	db, err := store.Open(store.Options{URL: url, PoolSize: 4})
	if err != nil {
		w.Fatal(err)
	}
	return db
}

// Devices with tokens come back to a restarted server as fast as they can
// connect: ten thousand in less than 20 seconds on two processors.
func TestStormOfTokens(t *testing.T) {
	t.Parallel()
	users, each, most := 50, 10, 2*patience
	if soak {
		users, most = 1000, 20*time.Second
	}
	w := newStorm(t)
	names := w.s.AddUsers("user", users, "bob")
	db := w.store()
	defer db.Close()
	tokens, err := broker.OpenTokens(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range names {
		token, _, err := tokens.Issue(postbox.User(user), auth.PurposeAccess, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		w.add(user, token, each)
	}
	_ = db.Close()
	w.come(patience)
	if took := w.again(patience); took > most {
		t.Errorf("%d devices were back after %v, want %v", len(w.devices), took, most)
	}
}

// Passwords are slow to check on purpose. After a restart devices wait for that,
// or are told to come again; none is told that its password is wrong.
func TestStormOfPasswords(t *testing.T) {
	t.Parallel()
	users := 40
	if soak {
		users = 400
	}
	w := newStorm(t)
	db := w.store()
	defer db.Close()
	for i := range users {
		user, password := fmt.Sprintf("user%d", i), fmt.Sprintf("secret of user %d", i)
		hash, err := auth.HashPassword(password)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.AddUser(t.Context(), postbox.User(user), hash, false); err != nil {
			t.Fatal(err)
		}
		w.add(user, password, 3)
	}
	_ = db.Close()
	w.come(5 * patience)
	w.again(5 * patience)
}
