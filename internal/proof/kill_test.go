package proof

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postbox/internal/pgtest"
)

// soak chooses the long forms.
var soak = os.Getenv("POSTBOX_TEST_SOAK") == "1"

// The ways to die.
const (
	killServer    = "kill -9 of the server"
	stopImmediate = "immediate shutdown of PostgreSQL"
	killPostgres  = "kill -9 of the postmaster"
)

// sensor is a device that starts anew for each message and always says the
// same: nothing but DUP tells its next message from a re-send of the last.
const sensor = "dave/sensor"

// ticker is a device whose messages have all the same body.
const ticker = "dave/ticker"

// kills is a run of kill rounds under load.
type kills struct {
	*testing.T
	s    *Server
	tap  *Tap
	load *load
	db   *sql.DB
	// postmaster is the process id of the PostgreSQL in use.
	postmaster func() (int, error)

	probes                     int // messages of the sensor
	rounds, inDoubt            int // that counted; with committed rows that had no acknowledgement
	unanswered, unacknowledged int // messages, over all rounds
}

// The server, its PostgreSQL and the postmaster are killed under load, again
// and again. All that was acknowledged is stored, all that was sent is stored
// once, and every device gets all of it in order.
func TestKillRounds(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		s := StartServer(t, ServerOptions{})
		killRounds(t, &kills{T: t, s: s, postmaster: s.postmaster})
	})
	t.Run("database.url", func(t *testing.T) {
		cluster := pgtest.NewCluster(t)
		s := StartServer(t, ServerOptions{DatabaseURL: StartGate(t, cluster.URL()).URL})
		killRounds(t, &kills{T: t, s: s, postmaster: func() (int, error) {
			pid := cluster.Pid()
			if pid == 0 {
				return 0, errors.New("no postmaster now")
			}
			return pid, nil
		}})
	})
}

