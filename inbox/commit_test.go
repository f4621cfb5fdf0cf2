package inbox

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"postbox"
)

// together submits drafts so that they are one group.
func (o *office) together(drafts ...*Draft) {
	o.t.Helper()
	gate := o.hold()
	o.submit(letter(nil, carol, "carol", "plug"))
	synctest.Wait()
	o.submit(drafts...)
	close(gate)
	synctest.Wait()
	o.db.set(func() { o.db.inAppend = nil })
}

// A key that comes twice in one group is one message.
func TestRepeatsInsideAGroup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		var phone, laptop, theirs origin
		o.together(
			key(letter(&phone, alice, "bob", "x"), "k"),
			key(letter(&laptop, alice, "bob", "x"), "k"),
			key(letter(&phone, alice, "bob", "y"), "k"),
			key(letter(&phone, alice, "carol", "x"), "k"),
			key(letter(&theirs, bob, "alice", "x"), "k"),
			letter(&phone, alice, "bob", "x"),
			key(letter(&laptop, alice, "bob", "x"), "k"),
		)
		wantOutcomes(t, &phone, "x", "y: conflict", "x: conflict", "x")
		wantOutcomes(t, &laptop, "x: duplicate of 1", "x: duplicate of 1")
		wantOutcomes(t, &theirs, "x")
		o.wantBatches([]string{"plug"}, []string{"x", "x", "x"})
		if first, again := phone.settled[0], laptop.settled[0]; again.Stored != first.Stored || again.Stored.ID != first.Publish.Message.ID {
			t.Errorf("stored as %+v, repeated as %+v", first.Stored, again.Stored)
		}
	})
}

func TestKeysUsedBefore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		var phone origin
		o.submit(key(letter(&phone, alice, "bob", "x"), "k"))
		synctest.Wait()
		o.together(
			key(letter(&phone, alice, "bob", "x"), "k"),
			letter(&phone, alice, "bob", "between"),
			key(letter(&phone, alice, "bob", "y"), "k"),
			key(letter(&phone, alice, "bob", "x"), "k"),
		)
		wantOutcomes(t, &phone, "x", "x: duplicate of 1", "between", "y: conflict", "x: duplicate of 1")
		if first, again := phone.settled[0].Stored, phone.settled[4].Stored; again.ID != first.ID || again.InboxSeq != first.InboxSeq {
			t.Errorf("stored as %+v, told %+v", first, again)
		}
	})
}

// A key that was used before, and comes twice in one group, first with something
// else: the second is judged by what is stored, not by the first.
func TestKeyUsedBeforeTwiceInAGroup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		var phone origin
		o.submit(key(letter(&phone, alice, "bob", "x"), "k"))
		synctest.Wait()
		o.together(
			key(letter(&phone, alice, "bob", "y"), "k"),
			key(letter(&phone, alice, "bob", "x"), "k"),
			key(letter(&phone, alice, "bob", "y"), "k"),
		)
		wantOutcomes(t, &phone, "x", "y: conflict", "x: duplicate of 1", "y: conflict")
	})
}

// A re-send of a draft that is still on its way has that draft's fate, in the
// same group and in a later one.
func TestEarlierDrafts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		o.db.set(func() {
			o.db.failAppend = func(b *postbox.Batch) error {
				for _, p := range b.Publishes {
					if p.Message.ContentType == "bad" {
						return errBroken
					}
				}
				return nil
			}
		})
		var phone origin
		again := func(d *Draft) *Draft {
			r := letter(&phone, d.Publish.Message.Sender, d.To, string(d.Publish.Message.Body))
			r.Earlier = d
			return r
		}
		good, bad, lost := letter(&phone, alice, "bob", "good"), letter(&phone, alice, "bob", "bad"), letter(&phone, alice, "nobody", "lost")
		bad.Publish.Message.ContentType = "bad"
		goodAgain := again(good)
		o.together(good, bad, lost, goodAgain, again(bad), again(lost), again(goodAgain))
		o.together(again(good), again(bad), again(lost), again(goodAgain))
		once := []string{"good: duplicate of 1", "bad: internal", "lost: not_found", "good: duplicate of 1"}
		wantOutcomes(t, &phone, append(append([]string{"good", "bad: internal", "lost: not_found"}, once...), once...)...)
	})
}

