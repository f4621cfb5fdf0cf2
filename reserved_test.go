package postbox_test

import (
	"errors"
	"strings"
	"testing"

	"postbox"
)

func TestReserved(t *testing.T) {
	t.Parallel()
	for topic, want := range map[string]bool{
		"inbox/bob": true, "inbox": true, "room/dev": true, "signal/bob": true, "presence/+": true, "api/v1/send": true,
		"reply/bob/x": true, "$SYS/broker": true, "$share/g/telemetry/x": true, "#": true, "+/bob": true, "/inbox": true, "": true,
		"telemetry/kitchen": false, "inboxes/bob": false, "telemetry/#": false, "Inbox/bob": false, "a/inbox/bob": false,
	} {
		if got := postbox.Reserved(topic); got != want {
			t.Errorf("%q: %v, want %v", topic, got, want)
		}
	}
}

func TestCheckTopic(t *testing.T) {
	t.Parallel()
	for topic, ok := range map[string]bool{
		"telemetry/kitchen": true, "a/b/c/d/e/f/g/h": true, "a/b/c/d/e/f/g/h/i": false,
		strings.Repeat("a", 512): true, strings.Repeat("a", 513): false, "a\x00": false, "": false,
	} {
		if err := postbox.CheckTopic(topic); (err == nil) != ok || err != nil && !errors.Is(err, postbox.ErrInvalid) {
			t.Errorf("%.20q: %v", topic, err)
		}
	}
}
