package inbox

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"postbox"
)

// What is committed goes to the devices that are there, after they were told
// that they are subscribed.
func TestLiveDelivery(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.post(d.commit(2)) // nobody is there
		one := d.connect(phone(10), Start{AtEnd: true})
		d.post(d.commit(1))
		one.want()
		two := d.connect(Device{Name: "laptop", QoS: 1, Window: 10}, Start{AtEnd: true}).resume()
		d.post(d.commit(2))
		one.want()
		one.resume()
		one.want("3", "4", "5")
		two.want("4", "5")
		two.close()
		d.post(d.commit(1))
		one.want("3", "4", "5", "6")
		two.want("4", "5")
		one.close()
		d.post(d.commit(1))
		if len(d.hub.boxes) != 0 {
			t.Errorf("%d mailboxes without a device", len(d.hub.boxes))
		}
	})
}

// Two lanes commit side by side: what arrives too early waits.
func TestEntriesArriveInAnyOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		v := d.connect(phone(10), Start{AtEnd: true}).resume()
		groups := [][]*Draft{d.commit(1), d.commit(2), d.commit(1), d.commit(1)}
		d.post(groups[3])
		d.post(groups[1])
		v.want()
		d.post(groups[0])
		v.want("1", "2", "3")
		d.post(groups[1]) // once more: it changes nothing
		d.post(groups[2])
		v.want("1", "2", "3", "4", "5")
		if d.db.reads != 0 {
			t.Errorf("%d pages were read", d.db.reads)
		}
	})
}

// An entry that never arrives does not hold up those after it: it is read.
func TestHoleIsRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		v := d.connect(phone(10), Start{AtEnd: true}).resume()
		d.commit(2) // by somebody who does not tell
		d.post(d.commit(1))
		v.want()
		rest(5 * time.Second)
		v.want("1", "2", "3")
		d.post(d.commit(1))
		v.want("1", "2", "3", "4")
	})
}

// Also when more comes too early than is held, while a slow device has not
// taken what is in memory.
func TestManyArriveTooEarly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		slow := d.connect(phone(2), Start{AtEnd: true}).resume()
		fast := d.connect(Device{Name: "laptop"}, Start{AtEnd: true}).resume()
		d.post(d.commit(10))
		slow.want("1", "2")
		d.commit(1)
		d.post(d.commit(maxEarly + 10))
		d.post(d.commit(10))
		rest(5 * time.Second)
		slow.ackAll()
		all := numbers(1, 10+1+maxEarly+10+10)
		slow.want(all...)
		fast.want(all...)
		slow.wantCursor(postbox.InboxSeq(len(all)))
		d.post(d.commit(1))
		slow.ackAll()
		slow.want(numbers(1, len(all)+1)...)
	})
}

// What arrives while the mailbox learns where the inbox is, is not lost and
// does not come twice.
func TestEntriesArriveBeforeTheHeadIsKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.post(d.commit(3))
		during := [][]*Draft{d.commit(1), d.commit(1)}
		blocked := &slowReader{database: d.db, asked: make(chan struct{}), answer: make(chan struct{})}
		d.hub.reader = blocked
		connected := make(chan *device)
		go func() { connected <- d.connect(phone(10), Start{After: 1}) }()
		<-blocked.asked
		d.post(during[1])
		d.post(d.commit(1))
		close(blocked.answer)
		v := (<-connected).resume()
		d.post(during[0])
		d.post(d.commit(1))
		v.want(numbers(2, 7)...)
	})
}

// More comes too early than there is room for, just when the database is
// asked: what had no room is noticed all the same.
func TestEntryComesWhileTheHoleIsRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		v := d.connect(Device{Name: "laptop"}, Start{AtEnd: true}).resume()
		d.commit(1)
		blocked := &slowReader{database: d.db, asked: make(chan struct{}), answer: make(chan struct{})}
		d.hub.reader = blocked
		d.post(d.commit(maxEarly))
		<-blocked.asked
		d.post(d.commit(1))
		d.hub.reader = d.db
		close(blocked.answer)
		rest(5 * time.Second)
		v.want(numbers(1, maxEarly+2)...)
	})
}

// A device that knows more than has arrived here yet is not ahead of its inbox.
func TestStartBeyondWhatHasArrived(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.connect(Device{Name: "laptop"}, Start{AtEnd: true}).resume()
		late := d.commit(5)
		v := d.connect(phone(10), Start{After: 4}).resume()
		v.want()
		d.post(late)
		v.want("5")
	})
}

// slowReader answers for the head when it may; what it says is what was true
// when it was asked.
type slowReader struct {
	*database
	asked, answer chan struct{}
}

func (r *slowReader) Head(ctx context.Context, user postbox.UserID) (postbox.InboxSeq, error) {
	head, err := r.database.Head(ctx, user)
	close(r.asked)
	<-r.answer
	return head, err
}

