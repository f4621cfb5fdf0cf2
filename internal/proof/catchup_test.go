package proof

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// counter follows how far a device is without looking closer: it costs less
// than a ledger, and checks the order all the same.
type counter struct {
	last  atomic.Int64
	holes atomic.Int64
}

func (c *counter) each(t testing.TB) func(Arrival) {
	return func(a Arrival) {
		var n int64
		if _, err := fmt.Sscanf(string(a.Body[:min(len(a.Body), 40)]), `{"inbox_seq":%d,`, &n); err != nil || n != c.last.Load()+1 {
			c.holes.Add(1)
		}
		c.last.Store(n)
	}
}

// wait waits until entry n has come; a minute without progress fails the test.
func (c *counter) wait(t testing.TB, n int64) {
	t.Helper()
	last, since := int64(-1), time.Now()
	for c.last.Load() < n {
		if now := c.last.Load(); now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) > patience {
			t.Fatalf("the device is at entry %d of %d, and nothing came for %v", last, n, patience)
		}
		time.Sleep(time.Millisecond)
	}
}

// Catching up is faster than what is new comes in, whenever the device is: one
// with the window of 3.1.1, 20,000 entries behind, meets the head while a
// sender publishes as fast as it can.
func TestCatchUpIsFasterThanTheLoad(t *testing.T) {
	behind, rate := 20_000, 0
	if soak {
		behind = 100_000
	}
	if raceEnabled {
		rate = 3000 // the race detector slows the device down, not the server
	}
	s := StartServer(t, ServerOptions{NoRace: true})
	s.AddUser("alice", "alice's secret")
	s.AddUser("bob", "bob's secret")
	o := RawConnect{Version: 4, ID: "phone", User: "bob", Password: "bob's secret"}
	ConnectDevice(t, s.MQTT, o, nil).Leave()
	source := StartSource(t, s.MQTT, "alice", "source", 100, "bob")
	source.Send(t, behind)

	idle, _ := Resident(t, s.PID())
	ResetPeak(t, s.PID())
	var c counter
	d := ConnectDevice(t, s.MQTT, o, nil)
	d.Each = c.each(t)
	began := time.Now()
	d.Follow(0)
	c.wait(t, int64(behind))
	took := time.Since(began)
	t.Logf("%d entries on an idle server: %v, %.0f/s", behind, took.Round(time.Millisecond), float64(behind)/took.Seconds())
	if limit := time.Duration(behind) * time.Millisecond / 2; took > limit {
		t.Errorf("catching up took %v, want less than %v", took, limit)
	}

	db := s.DB()
	WaitCursor(t, db, "bob", "phone", int64(behind))
	db.Close()
	d.Cut()
	source.Send(t, behind)
	head := int64(source.next)
	source.Run(rate)
	d = ConnectDevice(t, s.MQTT, o, nil)
	d.Each = c.each(t)
	began = time.Now()
	d.Follow(0)
	met := false
	for limit := began.Add(patience); time.Now().Before(limit); time.Sleep(10 * time.Millisecond) {
		// Nearly: some are always on their way.
		if at := c.last.Load(); at > head && source.Acknowledged()-at < sourceWindow {
			met = true
			break
		}
	}
	took = time.Since(began)
	sent, at := source.Acknowledged(), c.last.Load()
	t.Logf("beside %.0f messages a second: %v, %.0f/s", float64(sent-head)/took.Seconds(),
		took.Round(time.Millisecond), float64(at-int64(behind))/took.Seconds())
	if !met {
		t.Errorf("after %v the device is still %d entries behind; it was %d", took, sent-at, behind)
	}
	total := source.Halt(t)
	c.wait(t, total)
	flatMemory(t, s, idle, "catching up")
	if n := c.holes.Load(); n > 0 {
		t.Errorf("%d entries came out of order", n)
	}
}
