//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postbox/broker"
	"postbox/configs"
	"postbox/internal/bench"
	"postbox/internal/pgtest"
)

// benchServer starts a server without limits of rates.
func benchServer(t *testing.T) (at broker.Addresses, databaseURL string) {
	t.Helper()
	url := pgtest.NewCluster(t).URL()
	config := configs.Default()
	config.Listen = configs.Listen{MQTT: "127.0.0.1:0", HTTP: "127.0.0.1:0", Private: "127.0.0.1:0"}
	config.Limits.PublishRate, config.Limits.ConnectRate, config.Limits.RequestRate = 0, 0, 0
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
	return server.Addresses(), url
}

// measured runs a command, and reads the report that it writes.
func measured[R any](t *testing.T, out string, run func(context.Context, *globals) error) *R {
	t.Helper()
	var text bytes.Buffer
	if err := run(t.Context(), &globals{Stdout: &text, Stderr: io.Discard}); err != nil {
		t.Fatalf("%v\n%s", err, text.String())
	}
	encoded, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	report := new(R)
	if err := json.Unmarshal(encoded, report); err != nil {
		t.Fatal(err)
	}
	t.Log(text.String())
	return report
}

// One server is measured in what devices do that come back.
func TestBenchReturns(t *testing.T) {
	t.Parallel()
	at, url := benchServer(t)
	t.Run("connect", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "r.json")
		c := benchConnectCmd{
			Brokers: []string{"postbox=" + at.MQTT + ",heap=http://" + at.Private + "/debug/pprof/heap", "mochi=" + bareBroker(t)}, DatabaseURL: url,
			Connections: 40, PerUser: 10, AtOnce: 8, Rounds: 1, Connect: time.Minute, Out: out,
		}
		r := measured[bench.ConnectReport](t, out, c.Run)
		if len(r.Runs) != 2 || len(r.Ratios) != 1 || r.Ratios[0].Storm <= 0 || r.Runs[0].Memory.HeapBefore <= 0 || r.Runs[0].Memory.HeapAfter <= 0 || r.Runs[0].Storm.Latency.Count != 40 {
			t.Errorf("report %+v", r)
		}
	})
	t.Run("catch-up", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "r.json")
		c := benchCatchUpCmd{
			Addr: at.MQTT, DatabaseURL: url, Messages: 500, Devices: 4, Backlog: 100, Writers: 2, Window: 64, Live: 2, LiveWindow: 8, Rate: 100,
			Before: time.Second, Size: 100, Timeout: time.Minute, Out: out,
		}
		r := measured[bench.CatchUpReport](t, out, c.Run)
		if r.One.Entries != 500 || r.One.Rate <= 0 || r.Many.Entries != 400 || r.Many.Latency.Count != 4 || r.Many.Live.Before <= 0 || r.Many.Live.Report.Acknowledged == 0 {
			t.Errorf("report %+v", r)
		}
	})
	t.Run("mixed", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "r.json")
		c := benchMixedCmd{
			Addr: at.MQTT, API: strings.TrimPrefix(at.HTTP, "http://"), DatabaseURL: url, Rate: 50, Senders: 2, RoomRate: 4, Members: 8, Online: 5, HistoryRate: 10,
			ReadRate: 10, Reconnects: 10, Messages: 11_000, Size: 100, Duration: 5 * time.Second, WarmUp: 200 * time.Millisecond, Out: out,
		}
		r := measured[bench.MixedReport](t, out, c.Run)
		if r.Alone.EndToEnd.Count == 0 || r.Direct.EndToEnd.Count == 0 || r.Room.LastMember.Count == 0 || len(r.Parts) != 3 || r.Target() == "" {
			t.Errorf("report %+v", r)
		}
	})
}

func TestBenchReturnsWrongUsage(t *testing.T) {
	t.Parallel()
	for want, args := range map[string]string{
		"write NAME=ADDRESS":                   "connect 127.0.0.1:1",
		`"x" is not a process id`:              "connect a=127.0.0.1:1,pid=x",
		"neither pid=PROCESS nor heap=URL":     "connect a=127.0.0.1:1,cpu=2",
		"--kill needs pid=PROCESS":             "connect a=127.0.0.1:1 --kill",
		"--kill is for one broker":             "connect a=127.0.0.1:1,pid=9 b=127.0.0.1:2 --kill",
		"raise --per-user":                     "connect a=127.0.0.1:1 --connections 700000",
		"give --database-url or":               "catch-up",
		"--window 0: 1 to 65535":               "catch-up --database-url x --window 0",
		"the 4 who write are among --online":   "mixed --database-url x --online 3",
		"--messages 10: at least 11000":        "mixed --database-url x --messages 10",
		"missing flags: --out":                 "report x.json",
		"--rate and --senders are more than 0": "mixed --database-url x --rate 0",
	} {
		if _, err := parseBench(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", args, err, want)
		}
	}
}

// Reports that were written are drawn.
func TestBenchReport(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "report.html")
	c := benchReportCmd{Files: []string{"../../docs/results/bench-send.json", "../../docs/results/bench-room.json"}, Out: out}
	var text bytes.Buffer
	if err := c.Run(t.Context(), &globals{Stdout: &text}); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(out)
	if err != nil || !bytes.Contains(page, []byte("<h2>bench-room.json</h2>")) || !strings.Contains(text.String(), out) {
		t.Errorf("%v: %s", err, text.String())
	}
	c.Files = []string{"bench.go"}
	if err := c.Run(t.Context(), &globals{Stdout: &text}); err == nil || !strings.Contains(err.Error(), "bench.go is no report") {
		t.Errorf("got %v", err)
	}
}