// A page of the database, then live: no gap between and no repeat.
func TestCatchUpMeetsTheHead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.post(d.commit(3000))
		v := d.connect(phone(64), Start{After: 100, Resumed: true}).resume()
		for range 20 {
			synctest.Wait()
			for range 40 {
				v.ack(7)
			}
			d.post(d.commit(10))
		}
		v.ackAll()
		v.want(numbers(101, 3200)...)
		v.wantCursor(3200)
		reads := d.db.reads
		d.post(d.commit(1))
		v.want(numbers(101, 3201)...)
		if d.db.reads != reads {
			t.Error("a device at the head still reads pages")
		}
	})
}

// Where a device says it is counts from its very first entry to beyond the end.
func TestStart(t *testing.T) {
	for name, test := range map[string]struct {
		at   Start
		want []string
	}{
		"at the end":        {Start{AtEnd: true}, []string{"6"}},
		"at the beginning":  {Start{}, numbers(1, 6)},
		"in the middle":     {Start{After: 3}, numbers(4, 6)},
		"at the last entry": {Start{After: 5}, []string{"6"}},
		"beyond the end":    {Start{After: 9}, []string{"gap epoch_changed 5…6", "6"}},
		"in another epoch":  {Start{AtEnd: true, After: 3, Lost: postbox.CodeEpochChanged}, []string{"gap epoch_changed 3…6", "6"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := newDesk(t)
				d.post(d.commit(5))
				v := d.connect(phone(10), test.at).resume()
				synctest.Wait()
				d.post(d.commit(1))
				v.want(test.want...)
				v.ackAll()
				v.wantCursor(6)
			})
		})
	}
}

// The tail in memory is bounded, by number and by bytes; a device that is
// slower reads.
func TestTailIsBounded(t *testing.T) {
	for name, test := range map[string]struct {
		body []byte
		most int
	}{"by number": {nil, maxTail}, "by bytes": {make([]byte, 64<<10), maxTailBytes / (64 << 10)}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := newDesk(t)
				v := d.connect(phone(10), Start{AtEnd: true}).resume()
				box := d.hub.boxes[alice]
				const rounds, each = 30, 40
				most := 0
				for range rounds {
					d.post(d.commitFrom(bob, "", each, test.body))
					synctest.Wait()
					most = max(most, len(box.tail))
				}
				if most != test.most && most != test.most-1 {
					t.Errorf("%d entries in memory, at most %d", most, test.most)
				}
				v.ackAll()
				v.want(numbers(1, rounds*each)...)
				if len(box.tail) != 0 || box.tailBytes != 0 {
					t.Errorf("%d entries, %d bytes for nobody", len(box.tail), box.tailBytes)
				}
			})
		})
	}
}

// Nothing is kept in memory for devices that are up to date.
func TestTailIsEmptyWhenNobodyWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		v := d.connect(phone(100), Start{AtEnd: true}).resume()
		d.post(d.commit(50))
		v.want(numbers(1, 50)...)
		if box := d.hub.boxes[alice]; len(box.tail) != 0 || box.tailBytes != 0 {
			t.Errorf("%d entries, %d bytes", len(box.tail), box.tailBytes)
		}
	})
}

func TestSubscribeWithoutADatabase(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.db.set(func() { d.db.failHead = func() error { return errAway } })
		if _, err := d.hub.Subscribe(t.Context(), Device{User: alice, QoS: 1, Window: 1}, Start{AtEnd: true}, &device{}); !errors.Is(err, postbox.ErrUnavailable) {
			t.Errorf("%v", err)
		}
		if len(d.hub.boxes) != 0 {
			t.Error("a mailbox was left")
		}
		d.db.set(func() { d.db.failHead = nil })
		v := d.connect(phone(10), Start{AtEnd: true}).resume()
		d.post(d.commit(1))
		v.want("1")
	})
}

// A page that cannot be read is read again, until it can.
func TestReadingIsRetried(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.post(d.commit(50))
		d.db.set(func() { d.db.failRead = func() error { return errAway } })
		v := d.connect(phone(100), Start{}).resume()
		rest(time.Minute)
		v.want()
		if d.db.reads > 80 {
			t.Errorf("%d tries in a minute", d.db.reads)
		}
		d.db.set(func() { d.db.failRead = nil })
		d.post(d.commit(1))
		rest(time.Second)
		v.want(numbers(1, 51)...)
	})
}

// The hub ends also while a device is reading and the database is away.
func TestShutdownEndsReading(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk(t)
		d.post(d.commit(50))
		d.db.set(func() { d.db.failRead = func() error { return errAway } })
		v := d.connect(phone(100), Start{}).resume()
		synctest.Wait()
		for range 2 {
			if err := d.hub.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
		v.close()
		if got := slices.Clone(v.got); len(got) != 0 {
			t.Errorf("%v", got)
		}
	})
}
