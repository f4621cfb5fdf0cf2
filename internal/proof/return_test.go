package proof

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// Fifty devices of one user, and two of each of many users, return at the same
// time to a restarted server, each behind by 200 entries. All are let in and
// served, none is forgotten over the others, and memory stays flat. They come
// with tokens: what passwords cost to check is not the matter here.
func TestManyReturnAtOnce(t *testing.T) {
	t.Parallel()
	users, behind := 60, 200
	if soak {
		users = 500
	}
	s := StartServer(t, ServerOptions{NoRace: true})
	for _, user := range []string{"alice", "bob"} {
		s.AddUser(user, user+"'s secret")
	}
	others := s.AddUsers("user", users, "bob")
	type returning struct {
		o      RawConnect
		ledger *Ledger
		took   time.Duration
	}
	var all []*returning
	tokens := map[string]string{}
	add := func(user, id string) {
		if tokens[user] == "" {
			tokens[user] = s.Token(user)
		}
		all = append(all, &returning{
			o:      RawConnect{Version: 4, ID: id, User: user, Password: tokens[user]},
			ledger: NewLedger(user+"/"+id, 0),
		})
	}
	for i := range 50 {
		add("bob", fmt.Sprintf("device%d", i))
	}
	for _, user := range others {
		add(user, "phone")
		add(user, "laptop")
	}
	for _, r := range all {
		ConnectDevice(t, s.MQTT, r.o, nil).Leave()
	}
	source := StartSource(t, s.MQTT, "alice", "source", 200, append(others, "bob")...)
	source.Send(t, (users+1)*behind)
	s.Stop()
	s.Restart()

	idle, _ := Resident(t, s.PID())
	ResetPeak(t, s.PID())
	began := time.Now()
	var wg sync.WaitGroup
	var mu sync.Mutex
	attempts := 0
	for _, r := range all {
		wg.Go(func() {
			for limit := time.Now().Add(2 * patience); time.Now().Before(limit); time.Sleep(50 * time.Millisecond) {
				mu.Lock()
				attempts++
				mu.Unlock()
				d, err := ReturnDevice(t, s.MQTT, r.o, r.ledger)
				if err != nil {
					continue // there are too many at once: later
				}
				d.Follow(0)
				r.ledger.WaitFor(t, int64(behind))
				r.took = time.Since(began)
				return
			}
			t.Errorf("%s was not let in", r.ledger.Name)
		})
	}
	wg.Wait()
	slowest := time.Duration(0)
	for _, r := range all {
		slowest = max(slowest, r.took)
		r.ledger.Check(t)
		if n := len(r.ledger.Entries()); n != behind {
			t.Errorf("%s has %d entries, want %d", r.ledger.Name, n, behind)
		}
	}
	t.Logf("%d devices of %d users, each behind by %d: all had everything after %v, with %d attempts to connect",
		len(all), users+1, behind, slowest.Round(time.Millisecond), attempts)
	// A connection costs its own, behind or not.
	flatMemory(t, s, idle+int64(len(all))*48<<10, "serving all that return")
}
