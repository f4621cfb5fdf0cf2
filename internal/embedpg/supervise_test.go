//go:build linux || darwin

package embedpg

import (
	"bytes"
	"database/sql"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// restarts returns options whose OnRestart is received from the channel.
func restarts(dir string) (Options, <-chan struct{}) {
	c := make(chan struct{}, 10)
	return Options{Dir: dir, OnRestart: func() { c <- struct{}{} }}, c
}

func await(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatal("postmaster not restarted within 30 s")
	}
}

func TestPostmasterKilledIsStartedAgain(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	o, restarted := restarts(dir)
	var log safeBuffer
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := start(t, o)
	url, first := s.URL(), s.Pid()
	mustQuery(t, url, `CREATE TABLE kept AS SELECT 42 AS n`)

	// A child that computes does not notice the death of its postmaster, and
	// holds the shared memory meanwhile.
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	busy := make(chan error, 1)
	go func() {
		_, err := db.Exec(`/* busy */ DO $$ BEGIN LOOP END LOOP; END $$`)
		busy <- err
	}()
	eventually(t, "busy query", func() bool {
		return value(t, url, `SELECT count(*) FROM pg_stat_activity WHERE query LIKE '/* busy */%'`) == "1"
	})

	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, restarted)
	if err := <-busy; err == nil {
		t.Error("query of the dead server succeeded")
	}
	if s.URL() != url || s.Pid() == first || s.Pid() == 0 {
		t.Errorf("url %s, pid %d after %d", s.URL(), s.Pid(), first)
	}
	if got := value(t, url, `SELECT n FROM kept`); got != "42" {
		t.Errorf("n = %s", got)
	}
	stop(t, s)
	for _, want := range []string{"postgresql died", "signal: killed", "postgresql is running again"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, log.String())
		}
	}
}

func TestRestartsWithGrowingPauses(t *testing.T) {
	t.Parallel()
	o, restarted := restarts(newDir(t))
	var log safeBuffer
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := start(t, o)
	conf := filepath.Join(s.cluster.data(), "postgresql.conf")
	before, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	appendText(t, conf, "no_such_setting = 1\n")
	if err := syscall.Kill(s.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "six attempts, the pause doubled each time up to the longest", func() bool {
		text := log.String()
		for _, pause := range []string{"200ms", "400ms", "800ms", "1.6s", "2s"} {
			if !strings.Contains(text, "pause="+pause) {
				return false
			}
		}
		return strings.Count(text, "pause=2s") > 1
	})
	if s.Pid() != 0 {
		t.Errorf("pid %d without a postmaster", s.Pid())
	}
	if err := os.WriteFile(conf, before, 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, restarted)
	mustQuery(t, s.URL(), `SELECT 1`)
}

func TestStopBetweenTwoPostmasters(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Dir: newDir(t)})
	appendText(t, filepath.Join(s.cluster.data(), "postgresql.conf"), "no_such_setting = 1\n")
	if err := syscall.Kill(s.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "death", func() bool { return s.Pid() == 0 })
	stop(t, s)
}

func TestVanishedSocketIsMadeAgain(t *testing.T) {
	t.Parallel()
	o, restarted := restarts(newDir(t))
	o.every = 10 * time.Millisecond
	s := start(t, o)
	if err := os.RemoveAll(s.socketDir); err != nil {
		t.Fatal(err)
	}
	await(t, restarted)
	mustQuery(t, s.URL(), `SELECT 1`)
	if err := checkPrivate(s.socketDir, s.cluster.acct.uid); err != nil {
		t.Error(err)
	}
}

func TestLogIsTrimmed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := openLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	l.max = 10
	for range 3 {
		if _, err := l.file.WriteString("time [7] FATAL:  too long\nhint\n"); err != nil {
			t.Fatal(err)
		}
		if got := l.complaint(0); got != "too long" {
			t.Errorf("complaint %q", got)
		}
		if err := l.trim(); err != nil {
			t.Fatal(err)
		}
		if old, err := os.ReadFile(l.path + ".1"); err != nil || string(old) != "time [7] FATAL:  too long\nhint\n" || l.size() != 0 {
			t.Errorf("old log %q, %v, new one %d bytes", old, err, l.size())
		}
	}
}

// appendText keeps the file's owner.
func appendText(t *testing.T, path, text string) {
	t.Helper()
	if err := appendSynced(path, text); err != nil {
		t.Fatal(err)
	}
}

type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
