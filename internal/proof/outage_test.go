package proof

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"postbox/internal/pgtest"
)

// An external PostgreSQL is away for a while under load. Nothing is
// acknowledged meanwhile, connections stay, new ones are never told that their
// password is wrong, and everything flows again by itself. Then the server is
// killed and comes back on the same database.
func TestDatabaseAway(t *testing.T) {
	away := 15 * time.Second
	if soak {
		away = time.Minute
	}
	cluster := pgtest.NewCluster(t)
	gate := StartGate(t, cluster.URL())
	s := StartServer(t, ServerOptions{DatabaseURL: gate.URL})
	for _, user := range []string{"alice", "bob", "carol"} {
		s.AddUser(user, user+"'s secret")
	}
	tap := StartTap(t, s.MQTT, s.HTTP)
	goDriver := StartGoDriver(t)
	phone := NewLedger("bob/phone", 0)
	goDriver.Connect(ClientOptions{
		Library: Paho3, URL: "mqtt://" + s.MQTT, ID: "phone", User: "bob", Password: "bob's secret",
		OnMessage: phone.Add, Subscribe: []Subscription{{"inbox/bob", 1}},
	}).WaitUp(t)
	l := &load{tap: tap}
	for _, sender := range []struct {
		library Library
		qos     byte
	}{{Paho3, 1}, {Paho5, 2}, {Paho5, 1}} {
		id := fmt.Sprintf("%s at QoS %d", sender.library, sender.qos)
		o := ClientOptions{Library: sender.library, URL: "mqtt://" + tap.Addr, ID: id, User: "alice", Password: "alice's secret", Expiry: 3600}
		c := goDriver.Connect(o)
		c.WaitUp(t)
		l.pumps = append(l.pumps, pumpLibrary(c, 200, func(n int) Publication {
			return Publication{Topic: "inbox/bob", QoS: sender.qos, Body: fmt.Appendf(nil, "%s %d", id, n)}
		}))
	}
	idle, code, _ := DialRaw(t, s.MQTT, RawConnect{Version: 4, ID: "idle", User: "carol", Password: "carol's secret", Clean: true})
	if code != 0 {
		t.Fatalf("CONNACK %d", code)
	}
	l.start(t)
	phone.WaitFor(t, 500)

	gate.Close()
	closed := time.Now()
	// What was committed before the gate closed may still be acknowledged.
	time.Sleep(time.Second)
	_, before := tap.Log.Totals()
	for i := 0; time.Since(closed) < away; i++ {
		if !idle.Alive() {
			t.Fatalf("an idle connection ended %v after the database went away", time.Since(closed).Round(time.Second))
		}
		for version, want := range map[byte]byte{4: 3, 5: 0x88} {
			if _, code, _ := DialRaw(t, s.MQTT, RawConnect{Version: version, ID: "new", User: "carol", Password: "carol's secret", Clean: true}); code != want {
				t.Errorf("CONNACK 0x%02x while the database is away, want 0x%02x", code, want)
			}
		}
		time.Sleep(500 * time.Millisecond)
	}
	if _, now := tap.Log.Totals(); now != before {
		t.Errorf("%d messages were acknowledged while the database was away", now-before)
	}
	// All of the two senders at QoS 1; of the one at QoS 2 some have their PUBREC.
	if n := tap.Log.Unanswered(time.Now(), time.Now()); len(n) < 300 {
		t.Errorf("%d messages were waiting, want at least 300: it is not the load this test is about", len(n))
	}
	gate.Open()
	opened := time.Now()
	last := phone.Last()
	phone.WaitFor(t, last+1000)
	t.Logf("away for %v with %d messages waiting; 1000 more delivered %v later", opened.Sub(closed).Round(time.Second), len(tap.Log.Unanswered(opened, opened)), time.Since(opened).Round(time.Millisecond))
	s.Kill9()
	s.Restart()
	phone.WaitFor(t, phone.Last()+500)
	l.drain(t)

	db, err := sql.Open("postgres", cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	a := audit{t: t, tap: tap, db: db}
	a.run()
	a.devices("bob", phone)
}