// Of a QoS 2 id only its last state in a group counts.
func TestOpenIDsOfAGroup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		var phone origin
		publish := func(body string, device postbox.DeviceID, id uint16) *Draft {
			d := letter(&phone, alice, "bob", body)
			d.Device, d.Publish.PacketID, d.Publish.QoS = device, id, 2
			return d
		}
		release := func(device postbox.DeviceID, id uint16) *Draft {
			return &Draft{Action: Release, Origin: &phone, Device: device, Publish: postbox.Publish{PacketID: id, QoS: 2}}
		}
		stays, closes, reopens := publish("stays", 5, 1), publish("closes", 5, 2), publish("reopens", 5, 3)
		refused, sessionless, known := publish("refused", 5, 4), publish("sessionless", 0, 5), publish("known", 5, 6)
		refused.Refusal = postbox.ErrInvalid
		known.known(postbox.Stored{ID: postbox.MessageID{9}})
		resent := publish("stays", 6, 1)
		resent.Earlier = stays
		keyed, contrary := key(publish("keyed", 5, 8), "k"), key(publish("contrary", 5, 9), "k")
		o.together(stays, closes, release(5, 2), reopens, release(5, 3), publish("again", 5, 3), refused, sessionless, release(0, 5), known, resent, release(5, 7), keyed, contrary)
		opened, closed := map[postbox.OpenPublish]bool{}, map[postbox.OpenPublish]bool{}
		for _, p := range o.db.opened {
			p.Digest = postbox.Digest{}
			opened[p] = true
		}
		for _, p := range o.db.closed {
			closed[postbox.OpenPublish{Device: p.Device, PacketID: p.PacketID}] = true
		}
		again := publish("again", 5, 3).Publish.Message.ID
		wantOpened := map[postbox.OpenPublish]bool{
			{Device: 5, PacketID: 1, Message: stays.Publish.Message.ID}: true,
			{Device: 5, PacketID: 3, Message: again}:                    true,
			{Device: 5, PacketID: 6, Message: postbox.MessageID{9}}:     true,
			{Device: 6, PacketID: 1, Message: stays.Publish.Message.ID}: true,
			{Device: 5, PacketID: 8, Message: keyed.Publish.Message.ID}: true,
		}
		wantClosed := map[postbox.OpenPublish]bool{{Device: 5, PacketID: 2}: true, {Device: 5, PacketID: 7}: true}
		if diff := cmp.Diff(wantOpened, opened); diff != "" {
			t.Errorf("opened: -want +got:\n%s", diff)
		}
		if diff := cmp.Diff(wantClosed, closed); diff != "" {
			t.Errorf("closed: -want +got:\n%s", diff)
		}
	})
}

// A release alone is committed before it is answered.
func TestReleaseWaitsForItsCommit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		gate := o.hold()
		var phone origin
		o.submit(&Draft{Action: Release, Origin: &phone, Device: 5, Publish: postbox.Publish{PacketID: 1, QoS: 2}})
		synctest.Wait()
		wantOutcomes(t, &phone)
		close(gate)
		synctest.Wait()
		wantOutcomes(t, &phone, "release")
	})
}

// Routes are looked up once; a refusal each time.
func TestRoutesAreRemembered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		var phone origin
		asked := func(to postbox.User, want int) {
			t.Helper()
			if got := o.db.routes[postbox.RouteKey{Sender: alice, To: to}]; got != want {
				t.Errorf("%s was looked up %d times, want %d", to, got, want)
			}
		}
		for range 2 {
			o.together(letter(&phone, alice, "bob", "1"), letter(&phone, alice, "bob", "2"), letter(&phone, alice, "nobody", "3"), letter(&phone, alice, "nobody", "4"))
		}
		asked("bob", 1)
		asked("nobody", 2)
		o.lane.Forget()
		o.together(letter(&phone, alice, "bob", "1"), letter(&phone, alice, "alice", "2"))
		asked("bob", 2)
		if n := len(o.db.logs[bob]); n != 5 {
			t.Errorf("bob has %d entries", n)
		}
		if n := len(o.db.logs[alice]); n != 6 {
			t.Errorf("alice has %d entries", n)
		}
	})
}

