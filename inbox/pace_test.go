package inbox

import (
	"testing"
	"testing/synctest"
	"time"

	"postbox"
)

const pageTime = 5 * time.Millisecond

// What a device has missed gives way to senders who wait, and only to those.
func TestCatchUpGivesWay(t *testing.T) {
	const total = 3000 // 8 pages
	for name, c := range map[string]struct {
		waiting  func() int
		from, to time.Duration
	}{
		"nobody tells":     {nil, 8 * pageTime, 9 * pageTime},
		"few senders wait": {func() int { return Pressed - 1 }, 8 * pageTime, 9 * pageTime},
		"many do":          {func() int { return Pressed }, (8 + 7*giveWay) * pageTime, (9 + 8*giveWay) * pageTime},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := newDesk(t)
				d.db.pages = pageTime
				d.hub.Waiting = c.waiting
				d.commit(total)
				began := time.Now()
				v := d.connect(Device{ID: 5, Name: "phone"}, Start{}).resume()
				for d.seen.Load() < total && time.Since(began) < time.Second {
					rest(time.Millisecond)
				}
				if took := time.Since(began); took < c.from || took > c.to {
					t.Errorf("catching up took %v, want %v to %v", took, c.from, c.to)
				}
				v.want(numbers(1, total)...)
			})
		})
	}
}

// A device to which more comes than it would read with rests gets to the end all the
// same, senders or not.
func TestCatchUpOutrunsWhatComes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.db.pages = pageTime
		d.hub.Waiting = func() int { return 1000 }
		d.commit(20_000)
		d.connect(Device{ID: 5, Name: "phone"}, Start{}).resume()
		last := int64(20_000)
		for began := time.Now(); ; last += 300 {
			rest(2 * pageTime)
			if d.seen.Load() == last {
				return
			}
			if time.Since(began) > 2*time.Second {
				t.Fatalf("the device is %d entries behind; it was 20000", last-d.seen.Load())
			}
			d.post(d.commit(300))
		}
	})
}

// A rest is for a moment, however long a page took.
func TestRestIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const total = firstPage + 2*firstPage + 1 // 3 pages
		d := newDesk(t)
		d.db.pages = time.Second
		d.hub.Waiting = func() int { return Pressed }
		d.commit(total)
		v := d.connect(Device{ID: 5, Name: "phone"}, Start{}).resume()
		rest(3*time.Second + 2*maxRest)
		v.want(numbers(1, total)...)
	})
}

// Many devices that come back at once wait for each other, and give way all the same.
func TestManyGiveWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const devices, total = 40, 700 // 64, 128, 256 and 252
		d := newDesk(t)
		d.db.pages = 2 * pageTime
		d.hub.Waiting = func() int { return Pressed }
		d.commit(total)
		began := time.Now()
		var all []*device
		for i := range devices {
			of := Device{ID: postbox.DeviceID(100 + i), Name: "phone"}
			all = append(all, d.connect(of, Start{}).resume())
		}
		for _, v := range all {
			for v.sub.Cursor() < total && time.Since(began) < time.Minute {
				rest(10 * time.Millisecond)
			}
		}
		pages := devices * 4 / readers
		least := time.Duration(pages-4) * (1 + giveWay) * d.db.pages
		if took := time.Since(began); took < least {
			t.Errorf("all had caught up after %v, want at least %v", took, least)
		}
	})
}

// A device that has missed little has it at once, however many others rest.
func TestNearlyDoesNotGiveWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const total = 2000
		d := newDesk(t)
		d.db.pages = 2 * pageTime
		d.hub.Waiting = func() int { return 1000 }
		d.commit(total)
		for i := range 30 {
			d.connect(Device{ID: postbox.DeviceID(100 + i), Name: "far"}, Start{}).resume()
		}
		rest(100 * time.Millisecond)
		v := d.connect(Device{ID: 5, Name: "phone"}, Start{After: total - nearly}).resume()
		rest(10 * d.db.pages)
		v.want(numbers(total-nearly+1, total)...)
	})
}

// A lane tells how many wait to be committed, those included that are being.
func TestLaneTellsWhoWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		gate := o.hold()
		var from origin
		o.submit(letter(&from, alice, "bob", "1"))
		synctest.Wait()
		o.submit(letter(&from, alice, "bob", "2"), letter(&from, alice, "bob", "3"))
		synctest.Wait()
		if n := o.lane.Waiting(); n != 3 {
			t.Errorf("%d wait, want one that is being committed and two behind it", n)
		}
		close(gate)
		synctest.Wait()
		if n := o.lane.Waiting(); n != 0 {
			t.Errorf("%d wait after all are committed", n)
		}
	})
}
