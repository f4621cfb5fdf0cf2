package proof

import (
	"database/sql"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The primary dies under load and its streaming standby takes its place, which
// is read-only at first: that is "away". Once it is promoted everything flows,
// and what was acknowledged is there, since the standby is a synchronous one.
func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	primary := newCluster(t, "", nil)
	db := primary.db()
	standby := primary.follow()
	primary.exec(db, `ALTER SYSTEM SET synchronous_standby_names = '*'`, `SELECT pg_reload_conf()`)
	awaitQuery(t, db, "a synchronous standby", `SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'`)

	gate := StartGate(t, primary.URL())
	s := StartServer(t, ServerOptions{DatabaseURL: gate.URL})
	o := &outage{T: t, gate: gate, db: db, s: s}
	o.party = newParty(t, s)
	o.party.libraries()
	o.party.load.start(t)
	o.party.phone.WaitFor(t, 500)

	// Acknowledged means that the standby has it: while that stands still,
	// nothing is acknowledged. Its transactions hang, and nobody may take them
	// for stored.
	wal := standby.receiver()
	stop(t, wal, syscall.SIGSTOP)
	stood := o.still()
	gate.Cut() // the server looks for itself what has become of them
	time.Sleep(3 * time.Second)
	if _, now := o.party.tap.Log.Totals(); now != stood {
		t.Errorf("%d messages were acknowledged that the standby does not have", now-stood)
	}
	stop(t, wal, syscall.SIGCONT)
	o.party.phone.WaitFor(t, o.party.phone.Last()+300)

	// The primary's last moment.
	if err := syscall.Kill(primary.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gate.Lead(t, standby.URL())
	gate.Cut()
	primary.stop()
	stood = o.still()
	o.await("a read-only standby counts as away", func() bool { return o.ready() == http.StatusServiceUnavailable })
	for version, want := range map[byte]byte{4: 3, 5: 0x88} {
		if _, code, _ := DialRaw(t, s.MQTT, RawConnect{Version: version, ID: "new", User: "carol", Password: "carol's secret", Expiry: 60}); code != want {
			t.Errorf("CONNACK 0x%02x with a read-only standby, want 0x%02x", code, want)
		}
	}
	if !o.party.clients[0].Up() {
		t.Errorf("a connection ended because the standby is read-only")
	}
	if _, now := o.party.tap.Log.Totals(); now != stood {
		t.Errorf("%d messages were acknowledged with a read-only standby", now-stood)
	}
	waiting := o.party.tap.Log.Unanswered(time.Now(), time.Now())

	promoted := standby.db()
	standby.exec(promoted, `ALTER SYSTEM SET synchronous_standby_names = ''`, `SELECT pg_reload_conf()`)
	began := time.Now()
	standby.exec(promoted, `SELECT pg_promote()`)
	want := len(waiting) + 300
	_, from := o.party.tap.Log.Totals()
	o.await("acknowledgements by the new primary", func() bool { _, now := o.party.tap.Log.Totals(); return now >= from+want })
	t.Logf("%d messages waited for the new primary; %d more acknowledged %v after pg_promote", len(waiting), want, time.Since(began).Round(time.Millisecond))
	o.party.drain()
	// Each message once, nothing acknowledged is missing, the numbers dense. The
	// devices were told of a new epoch: what they follow is another proof's.
	n := audit{t: t, tap: o.party.tap, db: promoted}.run()
	t.Logf("%d messages stored", n)
}

// follow makes a streaming standby of the cluster.
func (c *cluster) follow() *cluster {
	c.t.Helper()
	s := &cluster{t: c.t, root: c.root, dir: c.dir + "-standby"}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	c.program("pg_basebackup", "-D", s.data(""), "-R", "-X", "stream", "-c", "fast")
	s.start(map[string]string{"hot_standby": "on"})
	c.t.Cleanup(s.stop)
	return s
}

// receiver is the process that takes the primary's log.
func (c *cluster) receiver() int {
	c.t.Helper()
	var pid int
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := c.db().QueryRow(`SELECT pid FROM pg_stat_wal_receiver`).Scan(&pid)
		if err == nil {
			return pid
		}
		if time.Now().After(end) {
			c.t.Fatalf("find the standby's receiver: %v", err)
		}
	}
}

func stop(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("%v to %d: %v", sig, pid, err)
	}
}

// awaitQuery waits until a query says true.
func awaitQuery(t *testing.T, db *sql.DB, what, query string, args ...any) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		var yes bool
		err := db.QueryRow(query, args...).Scan(&yes)
		if err == nil && yes {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no %s after %v: %v", what, patience, err)
		}
		if err != nil && strings.Contains(err.Error(), "syntax") {
			t.Fatal(err)
		}
	}
}