// A route that was being looked up while something changed is not remembered.
func TestForgetWhileLookingUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		var phone origin
		o.db.set(func() { o.db.failRoutes = func() error { o.lane.Forget(); return nil } })
		o.submit(letter(&phone, alice, "bob", "1"))
		synctest.Wait()
		o.db.set(func() { o.db.failRoutes = nil })
		o.submit(letter(&phone, alice, "bob", "2"))
		synctest.Wait()
		wantOutcomes(t, &phone, "1", "2")
		if n := o.db.routes[postbox.RouteKey{Sender: alice, To: "bob"}]; n != 2 {
			t.Errorf("looked up %d times", n)
		}
	})
}

// What a lane has committed is delivered, and nothing else: no refused draft
// and no repetition.
func TestCommittedIsDelivered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		d := &desk{t: t, db: o.db, hub: o.hub}
		alices := d.connect(phone(100), Start{AtEnd: true}).resume()
		var phone origin
		for range 2 {
			o.together(
				key(letter(&phone, alice, "bob", "x"), "k"), key(letter(&phone, alice, "bob", "x"), "k"), key(letter(&phone, alice, "bob", "y"), "k"),
				letter(&phone, alice, "nobody", "z"), letter(&phone, bob, "alice", "answer"), letter(&phone, alice, "alice", "note"),
			)
		}
		alices.want(numbers(1, 5)...)
		var got []string
		for _, d := range alices.got {
			got = append(got, fmt.Sprint(string(d.Entry.Message.Body), " ", d.Entry.Message.Seq, " own ", d.Entry.Own))
		}
		want := []string{"x 1 own true", "answer 2 own false", "note 1 own true", "answer 3 own false", "note 2 own true"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// The key of a will that turns out to be gone is free: what comes after it in
// the same group is judged by what is stored, and keeps its place.
func TestKeyOfAWill(t *testing.T) {
	for name, gone := range map[string]bool{"stored": false, "gone": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				o := newOffice(t)
				var wills, phone origin
				o.db.set(func() {
					o.db.failAppend = func(b *postbox.Batch) error {
						used := make(map[string]bool)
						for _, p := range b.Publishes {
							if k := p.Message.Key; k != "" && used[k] {
								return errBroken // as the unique index would
							}
							used[p.Message.Key] = true
							p.Gone = p.Will && gone
						}
						b.Publishes = slices.DeleteFunc(b.Publishes, func(p *postbox.Publish) bool { return p.Gone })
						return nil
					}
				})
				will := func(d *Draft) *Draft {
					d.Publish.Will = true
					return key(d, "k")
				}
				o.together(
					letter(&phone, alice, "bob", "first"),
					will(letter(&wills, alice, "bob", "x")),
					key(letter(&phone, alice, "bob", "x"), "k"),
					will(letter(&wills, alice, "bob", "x")),
					key(letter(&phone, alice, "bob", "y"), "k"),
					letter(&phone, alice, "bob", "last"),
				)
				if gone {
					wantOutcomes(t, &wills, "x: not_found", "x: duplicate of 2")
					wantOutcomes(t, &phone, "first", "x", "y: conflict", "last")
					o.wantBatches([]string{"plug"}, []string{"first"}, []string{"x", "last"})
				} else {
					wantOutcomes(t, &wills, "x", "x: duplicate of 2")
					wantOutcomes(t, &phone, "first", "x: duplicate of 2", "y: conflict", "last")
					o.wantBatches([]string{"plug"}, []string{"first", "x"}, []string{"last"})
				}
			})
		})
	}
}
