package inbox

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"postbox"
)

// A device that is far behind costs few reads, however small its window is,
// and never waits for one: the next page is there before the last is used up.
func TestReadsAhead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const total = 3000
		d := newDesk(t)
		d.commit(total)
		v := d.connect(phone(4), Start{}).resume()
		synctest.Wait()
		for n := 1; n <= total; n++ {
			if len(v.unacked) == 0 {
				t.Fatalf("entry %d is not there when its turn comes", n)
			}
			v.ack(0)
			if n > total-4 {
				synctest.Wait()
			}
			if n%32 == 0 {
				synctest.Wait() // the reader is as fast as that
			}
		}
		v.want(numbers(1, total)...)
		v.wantCursor(total)
		// 64, 128, 256 and then 512 at a time.
		if d.db.reads > 10 {
			t.Errorf("%d pages were read", d.db.reads)
		}
		if held := d.hub.held.Load(); held != 0 {
			t.Errorf("%d bytes are held for a device that has everything", held)
		}
	})
}

// What retention has removed behind a page is told after the page.
func TestNothingBehindThePage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.commit(100)
		d.db.remove(alice, firstPage+1, 100)
		v := d.connect(phone(10), Start{}).resume()
		for range 100 {
			synctest.Wait()
			v.ack(0)
		}
		v.want(append(numbers(1, firstPage), "gap expired 64…101")...)
		v.wantCursor(100)
	})
}

// Many devices that take nothing are not worth much memory, and those that do
// get everything meanwhile. When they take again they get everything, too.
func TestHeldBudget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const devices, total = 30, 200
		d := newDesk(t)
		d.commitFrom(bob, "", total, bytes.Repeat([]byte("x"), 16<<10))
		page := int64(maxPage * (17 << 10))
		var mute []*device
		for i := range devices {
			of := Device{ID: postbox.DeviceID(100 + i), Name: "mute", QoS: 1, Window: 2}
			mute = append(mute, d.connect(of, Start{}).resume())
			synctest.Wait()
			if held := d.hub.held.Load(); held > heldBudget+page {
				t.Fatalf("%d bytes are held for %d devices", held, i+1)
			}
		}
		d.post(d.commitFrom(bob, "", 1, nil))
		if held := d.hub.held.Load(); held < heldBudget/2 {
			t.Fatalf("%d bytes are held: it is not the case this test is about", held)
		}
		v := d.connect(phone(10), Start{}).resume()
		for range total {
			synctest.Wait()
			v.ackAll()
		}
		v.want(numbers(1, total+1)...)
		rest(3 * lookEvery)
		if held := d.hub.held.Load(); held > heldBudget/2 {
			t.Errorf("%d bytes are still held for devices that take nothing", held)
		}
		for _, m := range mute {
			for range total {
				synctest.Wait()
				m.ackAll()
			}
			m.want(numbers(1, total+1)...)
			m.close()
		}
		v.close()
		if held := d.hub.held.Load(); held != 0 {
			t.Errorf("%d bytes are held for nobody", held)
		}
	})
}

// A device that stands still does not keep the tail in memory once memory is
// short.
func TestTailIsGivenUpForWhoStandsStill(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		v := d.connect(phone(1), Start{AtEnd: true}).resume()
		d.post(d.commitFrom(bob, "", 10, make([]byte, 8<<10)))
		rest(5 * time.Second)
		if d.hub.held.Load() == 0 {
			t.Fatal("nothing is held although memory is not short")
		}
		d.hub.held.Add(heldBudget / 2) // somebody else's
		rest(3 * lookEvery)
		if held := d.hub.held.Load() - heldBudget/2; held != 0 {
			t.Errorf("%d bytes are held for a device that stands still", held)
		}
		for range 10 {
			synctest.Wait()
			v.ack(0)
		}
		v.want(numbers(1, 10)...)
		d.hub.held.Add(-heldBudget / 2)
	})
}
