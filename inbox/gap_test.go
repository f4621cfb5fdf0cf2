package inbox

import (
	"testing"
	"testing/synctest"
	"time"

	"postbox"
)

// What retention has removed is announced ahead of what comes after it, and
// the acknowledgement of that moves the cursor.
func TestGaps(t *testing.T) {
	for name, test := range map[string]struct {
		removed [][2]postbox.InboxSeq
		window  int
		want    []string
	}{
		"at the beginning":        {[][2]postbox.InboxSeq{{1, 7}}, 10, []string{"gap expired 0…8", "8", "9", "10"}},
		"in the middle":           {[][2]postbox.InboxSeq{{3, 8}}, 10, []string{"1", "2", "gap expired 2…9", "9", "10"}},
		"one entry":               {[][2]postbox.InboxSeq{{9, 9}}, 10, append(numbers(1, 8), "gap expired 8…10", "10")},
		"the first alone":         {[][2]postbox.InboxSeq{{1, 1}}, 10, append([]string{"gap expired 0…2"}, numbers(2, 10)...)},
		"twice":                   {[][2]postbox.InboxSeq{{1, 3}, {5, 9}}, 10, []string{"gap expired 0…4", "4", "gap expired 4…10", "10"}},
		"all":                     {[][2]postbox.InboxSeq{{1, 10}}, 10, []string{"gap expired 0…11"}},
		"at the end":              {[][2]postbox.InboxSeq{{8, 10}}, 10, append(numbers(1, 7), "gap expired 7…11")},
		"with a window of 1":      {[][2]postbox.InboxSeq{{1, 3}, {5, 9}}, 1, []string{"gap expired 0…4", "4", "gap expired 4…10", "10"}},
		"end, with a full window": {[][2]postbox.InboxSeq{{4, 10}}, 3, []string{"1", "2", "3", "gap expired 3…11"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := newDesk(t)
				d.commit(10)
				for _, r := range test.removed {
					d.db.remove(alice, r[0], r[1])
				}
				v := d.connect(phone(test.window), Start{}).resume()
				synctest.Wait()
				v.ackAll()
				v.want(test.want...)
				v.wantCursor(10)
				d.post(d.commit(1))
				v.want(append(test.want, "11")...)
			})
		})
	}
}

// The cursor does not pass a gap that the device has not acknowledged: it
// would never hear of it.
func TestCursorWaitsForTheGap(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.commit(10)
		d.db.remove(alice, 3, 8)
		v := d.connect(phone(10), Start{}).resume()
		v.want("1", "2", "gap expired 2…9", "9", "10")
		v.ack(0)
		v.ack(0)
		v.wantCursor(2)
		v.ack(1) // 9
		v.wantCursor(2)
		v.ack(0) // the gap
		v.wantCursor(9)
	})
}

// A gap between two epochs comes first of all, also to a device that reads
// nothing else.
func TestLostComesFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.commit(5)
		v := d.connect(phone(1), Start{AtEnd: true, After: 77, Lost: postbox.CodeEpochChanged})
		d.post(d.commit(2))
		v.want()
		v.setBusy(true)
		v.resume()
		v.want()
		v.setBusy(false)
		v.want("gap epoch_changed 77…6")
		v.ackAll()
		v.want("gap epoch_changed 77…6", "6", "7")
		if got := v.got[0].After; got != 5 {
			t.Errorf("after %d", got)
		}
		v.wantCursor(7)
	})
}

// In an empty inbox there is no entry before the gap; it is acknowledged all
// the same, before anything else comes to a device with a window of one.
func TestLostInAnEmptyInbox(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		v := d.connect(phone(1), Start{AtEnd: true, After: 3, Lost: postbox.CodeEpochChanged}).resume()
		v.want("gap epoch_changed 3…1")
		d.post(d.commit(2))
		v.want("gap epoch_changed 3…1")
		v.ackAll()
		v.want("gap epoch_changed 3…1", "1", "2")
		v.wantCursor(2)
	})
}

// A cursor of another epoch stays one until the device has acknowledged the
// news: whoever is cut off before is told again.
func TestCursorOfAnotherEpochIsKeptUntilTheNewsIsHeard(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.commit(5)
		lost := Start{After: 3, Lost: postbox.CodeEpochChanged, Resumed: true}
		for range 2 {
			v := d.connect(phone(10), lost).resume()
			v.want("gap epoch_changed 3…4", "4", "5")
			v.ack(2)
			v.ack(1)
			rest(2 * saveEvery)
			if n := len(d.db.saves); n > 0 {
				t.Errorf("saved %v", d.db.saves)
			}
			if v.sub.Unheard() != postbox.CodeEpochChanged {
				t.Errorf("unheard is %q", v.sub.Unheard())
			}
			v.close()
		}
		v := d.connect(phone(10), lost).resume()
		v.want("gap epoch_changed 3…4", "4", "5")
		v.ack(0) // the gap: the cursor is the same number, of this epoch
		if v.sub.Unheard() != "" {
			t.Errorf("unheard is %q", v.sub.Unheard())
		}
		v.wantCursor(3)
		rest(2 * saveEvery)
		if n := len(d.db.saves); n != 1 || d.db.saves[0][0] != (postbox.CursorSave{User: alice, Device: 5, Cursor: 3, Epoch: "now"}) {
			t.Errorf("saved %v", d.db.saves)
		}
	})
}

// An expired entry is spared, and the cursor passes it.
func TestExpiredIsSpared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.commit(4)
		for _, n := range []int{1, 3} {
			d.db.logs[alice][n].Message.ExpiresAt = time.Now().Add(time.Minute)
		}
		v := d.connect(phone(10), Start{}).resume()
		v.want("1", "2", "3", "4")
		v.close()
		time.Sleep(2 * time.Minute)
		v = d.connect(phone(10), Start{}).resume()
		v.want("1", "3")
		if got := v.got[1].After; got != 1 {
			t.Errorf("after %d", got)
		}
		v.ackAll()
		v.wantCursor(4)
	})
}
