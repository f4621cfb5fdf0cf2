package inbox

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
)

// saved are the numbers that the database was given for a device, in order.
func (d *desk) saved(device postbox.DeviceID) (all []postbox.InboxSeq) {
	d.db.mu.Lock()
	defer d.db.mu.Unlock()
	for _, saves := range d.db.saves {
		for _, s := range saves {
			if s.Device == device {
				all = append(all, s.Cursor)
			}
		}
	}
	return all
}

func (d *desk) wantSaved(device postbox.DeviceID, want ...postbox.InboxSeq) {
	d.t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, d.saved(device)); diff != "" {
		d.t.Errorf("saved of device %d: -want +got:\n%s", device, diff)
	}
}

// Progress is saved about once a second, all of it in one statement.
func TestCursorsAreSavedOnceASecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		v := d.connect(phone(10), Start{AtEnd: true}).resume()
		other := d.connect(Device{ID: 6, Name: "laptop", QoS: 1, Window: 10}, Start{AtEnd: true}).resume()
		sessionless := d.connect(Device{Name: "page", QoS: 1, Window: 10}, Start{AtEnd: true}).resume()
		for range 5 {
			d.post(d.commit(4))
			v.ackAll()
		}
		other.ackAll()
		sessionless.ackAll()
		d.wantSaved(5)
		rest(saveEvery)
		d.wantSaved(5, 20)
		d.wantSaved(6, 20)
		if n := len(d.db.saves); n != 1 || d.db.marks[alice] != 20 {
			t.Errorf("%d statements, delivered up to %d", n, d.db.marks[alice])
		}
		rest(10 * saveEvery)
		if n := len(d.db.saves); n != 1 {
			t.Errorf("%d statements although nothing moved", n)
		}
		d.post(d.commit(1))
		sessionless.ackAll()
		rest(saveEvery)
		d.wantSaved(5, 20)
		if d.db.marks[alice] != 21 {
			t.Errorf("delivered up to %d", d.db.marks[alice])
		}
	})
}

// The end of a connection does not wait for the second to be over.
func TestCursorIsSavedAtClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		v := d.connect(phone(10), Start{AtEnd: true}).resume()
		d.post(d.commit(4))
		v.ackAll()
		began := time.Now()
		v.close()
		v.sub.Close()
		d.wantSaved(5, 4)
		if waited := time.Since(began); waited != 0 {
			t.Errorf("after %v", waited)
		}
	})
}

// What cannot be saved is saved with the next, and the newest counts.
func TestFailedSaveIsRepeated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.db.set(func() { d.db.failSave = func() error { return errAway } })
		v := d.connect(phone(10), Start{AtEnd: true}).resume()
		other := d.connect(Device{ID: 6, Name: "laptop", QoS: 1, Window: 10}, Start{AtEnd: true}).resume()
		d.post(d.commit(4))
		v.ackAll()
		other.ackAll()
		other.close()
		rest(3 * saveEvery)
		d.post(d.commit(3))
		v.ackAll()
		rest(3 * saveEvery)
		if d.db.cursor(5) != 0 || d.db.cursor(6) != 0 {
			t.Error("saved without a database")
		}
		if all := d.saved(5); !slices.IsSorted(all) || len(all) > 10 {
			t.Errorf("tried to save %v", all)
		}
		d.db.set(func() { d.db.failSave = nil })
		rest(saveEvery)
		if d.db.cursor(5) != 7 || d.db.cursor(6) != 4 {
			t.Errorf("saved %d and %d", d.db.cursor(5), d.db.cursor(6))
		}
		n := len(d.db.saves)
		rest(3 * saveEvery)
		if len(d.db.saves) != n {
			t.Error("saved again what is saved")
		}
	})
}

// The mark of a user whose devices have no session is repeated as well.
func TestFailedSaveWithoutASession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.db.set(func() { d.db.failSave = func() error { return errAway } })
		v := d.connect(Device{Name: "page", QoS: 1, Window: 10}, Start{AtEnd: true}).resume()
		d.post(d.commit(4))
		v.ackAll()
		v.close()
		rest(3 * saveEvery)
		d.db.set(func() { d.db.failSave = nil })
		rest(saveEvery)
		if d.db.marks[alice] != 4 {
			t.Errorf("delivered up to %d", d.db.marks[alice])
		}
	})
}

// A device that returns before its cursor is saved goes on where it was.
func TestReturnBeforeTheSave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.db.set(func() { d.db.failSave = func() error { return errAway } })
		v := d.connect(phone(10), Start{AtEnd: true}).resume()
		d.post(d.commit(8))
		synctest.Wait()
		for range 5 {
			v.ack(0)
		}
		v.close()
		for range 2 {
			v = d.connect(phone(10), Start{After: d.db.cursor(5), Resumed: true}).resume()
			v.want("6", "7", "8")
			v.close()
			rest(2 * saveEvery)
		}
		// Where it says itself that it is counts more.
		v = d.connect(phone(10), Start{After: 2}).resume()
		v.want(numbers(3, 8)...)
		d.db.set(func() { d.db.failSave = nil })
	})
}

// Nothing that moved is lost at the end.
func TestShutdownSavesCursors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		v := d.connect(phone(10), Start{AtEnd: true}).resume()
		d.post(d.commit(4))
		v.ackAll()
		if err := d.hub.FlushCursors(t.Context()); err != nil {
			t.Error(err)
		}
		d.wantSaved(5, 4)
		d.post(d.commit(2))
		v.ackAll()
		if err := d.hub.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		d.wantSaved(5, 4, 6)
	})
}
