package proof

import (
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"postbox/internal/pgtest"
)

// outage is a server whose database goes away.
type outage struct {
	*testing.T
	gate  *Gate
	db    *sql.DB // that does not go through the gate
	s     *Server
	party *party
	mend  func()

	idle, window *Raw
	asked        int      // publishes of window
	greedy       *Flood   // one that publishes over its limit, then is silent
	floods       []*Flood // MQTT 3.1.1, as fast as they can
	rude         []*Flood // the same with MQTT 5, which forbids it
}

func newOutage(t *testing.T, query string, env ...string) *outage {
	t.Helper()
	cluster := pgtest.NewCluster(t)
	o := &outage{T: t, gate: StartGate(t, cluster.URL())}
	var err error
	if o.db, err = sql.Open("postgres", cluster.URL()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.db.Close() })
	o.s = StartServer(t, ServerOptions{DatabaseURL: o.gate.URL + query, NoRace: true, Env: env})
	o.party = newParty(t, o.s)
	o.party.libraries()
	return o
}

// shortKeepAlive is shorter than the outages, in seconds, and long enough for all
// to have come and be silent until the database goes: each password takes time.
const shortKeepAlive = 10

// gather connects those who will be there, just before the database goes.
func (o *outage) gather() {
	o.Helper()
	var code byte
	if o.idle, code, _ = DialRaw(o, o.s.MQTT, RawConnect{Version: 4, ID: "idle", User: "carol", Password: "carol's secret", Clean: true}); code != 0 {
		o.Fatalf("CONNACK %d", code)
	}
	o.window, code, _ = DialRaw(o, o.s.MQTT, RawConnect{Version: 4, ID: "window", User: "carol", Password: "carol's secret", Clean: true, KeepAlive: shortKeepAlive})
	if code != 0 {
		o.Fatalf("CONNACK %d", code)
	}
	o.greedy = NewFlood(o, o.s.MQTT, RawConnect{Version: 4, ID: "greedy", User: "dave", Password: "dave's secret", Clean: true, KeepAlive: shortKeepAlive}, "inbox/carol", 100, 400)
	for i := range 8 {
		c := RawConnect{Version: 4, ID: fmt.Sprint("flood-", i), User: []string{"alice", "dave"}[i%2], Clean: true, KeepAlive: shortKeepAlive}
		c.Password = c.User + "'s secret"
		o.floods = append(o.floods, NewFlood(o, o.s.MQTT, c, "inbox/carol", 60_000, 0))
		if i < 3 {
			c.Version, c.ID = 5, fmt.Sprint("rude-", i)
			o.rude = append(o.rude, NewFlood(o, o.s.MQTT, c, "inbox/carol", 1000, 0))
		}
	}
}

// push lets those loose who publish without waiting.
func (o *outage) push() {
	for _, f := range append(append([]*Flood{o.greedy}, o.floods...), o.rude...) {
		f.Go()
	}
}

// suffer looks after everybody until the moment comes.
func (o *outage) suffer(until time.Time) {
	o.Helper()
	half, told := time.Now().Add(time.Until(until)/2), make(chan struct{})
	for waiting := true; waiting || time.Now().Before(until); {
		if !o.idle.Alive() {
			o.Fatalf("an idle connection ended")
		}
		// Within its window, while others push as much as they can.
		if o.asked < 100 {
			o.asked++
			o.window.Send("inbox/carol", fmt.Sprintf("within the window %d", o.asked))
		}
		if !o.window.Alive() {
			o.Fatalf("PINGREQ was not answered, with %d publishes waiting", o.asked)
		}
		if !half.IsZero() && time.Now().After(half) {
			half = time.Time{}
			o.party.tap.Cut() // the libraries come back, and send again when they can
			go func() {
				defer close(told)
				o.refusals()
			}()
		}
		select {
		case <-told:
			waiting, told = false, nil
		case <-time.After(200 * time.Millisecond):
		}
	}
	for _, f := range o.rude {
		if ended, reason := f.Ended(); !ended || reason != 0x93 {
			o.Errorf("%s published %d messages without an acknowledgement: ended %v, reason 0x%02x, want 0x93", f.Name, f.Sent(), ended, reason)
		}
	}
	for _, f := range append(o.floods, o.greedy) {
		if ended, _ := f.Ended(); ended {
			o.Errorf("%s: its connection ended while it was read no further", f.Name)
		}
	}
}

