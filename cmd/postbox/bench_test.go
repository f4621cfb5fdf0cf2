//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"postbox/internal/bench"
	"postbox/internal/bench/compare"
	"postbox/internal/pgtest"
	"postbox/store"
)

// parseBench reads a command line of "bench".
func parseBench(t *testing.T, args ...string) (benchCmd, error) {
	t.Helper()
	var c benchCmd
	parser, err := kong.New(&c, kong.Exit(func(int) { t.Fatal("the parser ended the program") }))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(args)
	return c, err
}

// bareBroker starts a broker that lets everybody in.
func bareBroker(t *testing.T) (address string) {
	t.Helper()
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
	t.Cleanup(func() { server.Close() })
	return listener.Address()
}

func TestBenchFlagsDefaultToTheStatedLoad(t *testing.T) {
	t.Parallel()
	c, err := parseBench(t, "send")
	if err != nil {
		t.Fatal(err)
	}
	got := c.Send.options()
	if diff := cmp.Diff(bench.DefaultOptions(), got, cmpopts.IgnoreFields(bench.Options{}, "Address")); diff != "" {
		t.Errorf("(-library +flags):\n%s", diff)
	}
}

func TestBenchWrongUsage(t *testing.T) {
	t.Parallel()
	for want, args := range map[string]string{
		"body of 10 bytes":                  "send --size 10",
		"--create-users needs --password":   "send --create-users",
		"needs --database-url":              "send --create-users --password x",
		"name two databases":                "send --database-url x --embedded-dir y",
		"must be one of":                    "send --protocol 4",
		"write NAME=HOST:PORT":              "compare 127.0.0.1:1883",
		`"x" is not a process id`:           "compare a=127.0.0.1:1883/x",
		"two brokers are called a":          "compare a=127.0.0.1:1 a=127.0.0.1:2",
		"--pairs 0":                         "compare a=127.0.0.1:1 --pairs 0",
		"a topic to publish to has no wild": "send --topic {recipient}/+",
	} {
		if _, err := parseBench(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", args, err, want)
		}
	}
}

