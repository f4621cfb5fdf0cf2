package postbox_test

import (
	"testing"
	"time"

	"postbox"
)

func TestAppendPresence(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 15, 4, 5, 0, time.UTC)
	for want, p := range map[string]postbox.PresenceState{
		`{"type":"presence","user":"bob","online":true}`:                                         {User: "bob", Online: true, LastSeen: at},
		`{"type":"presence","user":"bob","online":false,"last_seen":"2026-11-22T15:04:05.000Z"}`: {User: "bob", LastSeen: at},
		`{"type":"presence","user":"bob","online":false}`:                                        {User: "bob"},
	} {
		if got := string(postbox.AppendPresence(nil, p)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