// refusals checks what those are told who come while the database is away.
func (o *outage) refusals() {
	o.Helper()
	var all sync.WaitGroup
	for version, want := range map[byte]byte{4: 3, 5: 0x88} {
		for _, password := range []string{"carol's secret", "wrong"} {
			all.Go(func() {
				_, code, _ := DialRaw(o, o.s.MQTT, RawConnect{Version: version, ID: "new " + password, User: "carol", Password: password, Expiry: 60})
				if password == "wrong" && (code == 4 || code == 0x86) && o.mend != nil {
					return // this database can be read
				}
				if code != want {
					o.Errorf("CONNACK 0x%02x while the database is away, want 0x%02x", code, want)
				}
			})
		}
	}
	all.Wait()
	if status := o.ready(); status != http.StatusServiceUnavailable {
		o.Errorf("/readyz says %d while the database is away", status)
	}
}

// still waits until nothing has been acknowledged for a second (what was stored
// before may be) and returns how many messages were by then.
func (o *outage) still() int {
	o.Helper()
	_, before := o.party.tap.Log.Totals()
	o.await("nothing is acknowledged", func() bool {
		time.Sleep(time.Second)
		_, now := o.party.tap.Log.Totals()
		same := now == before
		before = now
		return same
	})
	return before
}

// ready is what the server says of itself.
func (o *outage) ready() int {
	o.Helper()
	r, err := http.Get("http://" + o.s.Private + "/readyz")
	if err != nil {
		o.Fatal(err)
	}
	r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	return r.StatusCode
}

// recover waits until everybody who pushed has been answered.
func (o *outage) recover() {
	o.Helper()
	o.greedy.WaitAll(o)
	for _, f := range o.floods {
		f.WaitAll(o)
	}
	for range o.asked {
		o.window.read(typePuback)
	}
	if status := o.ready(); status != http.StatusOK {
		o.Errorf("/readyz says %d when the database is back", status)
	}
}

// beside are the devices that did not go through the tap.
func (o *outage) beside() []string {
	all := []string{"carol/window", o.greedy.Name}
	for _, f := range append(o.floods, o.rude...) {
		all = append(all, f.Name)
	}
	return all
}

// once checks that what was pushed is stored once, if it was acknowledged, and
// in any case no more often.
func (o *outage) once() {
	o.Helper()
	const count = `
		SELECT count(*), count(DISTINCT split_part(convert_from(m.body, 'UTF8'), ' ', 2)), coalesce(max(split_part(convert_from(m.body, 'UTF8'), ' ', 2)::bigint), 0)
		  FROM postbox.messages m JOIN postbox.users u ON u.id = m.sender_id WHERE u.name || '/' || m.device = $1`
	for _, f := range append(append([]*Flood{o.greedy}, o.floods...), o.rude...) {
		var n, distinct, last int64
		if err := o.db.QueryRow(count, f.Name).Scan(&n, &distinct, &last); err != nil {
			o.Fatal(err)
		}
		if n != distinct || n != last || n < f.Acknowledged() || n > f.Sent() {
			o.Errorf("%s: %d rows of %d messages up to number %d; %d acknowledged of %d sent", f.Name, n, distinct, last, f.Acknowledged(), f.Sent())
		}
	}
}

// alone checks that a second server is kept out as it was before the outage.
func (o *outage) alone() {
	o.Helper()
	o.await("the server holds the database again", func() bool {
		var n int
		if err := o.db.QueryRow(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted`).Scan(&n); err != nil {
			o.Fatal(err)
		}
		return n == 1
	})
	if out := o.s.Command("", "serve"); out.Code != 1 || !strings.Contains(out.Stderr, "another postbox server uses this database") {
		o.Errorf("a second server: %+v", out)
	}
}
