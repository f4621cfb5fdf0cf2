package broker_test

import (
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postbox/broker"
)

// Strangers send packets of every type that no encoder makes: before CONNECT,
// after it, among unacknowledged deliveries, inside the handshake of QoS 2 and
// while they are taken over, in MQTT 3.1, 3.1.1 and 5. Each connection ends or
// answers; the server lives and has nothing left of them; nobody else has heard
// of it.
//
// POSTBOX_TEST_SEED repeats a run, as far as strangers who meet at one server
// can be repeated.

// noisy is one run of many strangers against one server.
type noisy struct {
	address string
	server  interface {
		Leftovers() []string
		PacketsRead() int64
	}
	users []string
	other string

	read    atomic.Int64 // changed packets that the server has read
	sent    atomic.Int64 // packets in all
	conns   atomic.Int64
	orphans atomic.Int64 // connections that neither ended nor answered
}

// TestNoise is against a whole server on PostgreSQL, beside a user who goes on.
func TestNoise(t *testing.T) { // not parallel: it counts goroutines
	var log logged
	w := newWorld(t, func(w *world) { w.log = slog.NewTextHandler(&log, nil) })
	n := &noisy{address: w.at.MQTT, server: w.server, other: w.user("victim")}
	for i := range 4 {
		n.users = append(n.users, w.user("stranger"))
		w.exec(`INSERT INTO postbox.blocks (user_id, blocked_id) SELECT b.id, a.id
			FROM postbox.users a, postbox.users b WHERE a.name = $1 AND b.name = $2`, n.users[i], n.other)
	}
	victim := w.connect(t, login{version: 5, user: n.other, id: "phone", clean: true})
	victim.listen(n.other)
	victim.subscribe("signal/"+n.other, "reply/"+n.other+"/#")
	victim.Quiet()

	n.strangers(t, 1_000, 15*time.Second, victim.Quiet)

	victim.say("inbox/"+n.other, "still here")
	if _, e := victim.receive(); e.body() != "still here" {
		t.Errorf("the victim received %+v", e)
	}
	for _, user := range n.users {
		c := w.connect(t, login{user: user, id: "afterwards", clean: true})
		c.say("inbox/"+user, "still here")
		c.Leave()
	}
	if got := w.number(`SELECT count(*) FROM postbox.inbox_entries i JOIN postbox.users u ON u.id = i.user_id
		JOIN postbox.messages m USING (conversation_id, seq) WHERE u.name = $1 AND m.sender_id <> u.id`, n.other); got != 0 {
		t.Errorf("%d entries in the inbox of somebody who has blocked all", got)
	}
	victim.Leave()
	n.nothingLeft(t)
	checkLog(t, log.String())
}

// TestMillionPackets is against all of a server but its database, in whose place
// is the test's memory: of a million with POSTBOX_TEST_SOAK=1.
func TestMillionPackets(t *testing.T) { // not parallel: it counts goroutines
	goal, limit := int64(5_000), 8*time.Second
	if os.Getenv("POSTBOX_TEST_SOAK") == "1" {
		goal, limit = 1_000_000, 0
	}
	n := &noisy{users: []string{"stranger1", "stranger2", "stranger3", "stranger4"}, other: "victim"}
	s := broker.NewMemoryServer(t, append(n.users, n.other)...)
	n.server, n.address = s, s.Listen(t)
	n.strangers(t, goal, limit, func() {
		for _, fault := range s.Faults() {
			t.Error(fault)
		}
	})
	n.nothingLeft(t)
	checkLog(t, s.Logged())
}

// strangers come until the server has read so many changed packets, for so long
// at least, and go again. During that something else goes on every second.
func (n *noisy) strangers(t *testing.T, goal int64, limit time.Duration, meanwhile func()) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("POSTBOX_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("POSTBOX_TEST_SEED: %v", err)
		}
	}
	t.Logf("POSTBOX_TEST_SEED=%d, at least %d packets", seed, goal)
	quiet := goleak.IgnoreCurrent()
	began := time.Now()
	var work sync.WaitGroup
	for i := range uint64(8) {
		work.Go(func() {
			for j := uint64(0); (n.read.Load() < goal || time.Since(began) < limit) && !t.Failed(); j++ {
				n.meet(t, rand.New(rand.NewPCG(seed, i<<32|j)))
			}
		})
	}
	done := make(chan struct{})
	go func() { defer close(done); work.Wait() }()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		case <-time.After(time.Second):
		}
		meanwhile()
	}
	t.Logf("%d changed packets read by the server, of %d packets sent, on %d connections; %d read by Mochi in all, in %v",
		n.read.Load(), n.sent.Load(), n.conns.Load(), n.server.PacketsRead(), time.Since(began).Round(time.Second))
	if got := n.orphans.Load(); got > 0 {
		t.Errorf("%d connections neither ended nor answered", got)
	}
	// Servers of other tests may stand beside it, and open and close connections
	// to their databases; this one has none.
	others := []goleak.Option{
		quiet, goleak.IgnoreAnyFunction("postbox/store.(*impatient).Read"),
		goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"), goleak.IgnoreAnyFunction("database/sql.(*DB).connectionCleaner"),
		goleak.IgnoreAnyFunction("postbox/store.(*impatient).Write"),
	}
	// A mailbox looks for a second after what has come too early.
	var left error
	for range 5 {
		if left = goleak.Find(others...); left == nil {
			return
		}
	}
	t.Errorf("goroutines left over: %.3000v", left)
}

// nothingLeft waits until the server has nothing left of its connections.
func (n *noisy) nothingLeft(t *testing.T) {
	t.Helper()
	var left []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if left = n.server.Leftovers(); len(left) == 0 {
			return
		}
	}
	t.Errorf("left over: %v", left)
}

// checkLog looks for what no packet must lead to. Mochi's own decoder of
// SUBSCRIBE does panic; see docs/mochi.md.
func checkLog(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		if strings.Contains(line, "panic") && !strings.Contains(line, "SubscribeDecode") {
			t.Errorf("a panic: %.3000s", line)
		}
		if strings.Contains(line, "refused by the database") {
			t.Errorf("a draft that should not have come so far: %.300s", line)
		}
	}
}
