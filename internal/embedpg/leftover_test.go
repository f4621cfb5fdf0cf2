//go:build linux || darwin

package embedpg

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func TestKilledParentTakesPostgresWithIt(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	h := startHelper(t, dir)
	pid := h.started(t)
	url, err := Attach(dir)
	if err != nil {
		t.Fatal(err)
	}
	mustQuery(t, url, `CREATE TABLE kept AS SELECT 42 AS n`)
	h.kill()
	if hasDeathSignal {
		eventually(t, "postmaster gone after its parent", func() bool { return !isClusterProcess(pid, filepath.Join(dir, "pgdata")) })
		if recordedPostmaster(filepath.Join(dir, "pgdata")) != 0 {
			t.Error("it did not shut down cleanly: postmaster.pid is still there")
		}
	}
	s := start(t, Options{Dir: dir})
	if got := value(t, s.URL(), `SELECT n FROM kept`); got != "42" {
		t.Errorf("n = %s", got)
	}
}

// The next server comes at once, while the old postmaster is still at it.
func TestStartRightAfterAKill(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	for range 3 {
		h := startHelper(t, dir)
		h.started(t)
		h.kill()
	}
	s := start(t, Options{Dir: dir})
	mustQuery(t, s.URL(), `SELECT 1`)
}

// Both are killed, with a child of the postmaster busy.
func TestStartAfterParentAndPostmasterWereKilled(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	h := startHelper(t, dir)
	pid := h.started(t)
	url, err := Attach(dir)
	if err != nil {
		t.Fatal(err)
	}
	mustQuery(t, url, `CREATE TABLE kept AS SELECT 42 AS n`)
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		_ = query(url, `/* busy */ DO $$ BEGIN LOOP END LOOP; END $$`)
	}()
	eventually(t, "busy query", func() bool {
		return value(t, url, `SELECT count(*) FROM pg_stat_activity WHERE query LIKE '/* busy */%'`) == "1"
	})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.kill()
	s := start(t, Options{Dir: dir})
	<-busy
	if got := value(t, s.URL(), `SELECT n FROM kept`); got != "42" {
		t.Errorf("n = %s", got)
	}
}

// A system that does not tell the child leaves a whole running server behind.
func TestLeftOverPostmasterIsStopped(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"running": 0, "that does not answer": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newDir(t)
			s := start(t, Options{Dir: dir})
			mustQuery(t, s.URL(), `CREATE TABLE kept AS SELECT 42 AS n`)
			stop(t, s)

			cmd := s.cluster.command("postgres", arguments(s.cluster.data(), s.socketDir, true, nil)...)
			left, err := startProcess(cmd, 0)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "left-over server", func() bool { _, err := Attach(dir); return err == nil })
			if sig != 0 {
				if err := syscall.Kill(left.pid, sig); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			s = start(t, Options{Dir: dir})
			if took := time.Since(began); took > 17*time.Second { // 15 for the old one, some for the new
				t.Errorf("start took %s", took)
			}
			<-left.done
			if got := value(t, s.URL(), `SELECT n FROM kept`); got != "42" {
				t.Errorf("n = %s", got)
			}
		})
	}
}

func TestStalePidFileOfAnotherProcess(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]func(pid int) string{
		"its id is taken": func(pid int) string { return strconv.Itoa(pid) + "\n/somewhere\n" },
		"empty":           func(int) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newDir(t)
			s := start(t, Options{Dir: dir})
			stop(t, s)
			other := s.cluster.command("postgres")
			other.Path, other.Args = "/bin/sleep", []string{"sleep", "600"}
			p, err := startProcess(other, syscall.SIGKILL)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { p.signal(syscall.SIGKILL); <-p.done })
			if err := os.WriteFile(filepath.Join(dir, "pgdata/postmaster.pid"), []byte(content(p.pid)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.cluster.acct.own(filepath.Join(dir, "pgdata/postmaster.pid")); err != nil {
				t.Fatal(err)
			}
			start(t, Options{Dir: dir})
			if p.gone() {
				t.Error("the other process was killed")
			}
		})
	}
}

// Ctrl-C goes to everybody in the terminal's process group; the server then
// still needs its database to write out what it has.
func TestTerminalSignalDoesNotReachPostgres(t *testing.T) {
	t.Parallel()
	h := startHelper(t, newDir(t))
	pid := h.started(t)
	if err := syscall.Kill(-h.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if got, want := h.line(), "flushed "+strconv.Itoa(pid); got != want {
		t.Errorf("helper said %q, not %q", got, want)
	}
	if err := h.cmd.Wait(); err != nil {
		t.Errorf("helper: %v", err)
	}
}

// A process that only works in the data directory is none of ours.
func TestOtherProgramsInTheDataDirectoryLive(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, Options{Dir: dir})
	stop(t, s)
	other := exec.Command("/bin/sleep", "600")
	other.Dir = filepath.Join(dir, "pgdata")
	other.SysProcAttr = &syscall.SysProcAttr{}
	p, err := startProcess(other, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.signal(syscall.SIGKILL); <-p.done })
	start(t, Options{Dir: dir})
	if p.gone() {
		t.Error("it was killed")
	}
}