func TestBenchSendPrintsAndWritesItsReport(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "results", "send.json")
	c, err := parseBench(t, "send", "--addr", bareBroker(t), "--name", "mochi", "--senders=3", "--warm-up=0s",
		"--duration=100ms", "--out", file, "--note", "a=1, b=2")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.Send.Run(t.Context(), &globals{Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "0 missing, 0 repeated") || !strings.Contains(out.String(), "a=1, b=2") {
		t.Errorf("printed\n%s", out.String())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report bench.Report
	if err := json.Unmarshal(text, &report); err != nil || report.Name != "mochi" || report.Acknowledged == 0 {
		t.Errorf("wrote %s: %v", text, err)
	}
}

func TestBenchCompareSetsBrokersInRelation(t *testing.T) {
	t.Parallel()
	c, err := parseBench(t, "compare", "one="+bareBroker(t), "two="+bareBroker(t), "--pairs=2", "--senders=3",
		"--warm-up=0s", "--duration=50ms", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.Compare.Run(t.Context(), &globals{Stdout: &out, Stderr: t.Output()}); err != nil {
		t.Fatal(err)
	}
	var result compare.Result
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		t.Fatal(err)
	}
	if len(result.Runs) != 4 || len(result.Ratios) != 1 || result.Ratios[0].Acknowledged <= 0 {
		t.Errorf("got %s", out.String())
	}
}

func TestBenchVerdict(t *testing.T) {
	t.Parallel()
	lost, unsafe := []string{"1 message lost"}, []string{"fsync is off"}
	for name, test := range map[string]struct {
		allow            bool
		faults, database []string
		want             string
	}{
		"good":                   {want: ""},
		"lost":                   {faults: lost, want: "the figures do not count: 1 message lost"},
		"lost, allowed":          {allow: true, faults: lost, want: ""},
		"not durable, allowed":   {allow: true, faults: lost, database: unsafe, want: "the figures do not count: fsync is off"},
		"both, and not excused":  {faults: lost, database: unsafe, want: "the figures do not count: 1 message lost; fsync is off"},
		"not durable by itself.": {database: unsafe, want: "the figures do not count: fsync is off"},
	} {
		l := benchLoad{AllowLoss: test.allow}
		got := ""
		if err := l.verdict(test.faults, test.database); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// TestBenchLooksAtTheDatabase makes users in a real database and has it judged,
// then spoils it.
func TestBenchLooksAtTheDatabase(t *testing.T) {
	t.Parallel()
	server := pgtest.NewCluster(t)
	d := benchDatabase{DatabaseURL: server.URL(), CreateUsers: true}
	var o bench.Options
	release, err := d.prepare(t.Context(), "", &o)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if o.Address != "127.0.0.1:1883" || o.DatabasePID != server.Pid() {
		t.Errorf("address %s, postmaster %d, want %d", o.Address, o.DatabasePID, server.Pid())
	}
	if err := o.Database.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time they are there
		if err := o.CreateUsers(t.Context(), []string{"sender1", "recipient1"}, "xyzzy"); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.CreateUsers(t.Context(), []string{"No Name"}, "xyzzy"); err == nil {
		t.Error("a name that is none was taken")
	}
	db, err := store.Open(store.Options{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.UserByName(t.Context(), "recipient1"); err != nil {
		t.Error(err)
	}
	// As if two messages had been acknowledged: two users are two rows.
	got, err := o.Database.End(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if faults := (&bench.Report{Database: got, TotalAcknowledged: 2, Load: bench.Load{Senders: 1, Window: 2}}).DatabaseFaults(); len(faults) > 0 && got.DataFileSystem != "tmpfs" {
		t.Errorf("faults %q", faults)
	}
	if got.Fsync != "on" || got.FullPageWrites != "on" || got.SynchronousCommit != "on" || len(got.Tables) == 0 {
		t.Errorf("got %+v", got)
	}
	if got.DataFileSystem == "unknown" || got.DataFileSystem != fileSystem(got.DataDirectory) {
		t.Errorf("data on %s", got.DataFileSystem)
	}
	if got.WALSyncs == nil {
		t.Error("syncs of the log are not counted")
	}
	// What waits for the index is waited for.
	if _, err := db.DB().ExecContext(t.Context(), `INSERT INTO postbox.search_queue (queued_at, conversations, afters, counts) VALUES (now(), '{1}', '{0}', '{1}')`); err != nil {
		t.Fatal(err)
	}
	settled := make(chan error, 1)
	go func() { settled <- o.Database.Settle(t.Context()) }()
	select {
	case err := <-settled:
		t.Errorf("it does not wait for the index: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if _, err := db.DB().ExecContext(t.Context(), `DELETE FROM postbox.search_queue`); err != nil {
		t.Fatal(err)
	}
	if err := <-settled; err != nil {
		t.Error(err)
	}
	if _, err := db.DB().ExecContext(t.Context(), `CREATE UNLOGGED TABLE postbox.fast (n int)`); err != nil {
		t.Fatal(err)
	}
	got, err = o.Database.End(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	faults := (&bench.Report{Database: got}).DatabaseFaults()
	if !strings.Contains(strings.Join(faults, "; "), "fast (unlogged)") {
		t.Errorf("faults %q", faults)
	}
	if _, err := db.DB().ExecContext(t.Context(), `ALTER SCHEMA postbox RENAME TO strange`); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Database.End(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "no tables in schema postbox") {
		t.Errorf("another's database: %v", err)
	}
}

func TestBenchFindsTheServerOfADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := embeddedAddress(dir); err == nil || !strings.Contains(err.Error(), "give --addr") {
		t.Errorf("without a file: %v", err)
	}
	file := filepath.Join(dir, "addresses.json")
	for text, want := range map[string]string{
		`{"mqtt":"127.0.0.1:7","http":"127.0.0.1:8"}`: "127.0.0.1:7",
		`{}`:   "",
		`junk`: "",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := embeddedAddress(dir)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}
