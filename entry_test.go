package postbox_test

import (
	"testing"
	"time"

	"postbox"
)

// The values of entry types are in the database, their names on the wire.
func TestEntryTypes(t *testing.T) {
	t.Parallel()
	for value, name := range map[postbox.EntryType]string{
		0: "message", 1: "edit", 2: "retract", 3: "read", 4: "room", 5: "unknown", 255: "unknown",
	} {
		if got := value.String(); got != name {
			t.Errorf("entry type %d is %q, want %q", value, got, name)
		}
	}
	if postbox.EntryMessage != 0 || postbox.EntryRoom != 4 {
		t.Error("stored values have changed")
	}
}

func TestTombstone(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 15, 4, 5, 0, time.UTC)
	past, future := now.Add(-time.Second), now.Add(time.Second)
	for name, test := range map[string]struct {
		message *postbox.Message
		want    string
	}{
		"no message":        {nil, ""},
		"plain":             {&postbox.Message{}, ""},
		"not yet expired":   {&postbox.Message{ExpiresAt: future}, ""},
		"expired":           {&postbox.Message{ExpiresAt: past}, "expired"},
		"retracted":         {&postbox.Message{RetractedAt: past}, "retracted"},
		"retracted, future": {&postbox.Message{RetractedAt: past, ExpiresAt: future}, "retracted"},
		"both":              {&postbox.Message{RetractedAt: past, ExpiresAt: past}, "retracted"},
	} {
		if got := (&postbox.Entry{Message: test.message}).Tombstone(now); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
