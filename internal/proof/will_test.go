package proof

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Wills are sent exactly once, whenever the server is killed: while their
// devices are connected, while they wait for their delay, and while they are
// being sent after the start. One that was taken back never is.
func TestWillsAcrossKills(t *testing.T) {
	t.Parallel()
	const each = 5 // of 8 kinds: a user has at most 50 devices
	rounds := 3
	if soak {
		rounds = 30
	}
	s := StartServer(t, ServerOptions{})
	s.AddUser("alice", "alice's secret")
	s.AddUser("bob", "bob's secret")
	bob := RawConnect{Version: 4, ID: "phone", User: "bob", Password: "bob's secret"}
	ConnectDevice(t, s.MQTT, bob, nil)

	kinds := map[string]struct {
		RawConnect
		end func(*Raw) // before the kill; nil: it is connected then
	}{
		"alive":           {RawConnect{Version: 4}, nil},
		"without session": {RawConnect{Version: 4, Clean: true}, nil},
		"alive, delayed":  {RawConnect{Version: 5, Expiry: 3600, WillDelay: 1}, nil},
		"cut":             {RawConnect{Version: 4}, func(r *Raw) { r.conn.Close() }},
		"cut, delayed":    {RawConnect{Version: 5, Expiry: 3600, WillDelay: 1}, func(r *Raw) { r.conn.Close() }},
		"back":            {RawConnect{Version: 5, Expiry: 3600, WillDelay: 3600}, nil},
		"cut, back":       {RawConnect{Version: 5, Expiry: 3600, WillDelay: 3600}, func(r *Raw) { r.conn.Close() }},
		"left":            {RawConnect{Version: 4}, func(r *Raw) { r.Write([]byte{0xe0, 0}); r.WaitEnd(patience) }},
	}
	stays := func(kind string) bool { return kind == "back" || kind == "cut, back" || kind == "left" }
	due := 0
	for round := range rounds {
		var back []RawConnect
		for kind, k := range kinds {
			for n := range each {
				o := k.RawConnect
				o.User, o.Password, o.ID = "alice", "alice's secret", fmt.Sprintf("%s %d", kind, n)
				o.WillTopic, o.WillBody = "inbox/bob", fmt.Sprintf("%s %d %d", kind, round, n)
				r, code, _ := DialRaw(t, s.MQTT, o)
				if code != 0 {
					t.Fatalf("%s: CONNACK 0x%02x", kind, code)
				}
				if k.end != nil {
					k.end(r)
				}
				if o.WillDelay == 3600 {
					o.WillTopic = ""
					back = append(back, o)
				}
				if !stays(kind) {
					due++
				}
			}
		}
		s.Kill9()
		s.Restart()
		// Again, somewhere in the sending of what is due.
		time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond)
		s.Kill9()
		s.Restart()
		for _, o := range back {
			r, code, present := DialRaw(t, s.MQTT, o)
			if code != 0 || !present {
				t.Errorf("round %d: %s came back with 0x%02x, session present %v", round, o.ID, code, present)
			}
			r.conn.Close()
		}
		db := s.DB()
		awaitNoWills(t, db)
		if got := len(Messages(t, db, time.Time{})); got != due {
			t.Errorf("round %d: %d messages, want %d", round, got, due)
		}
		db.Close()
	}

	db := s.DB()
	defer db.Close()
	seen := map[string]int{}
	for _, row := range Messages(t, db, time.Time{}) {
		if seen[row.Body]++; seen[row.Body] > 1 {
			t.Errorf("%q was sent twice", row.Body)
		}
	}
	for kind := range kinds {
		for round := range rounds {
			for n := range each {
				body, want := fmt.Sprintf("%s %d %d", kind, round, n), 1
				if stays(kind) {
					want = 0
				}
				if seen[body] != want {
					t.Errorf("%q was sent %d times, want %d", body, seen[body], want)
				}
			}
		}
	}
	if got := ConnectDevice(t, s.MQTT, bob, nil).Take(min(due, 64)); len(got) == 0 {
		t.Error("nothing of it was delivered")
	}
	t.Logf("%d wills sent once over %d kills", len(seen), 2*rounds)
}

func awaitNoWills(t *testing.T, db *sql.DB) {
	t.Helper()
	var left int
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := db.QueryRow(`SELECT count(*) FROM postbox.wills`).Scan(&left); err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			return
		}
	}
	t.Fatalf("%d wills are still there", left)
}
