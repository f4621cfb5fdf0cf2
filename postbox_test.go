package postbox_test

import (
	"testing"
	"time"

	"postbox"
)

func TestPacketIDFollowsFromTheNumber(t *testing.T) {
	t.Parallel()
	for n, want := range map[postbox.InboxSeq]uint16{
		1: 1, 2: 2, 59_999: 59_999, 60_000: 60_000, 60_001: 1, 120_000: 60_000, 120_001: 1, 1 << 62: 27_904,
	} {
		if got := n.PacketID(); got != want {
			t.Errorf("entry %d: packet id %d, want %d", n, got, want)
		}
	}
	// Neighbours never share an id, and none is 0 or one of the unnumbered.
	for n := postbox.InboxSeq(1); n < 2*postbox.DeliveryIDs; n++ {
		id := n.PacketID()
		if id == 0 || id > postbox.DeliveryIDs || id == (n+1).PacketID() {
			t.Fatalf("entry %d: packet id %d", n, id)
		}
	}
}

func TestAppendTime(t *testing.T) {
	t.Parallel()
	east := time.FixedZone("east", 8*3600)
	for want, at := range map[string]time.Time{
		"2026-11-22T15:04:05.123Z": time.Date(2026, 11, 22, 15, 4, 5, 123_000_000, time.UTC),
		"2026-11-22T15:04:05.000Z": time.Date(2026, 11, 22, 23, 4, 5, 0, east),
		"2026-11-22T15:04:05.999Z": time.Date(2026, 11, 22, 15, 4, 5, 999_999_999, time.UTC),
		"1970-01-01T00:00:00.000Z": time.Unix(0, 0).In(east),
	} {
		if got := string(postbox.AppendTime([]byte("at "), at)); got != "at "+want {
			t.Errorf("%v: %s, want %s", at, got, want)
		}
		if back, err := time.Parse(time.RFC3339, want); err != nil || back.UnixMilli() != at.UnixMilli() {
			t.Errorf("%s is %v, %v", want, back, err)
		}
	}
}
