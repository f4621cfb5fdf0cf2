package inbox

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"postbox"
)

// of makes a draft somebody's.
func of(user postbox.UserID, d *Draft) *Draft {
	d.User = user
	return d
}

// say is a draft of a message to the room "dev".
func say(o Origin, from postbox.UserID, body string) *Draft {
	d := letter(o, from, "", body)
	d.Publish.Message.Room = "dev"
	return of(from, d)
}

// gated is an Appender that waits before each batch.
type gated struct {
	*database
	gate chan struct{}
}

func (g gated) Append(ctx context.Context, b *postbox.Batch) error {
	<-g.gate
	return g.database.Append(ctx, b)
}

// What goes to many inboxes holds up what its own user sends behind it, in the
// order in which it was sent, and nobody else.
func TestCrowdsHoldUpTheirOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := &office{t: t, db: newDatabase()}
		members := &postbox.Members{Version: 1}
		for i := range smallRoom + 1 {
			members.Users = append(members.Users, postbox.UserID(i+1))
		}
		o.db.rooms = map[postbox.Room]*postbox.Members{"dev": members}
		o.hub = NewHub(o.db, "now", quiet())
		gate := make(chan struct{})
		o.lane = NewLane(LaneOptions{Appender: o.db, Crowd: gated{o.db, gate}, Router: o.db, Hub: o.hub, Logger: quiet()})
		o.lane.Start(t.Context())
		var mine, theirs origin
		o.submit(of(alice, letter(&mine, alice, "bob", "before")), say(&mine, alice, "to all"), of(alice, letter(&mine, alice, "bob", "behind")))
		o.submit(of(bob, letter(&theirs, bob, "carol", "beside")))
		synctest.Wait()
		wantOutcomes(t, &mine, "before")
		wantOutcomes(t, &theirs, "beside")
		flushed := make(chan error, 1)
		go func() { flushed <- o.lane.Flush(t.Context()) }()
		synctest.Wait()
		if len(flushed) > 0 {
			t.Error("the flush does not wait for what goes to many")
		}
		close(gate)
		synctest.Wait()
		wantOutcomes(t, &mine, "before", "to all", "behind")
		if err := <-flushed; err != nil {
			t.Error(err)
		}
		// Then all is as before.
		o.submit(of(alice, letter(&mine, alice, "bob", "at last")))
		synctest.Wait()
		wantOutcomes(t, &mine, "before", "to all", "behind", "at last")
		if n := len(o.lane.ahead) + len(o.lane.behind); n != 0 {
			t.Errorf("%d users are still counted", n)
		}
		if err := o.lane.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Messages of a large room that follow each other are committed together, since they
// share the rows of its members' inboxes; those of different rooms do not.
func TestCrowdsFollowEachOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := &office{t: t, db: newDatabase()}
		members := &postbox.Members{Version: 1}
		for i := range maxRows / 2 {
			members.Users = append(members.Users, postbox.UserID(i+1))
		}
		o.db.rooms = map[postbox.Room]*postbox.Members{"dev": members, "ops": members}
		o.hub = NewHub(o.db, "now", quiet())
		gate := make(chan struct{}, 100)
		o.lane = NewLane(LaneOptions{Appender: o.db, Crowd: gated{o.db, gate}, Router: o.db, Hub: o.hub, Logger: quiet()})
		o.lane.Start(t.Context())
		var origin origin
		to := func(room postbox.Room) *Draft {
			d := say(&origin, alice, string(room))
			d.Publish.Message.Room = room
			return d
		}
		gate <- struct{}{}
		gate <- struct{}{}
		o.submit(to("dev"), to("ops")) // who is in them is known from now on
		synctest.Wait()
		o.submit(to("dev")) // a commit that others wait for
		synctest.Wait()
		for range followCost + 2 {
			o.submit(to("dev"))
		}
		o.submit(to("ops"), to("dev"), to("ops"))
		for range 100 - len(gate) {
			gate <- struct{}{}
		}
		synctest.Wait()
		var sizes []int
		for _, b := range o.db.committed() {
			sizes = append(sizes, len(b))
		}
		if want := []int{1, 1, 1, 1 + followCost, 2, 2}; !slices.Equal(sizes, want) {
			t.Errorf("committed in groups of %d, want %d", sizes, want)
		}
		if err := o.lane.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A room that has changed since its members were looked up is looked up again.
// Who may not write there any more is refused, and then the key is free for what
// the same sender asks for with it behind.
func TestRoomsAreLookedUpAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := newOffice(t)
		o.db.rooms = map[postbox.Room]*postbox.Members{"dev": {Version: 1, Users: []postbox.UserID{alice, bob}}}
		var hers, his origin
		o.submit(say(&hers, alice, "known"), say(&his, bob, "known, too"))
		synctest.Wait()
		o.db.set(func() {
			o.db.rooms["dev"] = &postbox.Members{Version: 2, Users: []postbox.UserID{alice, carol}}
			o.db.failAppend = func(b *postbox.Batch) (err error) {
				for _, p := range b.Publishes {
					if p.Message.Room != "" && p.Members != 2 {
						p.Stale, err = true, postbox.ErrStaleRoute
					}
				}
				return err
			}
		})
		o.together(
			say(&hers, alice, "to carol"),
			key(say(&his, bob, "outside"), "k"),
			key(of(bob, letter(&his, bob, "carol", "instead")), "k"),
		)
		wantOutcomes(t, &hers, "known", "to carol")
		wantOutcomes(t, &his, "known, too", "outside: not_found", "instead")
		if got := hers.settled[1].Publish; got.Members != 2 || len(got.Recipients) != 1 || got.Recipients[0] != carol {
			t.Errorf("stored for %v in version %d", got.Recipients, got.Members)
		}
		if n := o.db.routes[postbox.RouteKey{Sender: alice, Room: "dev"}]; n != 2 {
			t.Errorf("the room was looked up %d times for alice", n)
		}
	})
}
