package proof

import (
	"fmt"
	"testing"
	"time"
)

// A user's two devices are away while 20,000 messages come and the server is
// restarted, and more come while they catch up. Both get all of them in order,
// without a gap where catching up meets what is new, and the server's memory
// stays flat: while it stores them and while it hands them out.
func TestAwayFor20000(t *testing.T) {
	messages, size := 20_000, 100
	if soak {
		messages, size = 100_000, 1024
	}
	const flat = 64 << 20 // bytes between the peak and idle

	s := StartServer(t, ServerOptions{NoRace: true})
	s.AddUser("alice", "alice's secret")
	s.AddUser("bob", "bob's secret")
	tap := StartTap(t, s.MQTT, s.HTTP)
	goDriver := StartGoDriver(t)

	phone, terminal := NewLedger("bob/phone", 0), NewLedger("bob/terminal", 0)
	phoneOptions := ClientOptions{
		Library: Paho5, URL: "mqtt://" + s.MQTT, ID: "phone", User: "bob", Password: "bob's secret",
		Expiry: 3600, OnMessage: phone.Add, Subscribe: []Subscription{{"inbox/bob", 1}},
	}
	onTerminal := Mosquitto{s.MQTT, "311", "terminal", "bob", "bob's secret"}
	first := goDriver.Connect(phoneOptions)
	first.WaitUp(t)
	sub := onTerminal.Subscribe(t, "inbox/bob", terminal.Add, "-q", "1", "-c")

	sender := goDriver.Connect(ClientOptions{Library: Paho3, URL: "mqtt://" + tap.Addr, ID: "source", User: "alice", Password: "alice's secret"})
	sender.WaitUp(t)
	filler := fmt.Sprintf("%0*d", size, 0)
	l := &load{tap: tap, pumps: []*pump{pumpLibrary(sender, 250, func(n int) Publication {
		return Publication{Topic: "inbox/bob", QoS: 1, Body: []byte(fmt.Sprintf("%d %s", n, filler)[:size])}
	})}}

	// A little while they are here, so that their cursors are not at zero.
	l.pumps[0].limit = 100
	l.start(t)
	phone.WaitFor(t, 100)
	terminal.WaitFor(t, 100)
	l.drain(t)
	first.Disconnect(t)
	sub.Stop()

	idle, _ := Resident(t, s.PID())
	ResetPeak(t, s.PID())
	began := time.Now()
	l.pumps[0].limit = 100 + messages/2
	l.start(t)
	l.finish(t)
	_, peak := Resident(t, s.PID())
	t.Logf("stored %d messages in %v; memory idle %d MiB, peak %d MiB", messages/2, time.Since(began).Round(time.Millisecond), idle>>20, peak>>20)
	if peak-idle >= flat {
		t.Errorf("memory grew by %d MiB while storing, want less than %d", (peak-idle)>>20, flat>>20)
	}

	s.Stop()
	s.Restart()
	idle, _ = Resident(t, s.PID())
	ResetPeak(t, s.PID())
	l.pumps[0].limit = 100 + messages
	l.start(t)
	l.finish(t)

	began = time.Now()
	again := goDriver.Connect(phoneOptions)
	again.WaitUp(t)
	if !again.SessionPresent() {
		t.Errorf("bob/phone came back to a restarted server without its session")
	}
	onTerminal.Subscribe(t, "inbox/bob", terminal.Add, "-q", "1", "-c")
	// More, a few at a time, until both have met the head of the inbox.
	l.pumps[0].window, l.pumps[0].limit = 20, 0
	l.start(t)
	behind := int64(100 + messages)
	phone.WaitFor(t, behind+50)
	terminal.WaitFor(t, behind+50)
	l.drain(t)
	total := l.pumps[0].handed.Load()
	phone.WaitFor(t, total)
	terminal.WaitFor(t, total)
	_, peak = Resident(t, s.PID())
	t.Logf("delivered %d messages to each of 2 devices in %v; memory idle %d MiB, peak %d MiB",
		total-100, time.Since(began).Round(time.Millisecond), idle>>20, peak>>20)
	if peak-idle >= flat {
		t.Errorf("memory grew by %d MiB while storing and catching up, want less than %d", (peak-idle)>>20, flat>>20)
	}

	db := s.DB()
	defer db.Close()
	a := audit{t: t, tap: tap, db: db}
	if n := a.run(); n != int(total) {
		t.Errorf("%d messages are stored, want %d", n, total)
	}
	a.devices("bob", phone, terminal)
	for _, l := range []*Ledger{phone, terminal} {
		// The cursor was saved at the disconnect: what was acknowledged before
		// does not come again.
		if n := l.Repeats(); n > 0 {
			t.Errorf("%s: %d entries came twice, though the device left in peace", l.Name, n)
		}
	}
}