func killRounds(t *testing.T, k *kills) {
	counts := map[string]int{killServer: 6, stopImmediate: 2, killPostgres: 2}
	if soak {
		counts = map[string]int{killServer: 50, stopImmediate: 50, killPostgres: 50}
	}
	var plan []string
	for kind, n := range counts {
		for range n {
			plan = append(plan, kind)
		}
	}
	rand.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })

	for _, user := range []string{"alice", "dave", "bob", "carol"} {
		k.s.AddUser(user, user+"'s secret")
	}
	k.tap = StartTap(t, k.s.MQTT, k.s.HTTP)
	k.tap.Log.Identify(func(s *Sent) string {
		switch s.Device {
		case ticker:
			return strconv.Itoa(int(s.PacketID))
		case sensor:
			return strconv.Itoa(s.Conn)
		}
		return s.Body
	})
	receivers := k.receivers()
	k.senders()
	k.db = k.s.DB()
	defer func() {
		if t.Failed() {
			k.Logf("devices: %v", Devices(k, k.db))
		}
		k.db.Close()
	}()
	k.load.start(t)

	began := time.Now()
	for attempt, left := 0, plan; len(left) > 0; attempt++ {
		if attempt > 3*len(plan) {
			t.Fatalf("after %d attempts only %d of %d rounds had 100 messages unanswered", attempt, k.rounds, len(plan))
		}
		if k.round(left[0]) {
			left = left[1:]
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	k.load.drain(t)
	t.Logf("%d rounds in %v; unanswered at the kill: %d messages; committed without an acknowledgement: %d messages, in %d rounds",
		k.rounds, time.Since(began).Round(time.Second), k.unanswered, k.unacknowledged, k.inDoubt)
	if 2*k.inDoubt < k.rounds {
		t.Errorf("%d of %d rounds had a committed row without an acknowledgement, want at least half", k.inDoubt, k.rounds)
	}
	a := audit{t: t, tap: k.tap, db: k.db, same: map[string]bool{ticker: true, sensor: true}}
	n := a.run()
	for user, ledgers := range receivers {
		a.devices(user, ledgers...)
	}
	k.indexed()
	k.summary(n, receivers)
}

// senders connects every kind of sender through the tap and makes the load.
func (k *kills) senders() {
	goDriver, node := StartGoDriver(k), StartNodeDriver(k)
	k.load = &load{tap: k.tap}
	library := func(d *Driver, o ClientOptions, user, id, to string, qos byte, keyed bool) {
		o.ID, o.User, o.Password, o.Expiry = id, user, user+"'s secret", 3600
		o.URL = "mqtt://" + k.tap.Addr
		c := d.Connect(o)
		c.WaitUp(k)
		k.load.pumps = append(k.load.pumps, pumpLibrary(c, 60, func(n int) Publication {
			p := Publication{Topic: "inbox/" + to, QoS: qos, Body: fmt.Appendf(nil, "%s %d to %s", id, n, to)}
			if keyed {
				p.Topic += fmt.Sprintf("/%s-%d", id, n)
			}
			if user+"/"+id == ticker {
				p.Body = []byte("tick")
			}
			return p
		}))
	}
	paho3, paho5 := ClientOptions{Library: Paho3}, ClientOptions{Library: Paho5, Version: 5}
	library(goDriver, paho3, "alice", "paho3-1", "bob", 1, false)
	library(goDriver, paho3, "alice", "paho3-2", "carol", 2, false)
	library(goDriver, paho5, "dave", "paho5-1", "carol", 1, false)
	library(goDriver, paho5, "dave", "paho5-2", "bob", 2, false)
	library(goDriver, paho3, "dave", "ticker", "carol", 1, false)
	library(node, ClientOptions{Library: MQTTJS, Version: 4}, "alice", "js4-1", "bob", 1, true)
	library(node, ClientOptions{Library: MQTTJS, Version: 5}, "alice", "js5-2", "carol", 2, true)
	m := Mosquitto{k.tap.Addr, "311", "lines", "alice", "alice's secret"}
	for _, p := range k.load.pumps {
		if p.device == ticker {
			p.limit = 60_000 // its messages are told apart by their packet ids
		}
	}
	k.load.pumps = append(k.load.pumps, pumpLines(m, m.PublishLines(k, "inbox/bob", 1), 60, func(n int) string {
		return fmt.Sprintf("lines %d to bob", n)
	}))
}

// receivers subscribes devices with sessions.
func (k *kills) receivers() map[string][]*Ledger {
	goDriver, node := StartGoDriver(k), StartNodeDriver(k)
	all := map[string][]*Ledger{}
	add := func(user, id string, connect func(*Ledger)) {
		l := NewLedger(user+"/"+id, 0)
		connect(l)
		all[user] = append(all[user], l)
	}
	library := func(d *Driver, o ClientOptions, user, id string) {
		add(user, id, func(l *Ledger) {
			o.ID, o.User, o.Password, o.Expiry = id, user, user+"'s secret", 3600
			o.URL, o.OnMessage, o.Subscribe = "mqtt://"+k.s.MQTT, l.Add, []Subscription{{"inbox/" + user, 1}}
			d.Connect(o).WaitUp(k)
		})
	}
	library(goDriver, ClientOptions{Library: Paho3}, "bob", "phone")
	library(node, ClientOptions{Library: MQTTJS, Version: 5}, "bob", "page")
	library(goDriver, ClientOptions{Library: Paho5}, "carol", "phone")
	add("carol", "terminal", func(l *Ledger) {
		Mosquitto{k.tap.Addr, "311", "terminal", "carol", "carol's secret"}.Subscribe(k, "inbox/carol", l.Add, "-q", "1", "-c")
	})
	library(goDriver, ClientOptions{Library: Paho3}, "alice", "desk")
	return all
}

// round kills once, at a moment when rows are committed that have no
// acknowledgement yet, and waits until all is well again. It reports whether
// the round counts.
func (k *kills) round(kind string) bool {
	k.Helper()
	k.probe()
	k.progress(300)
	// The mosquitto programs end when a CONNECT is refused, as it is while
	// PostgreSQL is away: they come back first. The libraries try again.
	k.until("the mosquitto programs to come back", func() bool {
		return k.tap.Log.Subscribed("carol/terminal") && k.tap.Log.Connected("alice/lines")
	})
	pid, err := k.postmaster()
	if err != nil {
		k.Fatalf("find the postmaster: %v", err)
	}
	k.aim(kind)
	at := time.Now()
	switch kind {
	case killServer:
		k.s.Kill9()
	case stopImmediate:
		k.signal(pid, syscall.SIGQUIT)
	case killPostgres:
		k.signal(pid, syscall.SIGKILL)
	}
	k.db.Close()
	answeredBy := at
	if kind == killServer {
		// What the server wrote before it died is still on its way to the tap.
		k.until("all connections of the killed server closed", func() bool { return k.tap.Log.Open() == 0 })
		answeredBy = time.Now()
	}
	open := k.tap.Log.Unanswered(at, answeredBy)
	restarted := time.Now()
	if kind == killServer {
		k.s.Restart()
	} else {
		k.until("a new postmaster", func() bool { now, err := k.postmaster(); return err == nil && now != pid })
	}
	k.db = k.s.DB()
	committed := 0
	before := int64(0)
	if kind != killServer {
		before = FirstXidAfterRecovery(k, k.db)
	}
	for _, r := range Messages(k, k.db, at.Add(-patience)) {
		if kind == killServer && r.SentAt.Before(restarted) || kind != killServer && r.Xmin < before {
			if open[MessageKey{r.Sender + "/" + r.Device, r.Body}] {
				committed++
			}
		}
	}
	counts := len(open) >= 100
	k.Logf("%s: %d unanswered, %d of them committed; working again %v after the kill; counts: %v",
		kind, len(open), committed, time.Since(at).Round(time.Millisecond), counts)
	if counts {
		k.rounds++
		k.unanswered += len(open)
		k.unacknowledged += committed
		if committed > 0 {
			k.inDoubt++
		}
	}
	k.progress(100)
	k.probe()
	return counts
}

// aim waits for at least 100 messages on their way and more rows committed
// than acknowledged. After a while it is content with the first. The server
// that is to be killed is left stopped at that moment.
func (k *kills) aim(kind string) {
	k.Helper()
	limit := time.Now().Add(10 * time.Second)
	for time.Now().Before(limit.Add(patience)) {
		if onWire, answered := k.tap.Log.Totals(); onWire-answered < 100 {
			time.Sleep(time.Millisecond)
			continue
		}
		if time.Now().After(limit) {
			return
		}
		if kind == killServer {
			k.signal(k.s.PID(), syscall.SIGSTOP)
			// What it had written reaches the tap, what it had asked for is committed.
			time.Sleep(10 * time.Millisecond)
		}
		committed, err := Committed(k.db)
		if err != nil {
			k.Fatalf("count the committed rows: %v", err)
		}
		if onWire, answered := k.tap.Log.Totals(); committed > answered && onWire-answered >= 100 {
			return
		}
		if kind == killServer {
			k.signal(k.s.PID(), syscall.SIGCONT)
			time.Sleep(rand.N(20 * time.Millisecond))
		}
	}
	k.Fatalf("the load never had 100 messages on their way")
}

// progress waits until n more messages are acknowledged.
func (k *kills) progress(n int) {
	k.Helper()
	_, from := k.tap.Log.Totals()
	k.until(fmt.Sprintf("%d more acknowledgements", n), func() bool { _, now := k.tap.Log.Totals(); return now >= from+n })
}

func (k *kills) until(what string, cond func() bool) {
	k.Helper()
	for limit := time.Now().Add(2 * patience); !cond(); {
		select {
		case <-k.tap.Log.Changed():
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(limit) {
			k.Fatalf("waited %v for %s", 2*patience, what)
		}
	}
}

func (k *kills) signal(pid int, sig syscall.Signal) {
	k.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		k.Fatalf("signal process %d: %v", pid, err)
	}
}

// probe sends one message of the sensor: packet id 1, the same body as always.
// It is new each time and must never be taken for a re-send.
func (k *kills) probe() {
	k.Helper()
	user, id, _ := strings.Cut(sensor, "/")
	out := Mosquitto{k.tap.Addr, "311", id, user, user + "'s secret"}.Publish(k, Publication{Topic: "inbox/bob", QoS: 1, Body: []byte("door open")})
	k.probes++
	if out.Code != 0 || k.tap.Log.Answered(sensor) != k.probes {
		k.Fatalf("probe %d: %d answered; mosquitto_pub: %+v", k.probes, k.tap.Log.Answered(sensor), out)
	}
}

func (k *kills) summary(stored int, receivers map[string][]*Ledger) {
	resent, dup := 0, 0
	for _, c := range k.tap.Log.Conns() {
		for _, s := range c.Sends {
			if s.Dup {
				dup++
			}
		}
	}
	for _, device := range k.tap.Log.Devices() {
		for _, m := range k.tap.Log.Messages(device) {
			resent += len(m.Sends) - 1
		}
	}
	repeats := 0
	for _, ledgers := range receivers {
		for _, l := range ledgers {
			repeats += l.Repeats()
		}
	}
	k.Logf("%d messages stored, %d re-sends (%d publishes with DUP), %d probes, %d repeated deliveries", stored, resent, dup, k.probes, repeats)
}
