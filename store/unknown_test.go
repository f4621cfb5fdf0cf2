package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
)

const (
	appending = "postbox.append("
	fencing   = "UPDATE postbox.lanes"
	looking   = "JOIN postbox.messages m ON m.id = u.id" // for a batch of unknown outcome
	numbering = "coalesce(i.inbox_seq, 0)"               // reading its recipients' numbers
)

// A connection that ends while a batch is being stored leaves nobody knowing
// whether it was. The lane finds out: every batch is stored exactly once, and
// its numbers are told right, wherever the cut was and also when the finding
// out is cut.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]cut{"before": before, "racing": racing, "after": after} {
		for _, reset := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reset %v", name, reset), func(t *testing.T) {
				t.Parallel()
				unknownOutcomes(t, c, reset)
			})
		}
	}
}

func unknownOutcomes(t *testing.T, c cut, reset bool) {
	users := []postbox.User{"alice", "bob", "carol"}
	w := newWorld(t, users...)
	wire, url := newWire(t, w.url)
	wire.reset = reset
	l := w.laneOf(w.open(url), 0)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var all []*postbox.Publish
	const rounds = 12
	for range rounds {
		var fresh, used []*postbox.Publish
		for range 1 + random.IntN(4) {
			p := w.publish(users[random.IntN(3)], users[random.IntN(3)], fmt.Sprint("message ", len(all)))
			if random.IntN(2) == 0 {
				p.Message.Key = p.Message.ID.String()
			}
			fresh, all = append(fresh, p), append(all, p)
		}
		if old := all[random.IntN(len(all)-len(fresh)+1)]; old.Message.Key != "" && old.Message.Seq != 0 {
			again := w.draft(old.Message.Conversation, old.Message.From, old.Message.To, string(old.Message.Body))
			used = append(used, keyed(again, old.Message.Key))
		}
		left := map[string]int{appending: 1 + random.IntN(2), fencing: random.IntN(3), looking: random.IntN(2), numbering: random.IntN(2)}
		wire.on(func(query string) cut {
			for statement := range left {
				if strings.Contains(query, statement) && left[statement] > 0 {
					left[statement]--
					return c
				}
			}
			return pass
		})
		if err := w.persist(l, batch(append(used, fresh...)...)); err != nil {
			t.Fatal(err)
		}
		w.agree(fresh...)
		for _, p := range used {
			if p.Used == nil {
				t.Errorf("%s was stored again", p.Message.Body)
			}
		}
	}
	w.audit(len(all))
	if wire.count() < rounds {
		t.Errorf("%d cuts in %d rounds", wire.count(), rounds)
	}
}

// What of a batch is stored beside keys that were used before is found, too.
func TestUnknownOutcomeBesideUsedKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	wire, url := newWire(t, w.url)
	l := w.laneOf(w.open(url), 0)
	first := keyed(w.publish("alice", "bob", "first"), "k")
	w.append(l, first)
	for i, c := range []cut{before, racing, after} {
		again, fresh := keyed(w.publish("alice", "bob", "first"), "k"), w.publish("bob", "alice", fmt.Sprint("fresh ", i))
		calls := 0
		wire.on(func(query string) cut {
			if !strings.Contains(query, appending) {
				return pass
			}
			if calls++; calls == 2 { // the first finds the key
				return c
			}
			return pass
		})
		if err := w.persist(l, batch(again, fresh)); err != nil {
			t.Fatal(err)
		}
		want := stored(first)
		if diff := cmp.Diff(&want, again.Used); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		w.agree(fresh)
	}
	w.audit(4)
}

