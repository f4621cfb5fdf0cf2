package inbox

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"postbox"
)

// sender writes again half a millisecond after its last message was acknowledged, as
// long as it has some left.
type sender struct {
	office *office
	user   postbox.UserID
	left   int
}

func (s *sender) send() {
	if s.left--; s.left < 0 {
		return
	}
	if err := s.office.lane.Submit(of(s.user, letter(s, s.user, "bob", "x"))); err != nil {
		s.office.t.Error(err)
	}
}

func (s *sender) Settled(*Draft) { time.AfterFunc(500*time.Microsecond, s.send) }
func (s *sender) Flush()         {}

// Senders that wait for each acknowledgement come to be in one group, although half of
// them began while the others' commit was under way.
func TestSendersAreGathered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const senders, each = 20, 12
		o := newOffice(t)
		o.db.set(func() {
			o.db.failAppend = func(*postbox.Batch) error { time.Sleep(4 * time.Millisecond); return nil }
		})
		for i := range senders {
			s := &sender{o, postbox.UserID(1000 + i), each}
			time.AfterFunc(time.Duration(i%2)*2*time.Millisecond, s.send)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		all := o.db.committed()
		for i, batch := range all {
			if i > 3 && i < each && len(batch) != senders {
				t.Errorf("group %d is of %d of %d senders", i, len(batch), senders)
			}
		}
		if len(all) > each+2 {
			t.Errorf("%d groups for %d messages of each sender", len(all), each)
		}
	})
}

// Where few write nothing waits; and those who do not come back are waited for a
// moment, twice.
func TestGatheringEnds(t *testing.T) {
	for _, test := range []struct {
		senders int
		want    []time.Duration // that a single message takes afterwards
	}{
		{gatherUsers - 1, []time.Duration{0, 0, 0}},
		{gatherUsers, []time.Duration{time.Millisecond, time.Millisecond, 0}},
	} {
		t.Run(fmt.Sprint(test.senders), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				o := newOffice(t)
				o.db.set(func() {
					o.db.failAppend = func(*postbox.Batch) error { time.Sleep(4 * time.Millisecond); return nil }
				})
				gate := o.hold()
				var one origin
				o.submit(of(alice, letter(&one, alice, "bob", "first")))
				synctest.Wait()
				for i := range test.senders - 1 {
					user := postbox.UserID(1000 + i)
					o.submit(of(user, letter(&one, user, "bob", "x")))
				}
				close(gate)
				time.Sleep(time.Second)
				for i, want := range test.want {
					began := time.Now()
					o.submit(of(alice, letter(&one, alice, "bob", "y")))
					for n := len(one.outcomes()); len(one.outcomes()) == n; {
						time.Sleep(10 * time.Microsecond)
					}
					if took := time.Since(began) - 4*time.Millisecond; took < want || took > want+20*time.Microsecond {
						t.Errorf("message %d took %v more than its commit, want %v", i+1, took, want)
					}
				}
			})
		})
	}
}
