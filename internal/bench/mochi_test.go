//go:build linux

package bench

import (
	"log/slog"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// TestAgainstMochi runs against a broker that others wrote: what the fake
// understands, a real one must too.
func TestAgainstMochi(t *testing.T) {
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	listener := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	if err := server.AddListener(listener); err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	for name, change := range map[string]func(*Options){
		"3.1.1":           func(*Options) {},
		"5":               func(o *Options) { o.Protocol = MQTT5 },
		"one on the way":  func(o *Options) { o.Window = 1 },
		"two devices":     func(o *Options) { o.Devices = 2 },
		"paced":           func(o *Options) { o.Rate = 500 },
		"stored sessions": func(o *Options) { o.Session = true },
		"5, stored":       func(o *Options) { o.Protocol, o.Session = MQTT5, true },
		"large bodies": func(o *Options) {
			o.BodySize, o.Window, o.Duration = maxBodySize, 4, 2*time.Second
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := DefaultOptions()
			o.Address = listener.Address()
			o.Senders, o.WarmUp, o.Duration, o.Drain = 4, 0, 200*time.Millisecond, 10*time.Second
			change(&o)
			report, err := Send(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if faults := report.Faults(); len(faults) > 0 {
				t.Errorf("faults %q", faults)
			}
			if report.Acknowledged == 0 || report.Delivered == 0 {
				t.Errorf("%d acknowledged, %d delivered", report.Acknowledged, report.Delivered)
			}
			if o.Session {
				if left := storedSessions(server); left > 0 {
					t.Errorf("%d sessions left at the broker", left)
				}
			}
		})
	}
}

// storedSessions counts clients that are away but not forgotten.
func storedSessions(server *mochi.Server) int {
	n := 0
	for _, client := range server.Clients.GetAll() {
		if !client.Net.Inline && !client.Properties.Clean {
			n++
		}
	}
	return n
}
