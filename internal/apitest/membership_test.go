package apitest

import "testing"

// Who was there before the first message only may not read it, though they are there
// again later.
func TestThereBeforeTheFirstMessage(t *testing.T) {
	t.Parallel()
	m := NewMembership("alice")
	for _, e := range []RoomEntry{
		{Event: "added", User: "bob"}, {Event: "left", User: "bob"}, {Type: "message", Seq: 1, From: "alice"},
		{Event: "added", User: "bob"}, {Type: "message", Seq: 2, From: "bob"},
	} {
		if err := m.Take(e); err != nil {
			t.Fatal(err)
		}
	}
	for seq, want := range map[int64]bool{1: false, 2: true} {
		if got := m.May("bob", "joined", seq); got != want {
			t.Errorf("may read message %d: %v", seq, got)
		}
	}
	if !m.May("bob", "all", 1) {
		t.Error("may not read the first message of a room that shows all")
	}
}
