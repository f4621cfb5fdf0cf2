package proof

import (
	"testing"
	"time"
)

// A device reads 50 KB a second. It is served at its pace, longer than the
// server waits for one that takes nothing, with entries from the database that
// memory does not hold; then it reads faster and meets what is new.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	const rate, size = 50_000, 1 << 10
	messages, during := 3000, 15*time.Second
	if soak {
		messages, during = 20_000, 5*time.Minute
	}
	s := StartServer(t, ServerOptions{NoRace: true})
	s.AddUser("alice", "alice's secret")
	s.AddUser("bob", "bob's secret")
	o := RawConnect{Version: 4, ID: "phone", User: "bob", Password: "bob's secret", Narrow: true}
	ConnectDevice(t, s.MQTT, o, nil).Leave()
	source := StartSource(t, s.MQTT, "alice", "source", size, "bob")
	source.Send(t, messages)

	phone := NewLedger("bob/phone", 0)
	d := ConnectDevice(t, s.MQTT, o, phone)
	idle, _ := Resident(t, s.PID())
	ResetPeak(t, s.PID())
	began := time.Now()
	d.Follow(rate)
	source.Run(20)
	time.Sleep(during)
	total := source.Halt(t)
	at, want := phone.Last(), int64(time.Since(began).Seconds()*rate)/(size+300)
	t.Logf("at %d B/s the device is at entry %d after %v", rate, at, time.Since(began).Round(time.Millisecond))
	if at < want/2 {
		t.Errorf("the device is at entry %d after %v, and could be at %d", at, time.Since(began), want)
	}
	if at >= int64(messages) {
		t.Fatalf("the device has met the head: it does not read slowly")
	}
	flatMemory(t, s, idle, "serving a slow device")
	d.Unfollow()
	d.Follow(0)
	phone.WaitFor(t, total)
	if err := d.Failed(); err != nil {
		t.Errorf("the device was cut off: %v", err)
	}
	if n := phone.Repeats(); n > 0 {
		t.Errorf("%d entries came twice on one connection", n)
	}
	phone.Check(t)
}
