package store_test

import (
	"testing"

	"postbox"
)

func TestCursorsOnlyGrow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	phone, laptop := w.session("alice", "phone").Device, w.session("alice", "laptop").Device
	bobs := w.session("bob", "phone").Device
	alice, bob := w.ids["alice"], w.ids["bob"]
	type state struct{ phone, laptop, bobs, alice, bob int }
	cursor := func(d postbox.DeviceID) int { return w.number(`SELECT cursor FROM postbox.devices WHERE id = $1`, d) }
	delivered := func(u postbox.UserID) int {
		return w.number(`SELECT delivered_seq FROM postbox.users WHERE id = $1`, u)
	}
	for i, step := range []struct {
		saves []postbox.CursorSave
		want  state
	}{
		{nil, state{-1, -1, -1, 0, 0}},
		{[]postbox.CursorSave{{User: alice, Device: phone, Cursor: 0}}, state{0, -1, -1, 0, 0}},
		{[]postbox.CursorSave{{User: alice, Device: phone, Cursor: 5}, {User: alice, Device: laptop, Cursor: 3}, {User: bob, Device: bobs, Cursor: 9}}, state{5, 3, 9, 5, 9}},
		{[]postbox.CursorSave{{User: alice, Device: phone, Cursor: 4}, {User: alice, Device: laptop, Cursor: 4}}, state{5, 4, 9, 5, 9}},
		// A device without a session moves the user's mark only.
		{[]postbox.CursorSave{{User: alice, Cursor: 8}, {User: bob, Cursor: 2}}, state{5, 4, 9, 8, 9}},
		// One that was forgotten meanwhile does no harm to the others.
		{[]postbox.CursorSave{{User: alice, Device: 1 << 40, Cursor: 10}, {User: alice, Device: laptop, Cursor: 6}}, state{5, 6, 9, 10, 9}},
	} {
		if err := w.store.SaveCursors(t.Context(), step.saves); err != nil {
			t.Fatal(err)
		}
		if got := (state{cursor(phone), cursor(laptop), cursor(bobs), delivered(alice), delivered(bob)}); got != step.want {
			t.Errorf("step %d: %+v, want %+v", i, got, step.want)
		}
	}
	// Where the device itself says it is counts, backwards too.
	if err := w.store.SetCursor(t.Context(), phone, "next", 2); err != nil {
		t.Fatal(err)
	}
	if s := w.session("alice", "phone"); s.Cursor != 2 || s.Epoch != "next" {
		t.Errorf("%+v", s)
	}
	if got := delivered(alice); got != 10 {
		t.Errorf("delivered up to %d", got)
	}
}
