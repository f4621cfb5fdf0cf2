package inbox

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"postbox"
)

// At most a window of deliveries is unacknowledged, each acknowledgement makes
// room for one more; the cursor follows without a hole, in whatever order they
// come.
func TestWindowAndCursor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		v := d.connect(phone(3), Start{AtEnd: true}).resume()
		d.post(d.commit(6))
		v.want("1", "2", "3")
		v.ack(1) // 2
		v.wantCursor(0)
		v.want(numbers(1, 4)...)
		v.ack(1) // 3
		v.wantCursor(0)
		v.want(numbers(1, 5)...)
		v.ack(0) // 1
		v.wantCursor(3)
		v.want(numbers(1, 6)...)
		v.ack(2)
		v.ack(0)
		v.wantCursor(4)
		v.ackAll()
		v.wantCursor(6)
		if d.db.reads != 0 {
			t.Errorf("%d pages were read, although all was in memory", d.db.reads)
		}
	})
}

// What was never asked for acknowledges nothing.
func TestStrangeAcknowledgements(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		v := d.connect(phone(3), Start{AtEnd: true}).resume()
		if v.sub.Ack(1) {
			t.Error("taken before anything was delivered")
		}
		d.post(d.commit(5))
		v.want("1", "2", "3")
		for _, id := range []uint16{0, 4, 60_000, 60_001, 65_535} {
			if v.sub.Ack(id) {
				t.Errorf("the acknowledgement of %d was taken", id)
			}
		}
		v.ack(1)
		if v.sub.Ack(2) {
			t.Error("one acknowledgement was taken twice")
		}
		v.wantCursor(0)
		v.want(numbers(1, 4)...)
		v.close()
		_ = v.sub.Ack(1)
		v.want(numbers(1, 4)...)
	})
}

// A device that leaves out one acknowledgement is served on for a while, but
// what it acknowledges out of turn must be remembered and is bounded.
func TestAcknowledgedOutOfTurn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const window, total = 10, maxOutOfTurn + 1000
		d := newDesk(t)
		d.commit(total)
		v := d.connect(phone(window), Start{}).resume()
		for range maxOutOfTurn {
			synctest.Wait() // for what is read
			v.ack(1)
		}
		v.wantCursor(0)
		v.want(numbers(1, maxOutOfTurn+window-1)...)
		v.ack(0)
		v.wantCursor(maxOutOfTurn + 1)
		for range total / window {
			synctest.Wait()
			v.ackAll()
		}
		v.want(numbers(1, total)...)
		v.wantCursor(total)
	})
}

// Packet ids begin again after 60,000; an acknowledgement still finds its
// delivery.
func TestPacketIDsBeginAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.commit(postbox.DeliveryIDs + 500)
		v := d.connect(phone(10), Start{After: postbox.DeliveryIDs - 5}).resume()
		v.want(numbers(postbox.DeliveryIDs-4, postbox.DeliveryIDs+5)...)
		for i := 9; i >= 0; i-- {
			v.ack(i)
		}
		v.wantCursor(postbox.DeliveryIDs + 5)
		v.ackAll()
		v.wantCursor(postbox.DeliveryIDs + 500)
		v.want(numbers(postbox.DeliveryIDs-4, postbox.DeliveryIDs+500)...)
	})
}

// No two deliveries that are unacknowledged have one packet id, however many
// entries between them the device was spared.
func TestPacketIDsOfSparedEntries(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		of := phone(10)
		of.NoLocal = true
		v := d.connect(of, Start{AtEnd: true}).resume()
		d.post(d.commit(1))
		d.post(d.commitFrom(alice, "phone", postbox.DeliveryIDs-1, nil))
		d.post(d.commit(2))
		synctest.Wait()
		v.want("1")
		v.ackAll()
		v.want("1", fmt.Sprint(postbox.DeliveryIDs+1), fmt.Sprint(postbox.DeliveryIDs+2))
		v.wantCursor(postbox.DeliveryIDs + 2)
	})
}

