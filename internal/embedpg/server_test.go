//go:build linux || darwin

package embedpg

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStartMakesADurablePrivateCluster(t *testing.T) {
	t.Setenv("LC_ALL", "")
	t.Setenv("LANG", "de_DE@nonsense")
	t.Setenv("PGDATA", "/nonexistent")
	dir := newDir(t)
	s := start(t, Options{Dir: dir})

	want := map[string]string{
		"server_encoding": "UTF8", "lc_collate": "C", "lc_ctype": "C",
		"full_page_writes": "on", "synchronous_commit": "on", "data_checksums": "on",
		"listen_addresses": "", "max_connections": "60", "shared_buffers": "256MB", "max_wal_size": "2GB", "backend_flush_after": "512kB",
	}
	got := map[string]string{}
	for name := range want {
		if strings.HasPrefix(name, "lc_c") { // 16 and later show it per database only
			got[name] = value(t, s.URL(), `SELECT dat`+strings.TrimPrefix(name, "lc_")+` FROM pg_database WHERE datname = 'postbox'`)
			continue
		}
		got[name] = value(t, s.URL(), `SHOW `+name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(s.socketDir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("socket directory: %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Join(dir, "pgdata")); err != nil || info.Mode().Perm() != 0o700 || info.Sys().(*syscall.Stat_t).Uid == 0 {
		t.Errorf("data directory: %+v, %v", info, err)
	}
	if s.Pid() == 0 || s.Pid() != recordedPostmaster(filepath.Join(dir, "pgdata")) {
		t.Errorf("pid %d, recorded %d", s.Pid(), recordedPostmaster(filepath.Join(dir, "pgdata")))
	}
}

func TestFsyncIsOnAndCannotBeSwitchedOff(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s, err := Start(t.Context(), Options{Dir: dir, Settings: map[string]string{"max_connections": "33"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	if got := value(t, s.URL(), `SHOW max_connections`); got != "33" {
		t.Errorf("max_connections = %s", got)
	}
	// An operator's ALTER SYSTEM does not weaken it either.
	mustQuery(t, s.URL(), `ALTER SYSTEM SET fsync = off`)
	mustQuery(t, s.URL(), `SELECT pg_reload_conf()`)
	stop(t, s)
	s, err = Start(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	if got := value(t, s.URL(), `SHOW fsync`); got != "on" {
		t.Errorf("fsync = %s", got)
	}

	for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "Fsync", "a=b"} {
		_, err := Start(t.Context(), Options{Dir: newDir(t), Settings: map[string]string{name: "off"}})
		if got := oneLine(t, err); !strings.Contains(got, name) {
			t.Errorf("setting %s: %v", name, got)
		}
	}
}

func TestStopKeepsTheDataAndIsSafeTwice(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, Options{Dir: dir})
	pid := s.Pid()
	mustQuery(t, s.URL(), `CREATE TABLE kept AS SELECT 42 AS n`)
	stop(t, s)
	stop(t, s)
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("postmaster after Stop: %v", err)
	}
	if s.Pid() != 0 {
		t.Errorf("pid %d after Stop", s.Pid())
	}
	s = start(t, Options{Dir: dir})
	if got := value(t, s.URL(), `SELECT n FROM kept`); got != "42" {
		t.Errorf("n = %s", got)
	}
}

func TestStopOutOfTimeStopsAtOnce(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, Options{Dir: dir})
	mustQuery(t, s.URL(), `CREATE TABLE kept AS SELECT 42 AS n`)
	// A stopped child holds up a fast shutdown for good.
	held := value(t, s.URL(), `SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'`)
	signalText(t, held, syscall.SIGSTOP)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Stop(ctx)
	if got := oneLine(t, err); !errors.Is(err, context.Canceled) {
		t.Error(got)
	}
	s = start(t, Options{Dir: dir})
	if got := value(t, s.URL(), `SELECT n FROM kept`); got != "42" {
		t.Errorf("n = %s", got)
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, Options{Dir: dir})
	_, err := Start(t.Context(), Options{Dir: dir})
	if got := oneLine(t, err); !errors.Is(err, ErrInUse) || !strings.Contains(got, dir) {
		t.Errorf("same process: %v", got)
	}
	if got := startHelper(t, dir).line(); !strings.HasPrefix(got, "error") || !strings.Contains(got, ErrInUse.Error()) {
		t.Errorf("other process: %s", got)
	}
	mustQuery(t, s.URL(), `SELECT 1`)
}

func TestStartThatIsCancelledLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Start(ctx, Options{Dir: dir, NoSync: true, BinDir: programs(t).dir})
	oneLine(t, err)
	if pids := clusterProcesses(filepath.Join(dir, "pgdata")); len(pids) > 0 {
		t.Errorf("running: %v", pids)
	}
	start(t, Options{Dir: dir})
}
