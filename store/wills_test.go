package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postbox"
	"postbox/store"
)

func (w *world) will(from, to postbox.User, body string, delay time.Duration) *store.Will {
	return &store.Will{
		ID: newID(), User: w.ids[from], From: from, ClientID: "phone", Delay: delay, To: to, Body: []byte(body),
		Key: "k-" + body, ContentType: "text/x", Ref: `{"a":1}`, Expiry: 7,
	}
}

// willed is the publish that a will becomes.
func (w *world) willed(will *store.Will) *postbox.Publish {
	w.t.Helper()
	p := w.publish(will.From, will.To, string(will.Body))
	p.Message.ID, p.Will = will.ID, true
	return p
}

// openWith opens the session of a device with a will.
func (w *world) openWith(will *store.Will, change ...func(*store.SessionRequest)) store.Session {
	w.t.Helper()
	r := w.request(will.From, will.ClientID)
	r.Will = will
	for _, f := range change {
		f(&r)
	}
	return w.openSession(r)
}

// due lists the bodies of the wills that are due.
func (w *world) due() []string {
	w.t.Helper()
	wills, err := w.store.DueWills(w.t.Context(), store.Will{}, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	return bodiesOf(wills)
}

func bodiesOf(wills []store.Will) []string {
	var all []string
	for _, will := range wills {
		all = append(all, string(will.Body))
	}
	return all
}

func (w *world) release(will *store.Will, after time.Duration) {
	w.t.Helper()
	if err := w.store.ReleaseWill(w.t.Context(), will.ID, after); err != nil {
		w.t.Fatal(err)
	}
}

// A will is not due while its connection lives, and read as it was stored.
func TestWillIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	full, empty := w.will("alice", "bob", "full", 3*time.Second), &store.Will{ID: newID(), User: w.ids["bob"], From: "bob", ClientID: "tablet", To: "alice"}
	w.openWith(full)
	w.openWith(empty)
	w.openWith(empty, func(r *store.SessionRequest) { r.Life = 0 }) // the same CONNECT, tried again
	if got := w.due(); got != nil {
		t.Errorf("due: %q", got)
	}
	w.release(empty, -time.Second)
	w.release(full, 0)
	w.release(full, time.Hour) // the first note counts
	for _, page := range []int{1, 2} {
		var got []store.Will
		var last store.Will
		for {
			due, err := w.store.DueWills(t.Context(), last, page)
			if err != nil {
				t.Fatal(err)
			}
			if len(due) == 0 {
				break
			}
			got, last = append(got, due...), due[len(due)-1]
		}
		want := []store.Will{*empty, *full}
		want[0].Body = []byte{}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(store.Will{}, "Due")); diff != "" {
			t.Errorf("pages of %d: -want +got:\n%s", page, diff)
		}
	}
	if err := w.store.SetDisabled(t.Context(), "bob", true); err != nil {
		t.Fatal(err)
	}
	due, err := w.store.DueWills(t.Context(), store.Will{}, 1)
	if err != nil || len(due) != 1 || !due[0].Barred {
		t.Errorf("of a disabled user: %v, %+v", err, due)
	}
	for _, will := range []*store.Will{full, empty, full} {
		if err := w.store.DropWill(t.Context(), will.ID); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.due(); got != nil {
		t.Errorf("due after all were dropped: %q", got)
	}
}

// The device's return takes a will back that still waits, if the session is
// resumed; every other one is due then.
func TestWillAtTheDevicesReturn(t *testing.T) {
	t.Parallel()
	resumed := func(*store.SessionRequest) {}
	clean := func(r *store.SessionRequest) { r.Clean = true }
	for name, c := range map[string]struct {
		delay  time.Duration
		life   time.Duration
		noted  time.Duration // after the end of the connection; negative: not at all
		change func(*store.SessionRequest)
		due    []string
	}{
		"in time":               {time.Minute, hour, time.Minute, resumed, nil},
		"in time, not noted":    {time.Minute, hour, -1, resumed, nil},
		"too late":              {time.Minute, hour, 0, resumed, []string{"x"}},
		"not delayed":           {0, hour, -1, resumed, []string{"x"}},
		"clean":                 {time.Minute, hour, time.Minute, clean, []string{"x"}},
		"clean, not noted":      {time.Minute, hour, -1, clean, []string{"x"}},
		"no session":            {time.Minute, 0, -1, resumed, []string{"x"}},
		"another device's will": {time.Minute, hour, time.Minute, func(r *store.SessionRequest) { r.ClientID = "other"; r.Clean = true }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "alice")
			will := w.will("alice", "alice", "x", c.delay)
			s := w.openWith(will, func(r *store.SessionRequest) { r.Life = c.life })
			if c.noted >= 0 {
				w.release(will, c.noted)
			}
			if s.Device != 0 {
				w.closeSession(s.Device, c.life)
			}
			next := w.will("alice", "alice", "next", time.Minute)
			back := w.openWith(next, c.change)
			if diff := cmp.Diff(c.due, bodiesOf(back.Wills)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(c.due, w.due()); diff != "" {
				t.Errorf("due: -want +got:\n%s", diff)
			}
			if n := w.number(`SELECT count(*) FROM postbox.wills WHERE body = 'next' AND due_at IS NULL`); n != 1 {
				t.Errorf("%d wills of the new connection", n)
			}
		})
	}
}

