package proof

import (
	"testing"
	"time"
)

// Two devices of a user never acknowledge anything. Each gets its window and
// nothing more, however much comes; the user's other device and other users
// notice nothing, and the server's memory stays flat. When they return they
// get everything from their cursor.
func TestMuteDevices(t *testing.T) {
	messages, size := 20_000, 200
	if soak {
		messages, size = 100_000, 1024
	}
	s := StartServer(t, ServerOptions{NoRace: true})
	for _, user := range []string{"alice", "bob", "carol", "dave"} {
		s.AddUser(user, user+"'s secret")
	}
	as := func(user, id string) RawConnect {
		return RawConnect{Version: 4, ID: id, User: user, Password: user + "'s secret"}
	}
	mutes := []struct {
		o      RawConnect
		window int
		d      *Device
	}{
		{o: as("bob", "mute3"), window: 64},
		{o: RawConnect{Version: 5, ID: "mute5", User: "bob", Password: "bob's secret", Expiry: 3600, ReceiveMaximum: 20}, window: 20},
	}
	for _, m := range mutes {
		ConnectDevice(t, s.MQTT, m.o, nil).Leave()
	}
	phone, desk := NewLedger("bob/phone", 0), NewLedger("carol/desk", 0)
	var atBob, atCarol Ages
	for _, d := range []struct {
		o    RawConnect
		l    *Ledger
		ages *Ages
	}{{as("bob", "phone"), phone, &atBob}, {as("carol", "desk"), desk, &atCarol}} {
		device := ConnectDevice(t, s.MQTT, d.o, d.l)
		device.Each = d.ages.Add
		device.Follow(0)
	}
	toBob := StartSource(t, s.MQTT, "alice", "to-bob", size, "bob")
	toCarol := StartSource(t, s.MQTT, "dave", "to-carol", size, "carol")
	measure := func() Delays {
		for _, forget := range []func() []time.Duration{atBob.Take, atCarol.Take, toBob.Delays, toCarol.Delays} {
			forget()
		}
		toBob.Run(300)
		toCarol.Run(300)
		time.Sleep(3 * time.Second)
		phone.WaitFor(t, toBob.Halt(t))
		desk.WaitFor(t, toCarol.Halt(t))
		return Delays{
			"to bob's other device": atBob.Take(), "to another user": atCarol.Take(),
			"acknowledged to bob's sender": toBob.Delays(), "acknowledged to another sender": toCarol.Delays(),
		}
	}
	before := besideTheDisk(t, measure)

	for i, m := range mutes {
		mutes[i].d = ConnectDevice(t, s.MQTT, m.o, nil)
		got := append(mutes[i].d.Take(m.window), mutes[i].d.Drain()...)
		if len(got) != m.window {
			t.Errorf("%s got %d deliveries without acknowledging one, want %d", m.o.ID, len(got), m.window)
		}
	}
	undisturbed(t, before, measure)
	idle, _ := Resident(t, s.PID())
	ResetPeak(t, s.PID())
	toBob.Send(t, messages)
	total := int64(toBob.next)
	phone.WaitFor(t, total)
	flatMemory(t, s, idle, "storing beside two mute devices")

	for _, m := range mutes {
		if got := m.d.Drain(); len(got) > 0 {
			t.Errorf("%s got %d more deliveries without acknowledging one", m.o.ID, len(got))
		}
		m.d.Cut()
		l := NewLedger("bob/"+m.o.ID, 0)
		again := ConnectDevice(t, s.MQTT, m.o, l)
		again.Follow(0)
		l.WaitFor(t, total)
		l.Check(t)
		again.Leave()
	}
	phone.Check(t)
	desk.Check(t)
}
