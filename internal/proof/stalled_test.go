package proof

import (
	"fmt"
	"testing"
	"time"
)

// A device stops reading while large messages come for it. The acknowledgements
// of senders, the user's other device and other users are as fast as before,
// and memory stays flat. When it reads again it gets everything; so it does
// when it has been cut off meanwhile and returns.
func TestStalledReader(t *testing.T) {
	s := StartServer(t, ServerOptions{NoRace: true})
	for _, user := range []string{"alice", "bob", "carol", "dave"} {
		s.AddUser(user, user+"'s secret")
	}
	as := func(user, id string) RawConnect {
		return RawConnect{Version: 4, ID: id, User: user, Password: user + "'s secret"}
	}
	var atBob, atCarol Ages
	phone, laptop, desk := NewLedger("bob/phone", 0), NewLedger("bob/laptop", 0), NewLedger("carol/desk", 0)
	onPhone := as("bob", "phone")
	onPhone.Narrow = true
	stalling := ConnectDevice(t, s.MQTT, onPhone, phone)
	stalling.Follow(0)
	for _, d := range []struct {
		o    RawConnect
		l    *Ledger
		ages *Ages
	}{{as("bob", "laptop"), laptop, &atBob}, {as("carol", "desk"), desk, &atCarol}} {
		device := ConnectDevice(t, s.MQTT, d.o, d.l)
		device.Each = d.ages.Add
		device.Follow(0)
	}
	toBob := StartSource(t, s.MQTT, "alice", "to-bob", 32<<10, "bob")
	toCarol := StartSource(t, s.MQTT, "dave", "to-carol", 200, "carol")
	measure := func() Delays {
		for _, forget := range []func() []time.Duration{atBob.Take, atCarol.Take, toBob.Delays, toCarol.Delays} {
			forget()
		}
		toBob.Run(50)
		toCarol.Run(300)
		time.Sleep(3 * time.Second)
		laptop.WaitFor(t, toBob.Halt(t))
		desk.WaitFor(t, toCarol.Halt(t))
		return Delays{
			"to bob's other device": atBob.Take(), "to another user": atCarol.Take(),
			"acknowledged to bob's sender": toBob.Delays(), "acknowledged to another sender": toCarol.Delays(),
		}
	}
	before := besideTheDisk(t, measure)
	phone.WaitFor(t, int64(toBob.next))

	idle, _ := Resident(t, s.PID())
	ResetPeak(t, s.PID())
	stalling.Unfollow()
	undisturbed(t, before, measure)
	total := int64(toBob.next)
	if phone.Last() == total {
		t.Fatalf("the phone has everything although it does not read")
	}
	flatMemory(t, s, idle, "sending beside a device that does not read")
	stalling.Follow(0)
	comesBack := func() {
		t.Helper()
		for limit := time.Now().Add(patience); phone.Last() < total; time.Sleep(20 * time.Millisecond) {
			if stalling.Failed() != nil {
				stalling.Cut()
				stalling = ConnectDevice(t, s.MQTT, onPhone, phone)
				stalling.Follow(0)
			}
			if time.Now().After(limit) {
				t.Fatalf("the phone is at %d of %d", phone.Last(), total)
			}
		}
	}
	comesBack()

	// Longer than the server waits for a connection that takes nothing.
	stalling.Unfollow()
	toBob.Send(t, 50)
	total = int64(toBob.next)
	time.Sleep(15 * time.Second)
	stalling.Follow(0)
	comesBack()
	for _, l := range []*Ledger{phone, laptop, desk} {
		l.Check(t)
	}
}

// Two hundred devices of as many users do not read while large messages come
// for each. Memory stays flat, another user notices nothing, and all of them
// get everything when they return.
func TestManyStalledReaders(t *testing.T) {
	const readers, size = 200, 32 << 10
	each := 12
	if soak {
		each = 60
	}
	s := StartServer(t, ServerOptions{NoRace: true})
	for _, user := range []string{"alice", "carol", "dave"} {
		s.AddUser(user, user+"'s secret")
	}
	users := s.AddUsers("reader", readers, "dave")
	var atCarol Ages
	desk := NewLedger("carol/desk", 0)
	onDesk := ConnectDevice(t, s.MQTT, RawConnect{Version: 4, ID: "desk", User: "carol", Password: "carol's secret"}, desk)
	onDesk.Each = atCarol.Add
	onDesk.Follow(0)
	stalled := make([]*Device, readers)
	as := func(i int) RawConnect {
		return RawConnect{Version: 4, ID: "phone", User: users[i], Password: "dave's secret", Narrow: true}
	}
	for i := range users {
		stalled[i] = ConnectDevice(t, s.MQTT, as(i), nil)
	}
	toCarol := StartSource(t, s.MQTT, "dave", "to-carol", 200, "carol")
	toAll := StartSource(t, s.MQTT, "alice", "to-all", size, users...)
	rest := func() Delays {
		atCarol.Take()
		toCarol.Delays()
		toCarol.Run(300)
		time.Sleep(2 * time.Second)
		desk.WaitFor(t, toCarol.Halt(t))
		return Delays{"to another user": atCarol.Take(), "acknowledged to another sender": toCarol.Delays()}
	}
	idle, _ := Resident(t, s.PID())
	ResetPeak(t, s.PID())
	before := besideTheDisk(t, rest)
	began := time.Now()
	toAll.Send(t, readers*each)
	t.Logf("%d messages of %d KiB to %d devices that do not read in %v", readers*each, size>>10, readers, time.Since(began).Round(time.Millisecond))
	undisturbed(t, before, rest)
	flatMemory(t, s, idle, "sending to devices that do not read")

	ledgers := make([]*Ledger, readers)
	for i, d := range stalled {
		d.Cut()
		ledgers[i] = NewLedger(fmt.Sprintf("%s/phone", users[i]), 0)
		back := as(i)
		back.Narrow = false
		d = ConnectDevice(t, s.MQTT, back, ledgers[i])
		if !d.Present {
			t.Fatalf("the session of %s is gone", users[i])
		}
		d.Follow(0)
	}
	for _, l := range ledgers {
		l.WaitFor(t, int64(each))
		l.Check(t)
	}
	desk.Check(t)
	flatMemory(t, s, idle, "all of it, until they have returned")
}
