//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postbox/broker"
	"postbox/configs"
	"postbox/internal/bench"
	"postbox/internal/pgtest"
)

// A room of a hundred, twenty of them online: nothing is missing and all have one
// order, at whatever speed, and direct messages are measured beside it.
func TestBenchRoom(t *testing.T) {
	t.Parallel()
	url := pgtest.NewCluster(t).URL()
	config := configs.Default()
	config.Listen = configs.Listen{MQTT: "127.0.0.1:0", HTTP: "127.0.0.1:0", Private: "127.0.0.1:0"}
	config.Limits.PublishRate, config.Limits.ConnectRate = 0, 0
	server, err := broker.New(t.Context(), broker.Options{Config: config, DatabaseURL: url, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	out := filepath.Join(t.TempDir(), "room.json")
	c := benchRoomCmd{
		Addr: server.Addresses().MQTT, DatabaseURL: url, Members: 100, Online: 20, Senders: 4, Window: 4, Rate: 20, DirectRate: 50, Rounds: 1, Size: 100,
		Duration: 2 * time.Second, WarmUp: 200 * time.Millisecond, Drain: time.Minute, Out: out,
	}
	var text bytes.Buffer
	if err := c.Run(t.Context(), &globals{Stdout: &text, Stderr: &text}); err != nil {
		t.Fatalf("%v\n%s", err, text.String())
	}
	encoded, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var r bench.RoomReport
	if err := json.Unmarshal(encoded, &r); err != nil {
		t.Fatal(err)
	}
	if r.Full.Messages <= 0 || r.Full.Entries < 99*r.Full.Messages || r.Full.LastMember.Count == 0 || r.BytesPerMember <= 0 || len(r.Rounds) != 1 || r.Rounds[0].Beside.Acknowledged == 0 {
		t.Errorf("report: %s", encoded)
	}
	t.Log(text.String())
}