// What a killed server left is due after its delay, or with the session.
func TestWillsOfAKilledServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.openWith(w.will("alice", "bob", "at once", 0))
	for client, life := range map[string]time.Duration{"short": time.Second, "none": 0, "long": hour} {
		will := w.will("bob", "alice", client, time.Minute)
		will.ClientID = client
		w.openWith(will, func(r *store.SessionRequest) { r.Life = life })
	}
	if err := w.store.DisconnectAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	const waits = `SELECT round(extract(epoch FROM due_at - now()))::int BETWEEN $2::int - 30 AND $2::int FROM postbox.wills WHERE body = $1`
	for body, seconds := range map[string]int{"at once": 0, "none": 0, "short": 1, "long": 60} {
		var ok bool
		if err := w.store.DB().QueryRow(waits, []byte(body), seconds).Scan(&ok); err != nil || !ok {
			t.Errorf("%q does not wait for %d s (%v)", body, seconds, err)
		}
	}
}

// With a device that is forgotten for the bound its session ends, and so its
// will waits no longer.
func TestWillOfAForgottenDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice")
	will := w.will("alice", "alice", "x", time.Minute)
	s := w.openWith(will)
	w.release(will, time.Minute)
	w.closeSession(s.Device, hour)
	r := w.request("alice", "another")
	r.Limit = 1
	w.openSession(r)
	if diff := cmp.Diff([]string{"x"}, w.due()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A will leaves its table with the insert of its message, and cannot become a
// second one. Messages beside it are not touched by that.
func TestWillBecomesOneMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	will, taken := w.will("alice", "bob", "sent", 0), w.will("bob", "alice", "taken back", 0)
	w.openWith(will)
	for n := range 3 {
		p, back, other := w.willed(will), w.willed(taken), w.publish("bob", "alice", fmt.Sprint("other ", n))
		w.append(l, back, p, other)
		if p.Gone != (n > 0) || !back.Gone || other.Gone {
			t.Errorf("time %d: gone %v, %v, %v", n, p.Gone, back.Gone, other.Gone)
		}
		w.agree(other)
		if n == 0 {
			w.agree(p)
		}
	}
	w.audit(4)
	if n := w.number(`SELECT count(*) FROM postbox.wills`); n != 0 {
		t.Errorf("%d wills are left", n)
	}
}

// A will whose key was used before is no second message; nobody but its owner
// decides that it is done with.
func TestWillWithAUsedKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	l := w.lane(0)
	first := keyed(w.publish("alice", "bob", "x"), "k")
	w.append(l, first)
	will := w.will("alice", "bob", "x", 0)
	w.openWith(will)
	p := keyed(w.willed(will), "k")
	w.append(l, p)
	want := stored(first)
	if diff := cmp.Diff(&want, p.Used); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	w.audit(1)
	if n := w.number(`SELECT count(*) FROM postbox.wills`); n != 1 {
		t.Errorf("%d wills are left", n)
	}
}

// A lost connection in the commit of a will is found out about like every one.
func TestWillOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	wire, url := newWire(t, w.url)
	l := w.laneOf(w.open(url), 0)
	total := 0
	for _, c := range []cut{before, racing, after} {
		for _, calls := range []int{1, 2} {
			will, gone := w.will("alice", "bob", fmt.Sprint("will ", total), 0), w.will("alice", "bob", "gone", 0)
			w.openWith(will)
			left := calls
			wire.on(func(query string) cut {
				if strings.Contains(query, appending) {
					if left--; left == 0 {
						return c
					}
				}
				return pass
			})
			p, back := w.willed(will), w.willed(gone)
			if err := w.persist(l, batch(back, p)); err != nil {
				t.Fatal(err)
			}
			if p.Gone || !back.Gone {
				t.Errorf("gone: %v, %v", p.Gone, back.Gone)
			}
			w.agree(p)
			total++
		}
	}
	w.audit(total)
	if wire.count() < total {
		t.Errorf("%d cuts in %d rounds", wire.count(), total)
	}
}
