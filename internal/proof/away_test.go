package proof

import (
	"fmt"
	"testing"
	"time"
)

// flat is what the server's memory may grow by, between its peak and idle.
const flat = 64 << 20

// flatMemory fails the test if the server's memory grew by more than flat over
// idle since ResetPeak.
func flatMemory(t testing.TB, s *Server, idle int64, doing string) {
	t.Helper()
	_, peak := Resident(t, s.PID())
	t.Logf("%s: memory idle %d MiB, peak %d MiB", doing, idle>>20, peak>>20)
	if peak-idle >= flat {
		t.Errorf("%s: memory grew by %d MiB, want less than %d", doing, (peak-idle)>>20, flat>>20)
	}
}

// A user has three devices. One is away for 20,000 messages and a restart, one
// for the last third of them, one never; and new messages come at full speed
// while they catch up. Each gets all of them in order, without a gap or a
// repeat where catching up meets what is new, and the server's memory stays
// flat: while it stores them and while it hands them out.
func TestAwayFor20000(t *testing.T) {
	t.Parallel()
	messages, size := 20_000, 100
	if soak {
		messages, size = 100_000, 1024
	}
	s := StartServer(t, ServerOptions{NoRace: true})
	s.AddUser("alice", "alice's secret")
	s.AddUser("bob", "bob's secret")
	tap := StartTap(t, s.MQTT, s.HTTP)
	goDriver := StartGoDriver(t)

	phone, terminal, desk := NewLedger("bob/phone", 0), NewLedger("bob/terminal", 0), NewLedger("bob/desk", 0)
	onPhone := ClientOptions{
		Library: Paho5, URL: "mqtt://" + s.MQTT, ID: "phone", User: "bob", Password: "bob's secret",
		Expiry: 3600, OnMessage: phone.Add, Subscribe: []Subscription{{"inbox/bob", 1}},
	}
	onDesk := onPhone
	onDesk.Library, onDesk.ID, onDesk.OnMessage = Paho3, "desk", desk.Add
	onTerminal := Mosquitto{s.MQTT, "311", "terminal", "bob", "bob's secret"}
	first := goDriver.Connect(onPhone)
	first.WaitUp(t)
	goDriver.Connect(onDesk).WaitUp(t)
	sub := onTerminal.Subscribe(t, "inbox/bob", terminal.Add, "-q", "1", "-c")

	sender := goDriver.Connect(ClientOptions{Library: Paho3, URL: "mqtt://" + tap.Addr, ID: "source", User: "alice", Password: "alice's secret"})
	sender.WaitUp(t)
	filler := fmt.Sprintf("%0*d", size, 0)
	l := &load{tap: tap, pumps: []*pump{pumpLibrary(sender, 250, func(n int) Publication {
		return Publication{Topic: "inbox/bob", QoS: 1, Body: []byte(fmt.Sprintf("%d %s", n, filler)[:size])}
	})}}
	send := func(upTo int) {
		l.pumps[0].limit = upTo
		l.start(t)
		l.finish(t)
	}

	// A little while all are here, so that their cursors are not at zero.
	send(100)
	phone.WaitFor(t, 100)
	db := s.DB()
	WaitCursor(t, db, "bob", "phone", 100)
	first.Disconnect(t)
	idle, _ := Resident(t, s.PID())
	ResetPeak(t, s.PID())
	before := 100 + messages*2/3
	send(before)
	terminal.WaitFor(t, int64(before))
	WaitCursor(t, db, "bob", "terminal", int64(before))
	db.Close()
	sub.Stop()
	flatMemory(t, s, idle, fmt.Sprintf("storing %d messages", messages*2/3))

	s.Stop()
	s.Restart()
	idle, _ = Resident(t, s.PID())
	ResetPeak(t, s.PID())
	send(100 + messages)

	began := time.Now()
	l.pumps[0].limit = 100 + messages + messages/2
	l.start(t)
	again := goDriver.Connect(onPhone)
	again.WaitUp(t)
	if !again.SessionPresent() {
		t.Errorf("bob/phone came back to a restarted server without its session")
	}
	onTerminal.Subscribe(t, "inbox/bob", terminal.Add, "-q", "1", "-c")
	l.finish(t)
	total := l.pumps[0].handed.Load()
	sent, phoneAt, terminalAt := time.Since(began), phone.Last(), terminal.Last()
	for _, d := range []*Ledger{phone, terminal, desk} {
		d.WaitFor(t, total)
	}
	t.Logf("%d more messages were sent in %v; then the phone was at %d and the terminal at %d of %d; all was delivered after %v",
		messages/2, sent.Round(time.Millisecond), phoneAt, terminalAt, total, time.Since(began).Round(time.Millisecond))
	flatMemory(t, s, idle, fmt.Sprintf("storing %d and catching up", messages/3+messages/2))

	db = s.DB()
	defer db.Close()
	a := audit{t: t, tap: tap, db: db}
	if n := a.run(); n != int(total) {
		t.Errorf("%d messages are stored, want %d", n, total)
	}
	a.devices("bob", phone, terminal, desk)
	for _, l := range []*Ledger{phone, terminal} {
		// The cursor was saved: what was acknowledged before does not come again.
		if n := l.Repeats(); n > 0 {
			t.Errorf("%s: %d entries came twice, though the device left in peace", l.Name, n)
		}
	}
}