// With No Local a device is spared what it sent itself: the next delivery says
// up to where nothing else was due, and the cursor passes by itself.
func TestNoLocal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		of := phone(10)
		of.NoLocal = true
		v := d.connect(of, Start{AtEnd: true}).resume()
		laptop := d.connect(Device{Name: "laptop", NoLocal: true}, Start{AtEnd: true}).resume()
		d.post(d.commitFrom(alice, "phone", 2, nil))
		v.want()
		v.wantCursor(2) // nothing is due
		d.post(d.commit(1))
		d.post(d.commitFrom(alice, "phone", 1, nil))
		v.want("3")
		v.wantCursor(2) // 3 is not acknowledged
		d.post(d.commitFrom(alice, "laptop", 1, nil))
		d.post(d.commitFrom(alice, "", 1, nil))
		d.post(d.commitFrom(bob, "phone", 1, nil)) // bob's phone
		d.post(d.commitFrom(alice, "phone", 1, nil))
		v.want("3", "5", "6", "7")
		laptop.want("1", "2", "3", "4", "6", "7", "8")
		var after []postbox.InboxSeq
		for _, d := range v.got {
			after = append(after, d.After)
		}
		if diff := cmp.Diff([]postbox.InboxSeq{0, 3, 5, 6}, after); diff != "" {
			t.Errorf("after: -want +got:\n%s", diff)
		}
		v.ack(0)
		v.wantCursor(4)
		v.ackAll()
		v.wantCursor(8)
	})
}

// The same from the database, for a device that was away.
func TestNoLocalWhileCatchingUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.commitFrom(alice, "phone", 100, nil)
		d.commit(1)
		d.commitFrom(alice, "phone", 100, nil)
		of := phone(10)
		of.NoLocal = true
		v := d.connect(of, Start{After: 50, Resumed: true}).resume()
		v.want("101")
		v.wantCursor(100)
		if got := v.got[0].After; got != 50 {
			t.Errorf("after %d", got)
		}
		v.ackAll()
		v.wantCursor(201)
	})
}

// What a device cannot take in any form it is spared, too.
func TestOutletRefuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		v := d.connect(phone(2), Start{AtEnd: true}).resume()
		v.refuses = func(d Delivery) bool { return d.Entry.InboxSeq%3 != 0 }
		d.post(d.commit(9))
		v.want("3", "6")
		v.wantCursor(2)
		v.ackAll()
		v.want("3", "6", "9")
		v.wantCursor(9)
		if got := v.got[1].After; got != 3 {
			t.Errorf("after %d", got)
		}
	})
}

// A QoS 0 device acknowledges nothing and is not held up; a connection that
// takes no more is waited for.
func TestQoS0AndBusyConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.commit(100)
		v := d.connect(Device{Name: "phone"}, Start{After: 40}).resume()
		v.want(numbers(41, 100)...)
		v.wantCursor(100)
		v.setBusy(true)
		d.post(d.commit(700))
		v.want(numbers(41, 100)...)
		v.setBusy(false)
		v.want(numbers(41, 800)...)
		if v.sub.Ack(41) {
			t.Error("an acknowledgement was taken")
		}
	})
}

// The first window after a return may have been sent before: it says so.
func TestResumedWindowIsMarked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for resumed, want := range map[bool]string{true: "11 dup, 12 dup, 13 dup, 14, 15, ", false: "11, 12, 13, 14, 15, "} {
			d := newDesk(t)
			d.commit(15)
			v := d.connect(phone(3), Start{After: 10, Resumed: resumed}).resume()
			v.ackAll()
			got := ""
			for _, d := range v.got {
				got += fmt.Sprint(d.Entry.InboxSeq)
				if d.Dup {
					got += " dup"
				}
				got += ", "
			}
			if got != want {
				t.Errorf("resumed %v: %s", resumed, got)
			}
		}
	})
}
