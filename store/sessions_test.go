package store_test

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postbox"
	"postbox/store"
)

const hour = time.Hour

func (w *world) request(user postbox.User, client string) store.SessionRequest {
	return store.SessionRequest{User: w.ids[user], ClientID: client, Epoch: "k3f9", Protocol: 4, Life: hour, Limit: 50}
}

func (w *world) openSession(r store.SessionRequest) store.Session {
	w.t.Helper()
	s, err := w.store.OpenSession(w.t.Context(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) session(user postbox.User, client string) store.Session {
	w.t.Helper()
	return w.openSession(w.request(user, client))
}

func (w *world) closeSession(d postbox.DeviceID, life time.Duration) {
	w.t.Helper()
	s := store.Session{Device: d}
	if err := w.store.DB().QueryRow(`SELECT connected_at FROM postbox.devices WHERE id = $1`, int64(d)).Scan(&s.Opened); err != nil && !errors.Is(err, sql.ErrNoRows) {
		w.t.Fatal(err)
	}
	if err := w.store.CloseSession(w.t.Context(), s, life, postbox.MessageID{}); err != nil {
		w.t.Fatal(err)
	}
}

func TestSessionIsMadeAndResumed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	first := w.session("alice", "phone")
	if diff := cmp.Diff(store.Session{Cursor: -1, Epoch: "k3f9"}, first, cmpopts.IgnoreFields(store.Session{}, "Device", "Opened")); diff != "" || first.Device == 0 {
		t.Errorf("new: device %d, -want +got:\n%s", first.Device, diff)
	}
	// The same client id of another user is another device.
	if other := w.session("bob", "phone"); other.Present || other.Device == first.Device {
		t.Errorf("another user's: %+v", other)
	}
	inbox := store.Subscription{Filter: "inbox/alice", QoS: 1, NoLocal: true, Raw: true, Identifier: 268_435_455}
	signal := store.Subscription{Filter: "signal/alice"}
	for _, sub := range []store.Subscription{signal, {Filter: "presence/+"}, {Filter: "inbox/alice"}, inbox} {
		if err := w.store.SaveSubscription(t.Context(), first.Device, sub); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.store.DeleteSubscriptions(t.Context(), first.Device, []string{"presence/+", "never/there"}); err != nil {
		t.Fatal(err)
	}
	if err := w.store.SetCursor(t.Context(), first.Device, "other", 7); err != nil {
		t.Fatal(err)
	}
	w.closeSession(first.Device, hour)
	want := store.Session{Device: first.Device, Cursor: 7, Epoch: "other", Present: true, Subscriptions: []store.Subscription{inbox, signal}}
	for range 2 { // also while it is connected: a takeover
		if diff := cmp.Diff(want, w.session("alice", "phone"), notWhen); diff != "" {
			t.Errorf("resumed: -want +got:\n%s", diff)
		}
	}
}

// A request that is repeated because its outcome was not known finds what it has
// made itself: that is not a session that the client knows of.
func TestSessionRequestRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice")
	for _, clean := range []bool{false, true} {
		r := w.request("alice", "phone")
		r.Clean, r.Began = clean, time.Now()
		if !clean { // an old session has expired: the client knows of none either
			w.closeSession(w.session("alice", "phone").Device, time.Microsecond)
		}
		first, again := w.openSession(r), w.openSession(r)
		if first.Present || first.Device == 0 {
			t.Errorf("clean %v: new: %+v", clean, first)
		}
		if diff := cmp.Diff(first, again, notWhen); diff != "" {
			t.Errorf("clean %v: repeated: -first +again:\n%s", clean, diff)
		}
		r.Began, r.Clean = r.Began.Add(time.Second), false
		if next := w.openSession(r); !next.Present || next.Device != first.Device {
			t.Errorf("clean %v: the next connection: %+v", clean, next)
		}
	}
}

// notWhen compares sessions but for when they were opened.
var notWhen = cmpopts.IgnoreFields(store.Session{}, "Opened")

// The end of a connection that is noted late, after the device has come back, maybe
// to another server, changes nothing.
func TestLateEndOfASession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice")
	first := w.session("alice", "phone")
	for resumed := range 2 { // in a transaction, because of the will, and without
		r := w.request("alice", "phone")
		if resumed == 0 {
			r.Will = w.will("alice", "alice", "bye", 0)
		}
		second := w.openSession(r)
		if second.Device != first.Device || !second.Opened.After(first.Opened) {
			t.Fatalf("opened %v, then %v", first, second)
		}
		for _, life := range []time.Duration{0, hour} {
			if err := w.store.CloseSession(t.Context(), first, life, newID()); err != nil {
				t.Fatal(err)
			}
		}
		const here = `SELECT count(*) FROM postbox.devices WHERE disconnected_at IS NULL AND known_id = '00000000-0000-0000-0000-000000000000'`
		if w.number(here) != 1 {
			t.Error("the late end of the first connection has changed the session")
		}
		known := newID()
		if err := w.store.CloseSession(t.Context(), second, hour, known); err != nil {
			t.Fatal(err)
		}
		if w.number(here) != 0 {
			t.Error("the end of the second connection was not noted")
		}
		w.exec(`UPDATE postbox.devices SET known_id = '00000000-0000-0000-0000-000000000000'`)
		w.exec(`DELETE FROM postbox.wills`)
		first = second
	}
}

func TestSessionStartsAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice")
	for what, forget := range map[string]func(*store.SessionRequest, postbox.DeviceID){
		"clean":         func(r *store.SessionRequest, _ postbox.DeviceID) { r.Clean = true },
		"expired":       func(_ *store.SessionRequest, d postbox.DeviceID) { w.closeSession(d, hour); w.age(d, hour+time.Minute) },
		"ended with it": func(_ *store.SessionRequest, d postbox.DeviceID) { w.closeSession(d, 0) },
	} {
		r := w.request("alice", what)
		old := w.openSession(r)
		if err := w.store.SaveSubscription(t.Context(), old.Device, store.Subscription{Filter: "inbox/alice", QoS: 1}); err != nil {
			t.Fatal(err)
		}
		forget(&r, old.Device)
		s := w.openSession(r)
		if s.Present || s.Device == old.Device || s.Device == 0 || s.Cursor != -1 || len(s.Subscriptions) != 0 {
			t.Errorf("%s: %+v", what, s)
		}
	}
}

// age makes a device's last connection end earlier.
func (w *world) age(d postbox.DeviceID, by time.Duration) {
	w.t.Helper()
	w.exec(`UPDATE postbox.devices SET disconnected_at = disconnected_at - $2::bigint * interval '1 second' WHERE id = $1`, d, int64(by/time.Second))
}

// A connection that asks for no session leaves none behind; an old session
// that it resumes ends with it.
func TestSessionOfNoLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice")
	r := w.request("alice", "phone")
	r.Life = 0
	if s := w.openSession(r); s.Device != 0 || s.Present || s.Epoch != r.Epoch {
		t.Errorf("%+v", s)
	}
	old := w.session("alice", "phone")
	if s := w.openSession(r); s.Device != old.Device || !s.Present {
		t.Errorf("resumed: %+v", s)
	}
	// The server is killed: the session does not come back.
	if err := w.store.DisconnectAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.age(old.Device, time.Second)
	if s := w.session("alice", "phone"); s.Present {
		t.Errorf("after the kill: %+v", s)
	}
	r.Clean = true
	if s := w.openSession(r); s.Device != 0 || s.Present {
		t.Errorf("clean: %+v", s)
	}
	if n := w.number(`SELECT count(*) FROM postbox.devices`); n != 0 {
		t.Errorf("%d sessions left", n)
	}
}

// The longest disconnected device is forgotten, and never one that is connected.
func TestExcessDevicesAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.session("bob", "a")
	ids := map[string]postbox.DeviceID{}
	for i, name := range []string{"a", "b", "c", "d"} {
		ids[name] = w.session("alice", name).Device
		if name != "b" {
			w.closeSession(ids[name], hour)
			w.age(ids[name], time.Duration(10-i)*time.Minute)
		}
	}
	left := func(user postbox.User) (names []string) {
		t.Helper()
		if err := w.store.DB().Select(&names, `SELECT client_id FROM postbox.devices WHERE user_id = $1 ORDER BY 1`, w.ids[user]); err != nil {
			t.Fatal(err)
		}
		return names
	}
	for _, step := range []struct {
		connect string
		limit   int
		want    []string
	}{
		{"e", 5, []string{"a", "b", "c", "d", "e"}},
		{"f", 5, []string{"b", "c", "d", "e", "f"}}, // a was away for the longest time
		{"c", 3, []string{"b", "c", "d", "e", "f"}}, // no new device, none forgotten
		{"g", 3, []string{"b", "c", "e", "f", "g"}}, // those that are connected stay
	} {
		r := w.request("alice", step.connect)
		r.Limit = step.limit
		w.openSession(r)
		if diff := cmp.Diff(step.want, left("alice")); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.connect, diff)
		}
	}
	if diff := cmp.Diff([]string{"a"}, left("bob")); diff != "" {
		t.Errorf("bob: -want +got:\n%s", diff)
	}
}

func TestExpiredSessionsAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice")
	for name, away := range map[string]time.Duration{"now": 0, "nearly": hour - time.Minute, "over": hour + time.Minute} {
		d := w.session("alice", name).Device
		w.closeSession(d, hour)
		w.age(d, away)
	}
	w.session("alice", "connected")
	if err := w.store.ForgetExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"now": true, "nearly": true, "over": false, "connected": true} {
		if s := w.session("alice", name); s.Present != want {
			t.Errorf("%s: there %v, want %v", name, s.Present, want)
		}
	}
	// After a kill nobody is connected, and lives begin to run.
	if err := w.store.DisconnectAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.number(`SELECT count(*) FROM postbox.devices WHERE disconnected_at IS NULL`); n != 0 {
		t.Errorf("%d still connected", n)
	}
}

// What a session was told is gone with it: nothing comes back through a
// subscription that is saved late.
func TestForgottenSessionStaysForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice")
	d := w.session("alice", "phone").Device
	w.closeSession(d, 0)
	if err := w.store.SaveSubscription(t.Context(), d, store.Subscription{Filter: "inbox/alice"}); err != nil {
		t.Error(err)
	}
	if err := w.store.SetCursor(t.Context(), d, "k3f9", 3); err != nil {
		t.Error(err)
	}
	w.closeSession(d, hour)
	if n := w.number(`SELECT (SELECT count(*) FROM postbox.devices) + (SELECT count(*) FROM postbox.subscriptions)`); n != 0 {
		t.Errorf("%d rows", n)
	}
}