// While the outcome is not known the lane takes no other batch: it could be
// numbered before one that was already acknowledged as later.
func TestUnknownOutcomeHoldsTheLane(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	wire, url := newWire(t, w.url)
	wire.reset = true
	l := w.laneOf(w.open(url), 0)
	first, second := batch(w.publish("alice", "bob", "first")), batch(w.publish("alice", "bob", "second"))
	wire.once(appending, after)
	if err := l.Append(t.Context(), first); !errors.Is(err, postbox.ErrUnavailable) {
		t.Fatalf("cut after commit: %v", err)
	}
	if err := l.Append(t.Context(), second); err == nil || errors.Is(err, errFenced) {
		t.Errorf("another batch: %v", err)
	}
	for _, b := range []*postbox.Batch{first, second} {
		if err := w.persist(l, b); err != nil {
			t.Fatal(err)
		}
		w.agree(b.Publishes...)
	}
	if diff := cmp.Diff([]string{"first", "second"}, bodies(w.entries("bob"))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A batch of nothing but QoS 2 ids has no message to be found by; storing it
// again does no harm.
func TestUnknownOutcomeOfIDsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	device := w.session("alice", "phone").Device
	wire, url := newWire(t, w.url)
	wire.reset = true
	l := w.laneOf(w.open(url), 0)
	p := w.publish("alice", "bob", "x")
	w.append(l, p)
	for _, c := range []cut{before, racing, after} {
		wire.once(appending, c)
		open := &postbox.Batch{Now: time.Now(), Opened: []postbox.OpenPublish{{Device: device, PacketID: 7, Message: p.Message.ID, Digest: p.Digest}}}
		if err := w.persist(l, open); err != nil {
			t.Fatal(err)
		}
		if got, err := w.store.OpenPublishes(t.Context(), device); err != nil || len(got) != 1 {
			t.Errorf("%v: %+v, %v", c, got, err)
		}
		wire.once(appending, c)
		closed := &postbox.Batch{Now: time.Now(), Closed: []postbox.OpenPublish{{Device: device, PacketID: 7}}}
		if err := w.persist(l, closed); err != nil {
			t.Fatal(err)
		}
		if got, err := w.store.OpenPublishes(t.Context(), device); err != nil || len(got) != 0 {
			t.Errorf("%v: %+v, %v", c, got, err)
		}
	}
	w.audit(1)
}

// The administrator's pg_terminate_backend in the middle of a batch costs a
// retry.
func TestTerminatedWhileAppending(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	const rounds = 5
	for i := range rounds {
		p := w.publish("alice", "bob", fmt.Sprint(i))
		tx, err := w.store.DB().BeginTxx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(`SELECT 1 FROM postbox.logs FOR UPDATE`); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- w.persist(l, batch(p)) }()
		w.waitFor("the batch", blocked, appending, 1)
		const end = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		              WHERE datname = current_database() AND wait_event_type = 'Lock' AND position($1 IN query) > 0`
		w.exec(end, appending)
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.agree(p)
	}
	// Between two batches, too.
	w.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND position($1 IN query) > 0 AND pid <> pg_backend_pid()`, appending)
	p := w.publish("alice", "bob", "last")
	if err := w.persist(l, batch(p)); err != nil {
		t.Fatal(err)
	}
	w.agree(p)
	w.audit(rounds + 1)
}

// A will that an earlier batch has stored is no sign that this one was: what is
// beside it is stored all the same, once.
func TestUnknownOutcomeBesideAStoredWill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	wire, url := newWire(t, w.url)
	wire.reset = true
	l := w.laneOf(w.open(url), 0)
	stored := 0
	for _, c := range []cut{before, racing, after} {
		for _, to := range []postbox.User{"alice", "bob"} {
			will := w.will("alice", "bob", fmt.Sprintf("will %d", stored), 0)
			w.openWith(will)
			w.append(l, w.willed(will))
			p := w.publish("alice", to, fmt.Sprintf("beside %d", stored))
			again := w.willed(will)
			wire.once(appending, c)
			if err := w.persist(l, batch(again, p)); err != nil {
				t.Fatal(err)
			}
			if !again.Gone {
				t.Errorf("%v: the will is not gone", c)
			}
			w.agree(p)
			stored += 2
		}
	}
	w.audit(stored)
}
