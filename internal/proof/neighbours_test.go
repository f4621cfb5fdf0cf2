package proof

import (
	"sync"
	"testing"
	"time"
)

// neighbours mind their own business at one server: some write to bob, below
// their rates.
type neighbours struct {
	s       *Server
	writers []*Source
	ages    Ages // at bob's phone
	at      *Ledger
}

// pace is how many messages a second each of the writers sends.
const pace = 40

func newNeighbours(t testing.TB, s *Server) *neighbours {
	t.Helper()
	n := &neighbours{s: s, at: NewLedger("bob/phone", 0)}
	writers := []string{"alice", "anna", "arthur"}
	for _, user := range append(writers, "bob") {
		s.AddUser(user, user+"'s secret")
	}
	phone := ConnectDevice(t, s.MQTT, RawConnect{Version: 4, ID: "phone", User: "bob", Password: "bob's secret"}, n.at)
	phone.Each = n.ages.Add
	phone.Follow(0)
	for _, user := range writers {
		n.writers = append(n.writers, StartSource(t, s.MQTT, user, "laptop", 200, "bob"))
	}
	return n
}

// measure lets them write for a while.
func (n *neighbours) measure(t testing.TB, while time.Duration) Delays {
	t.Helper()
	n.ages.Take()
	for _, w := range n.writers {
		w.Delays()
		w.Run(pace)
	}
	time.Sleep(while)
	var sent int64
	d := Delays{}
	for _, w := range n.writers {
		sent += w.Halt(t)
	}
	n.at.WaitFor(t, sent)
	d["to bob"] = n.ages.Take()
	for _, w := range n.writers {
		d["acknowledged"] = append(d["acknowledged"], w.Delays()...)
	}
	return d
}

// both measures those of a besieged server and, at the same time, those of one
// beside it that nobody attacks: what these notice is the machine, which whoever
// attacks keeps busy too.
func both(t testing.TB, besieged, beside *neighbours, while time.Duration) (in, out Delays) {
	t.Helper()
	var other sync.WaitGroup
	other.Go(func() { out = beside.measure(t, while) })
	in = besieged.measure(t, while)
	other.Wait()
	return in, out
}

// withstood measures with trouble, up to three times, and fails the test if each
// time the 99th percentile of something was more than three times what it was
// before, and than it is beside.
func withstood(t testing.TB, before Delays, measure func() (in, out Delays)) {
	t.Helper()
	const most = 3
	for range 3 {
		in, out := measure()
		bad := false
		for what, all := range in {
			was, is, beside := percentile(before[what], 99), percentile(all, 99), percentile(out[what], 99)
			t.Logf("%s: p99 was %v, is %v, beside %v (of %d, %d, %d)", what, was.Round(10*time.Microsecond), is.Round(10*time.Microsecond),
				beside.Round(10*time.Microsecond), len(before[what]), len(all), len(out[what]))
			bad = bad || is > most*max(was, beside) || len(all) < len(before[what])/2
		}
		if !bad {
			return
		}
	}
	t.Errorf("others notice the trouble: their p99 is over %d times what it was, and what it is beside", most)
}
