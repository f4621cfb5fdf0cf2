//go:build linux || darwin

package embedpg

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// These make the test binary do something else with a directory: serve it, in a
// process that a test may kill, or attach to its server.
const (
	helperDir    = "EMBEDPG_TEST_HELPER_DIR"
	helperAttach = "EMBEDPG_TEST_ATTACH_DIR"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		os.Exit(helper(dir))
	}
	if dir := os.Getenv(helperAttach); dir != "" {
		if _, err := Attach(dir); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("attached")
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// helper starts the server, says so, and answers SIGINT with a query before it
// stops: what a server does that flushes on Ctrl-C.
func helper(dir string) int {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	s, err := Start(context.Background(), Options{Dir: dir, NoSync: true})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	// Threads come and go in a Go program; the child must not mind.
	for range 20 {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			runtime.LockOSThread() // the thread ends with the goroutine
		}()
		<-ended
	}
	fmt.Println("started", s.Pid())
	<-interrupted
	if err := query(s.URL(), `SELECT 1`); err != nil {
		fmt.Println("error", err)
		return 1
	}
	fmt.Println("flushed", s.Pid())
	if err := s.Stop(context.Background()); err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

type helperProcess struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

// startHelper runs helper in a process group of its own.
func startHelper(t *testing.T, dir string) *helperProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := &helperProcess{cmd: exec.Command(self)}
	h.cmd.Env = append(os.Environ(), helperDir+"="+dir)
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	h.cmd.Stderr = os.Stderr
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.lines = bufio.NewScanner(out)
	t.Cleanup(h.kill)
	return h
}

// line returns the next line that the helper prints.
func (h *helperProcess) line() string {
	h.lines.Scan()
	return h.lines.Text()
}

// started waits for the helper's server and returns its postmaster's id.
func (h *helperProcess) started(t *testing.T) (pid int) {
	t.Helper()
	line := h.line()
	if _, err := fmt.Sscanf(line, "started %d", &pid); err != nil {
		t.Fatalf("helper said %q", line)
	}
	return pid
}

func (h *helperProcess) kill() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

// newDir returns a directory for a server, in a place that every account can
// reach, which those of [testing.T.TempDir] are not.
func newDir(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("", "embedpg-test-")
	if err == nil {
		err = os.Chmod(parent, 0o755)
	}
	if err == nil {
		parent, err = filepath.EvalSymlinks(parent)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(parent); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(parent, "data")
}

// start starts a server that is stopped at the end of the test.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	o.NoSync = true
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// query runs one statement on a connection of its own.
func query(url, statement string) error {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(statement)
	return err
}

func mustQuery(t *testing.T, url, statement string) {
	t.Helper()
	if err := query(url, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// value returns the one value that a statement yields.
func value(t *testing.T, url, statement string) string {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var v string
	if err := db.QueryRow(statement).Scan(&v); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return v
}

// eventually waits for what no event announces: the state of processes that are
// not our children.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func oneLine(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error has several lines: %q", err)
	}
	return err.Error()
}

// programs returns the programs that a new cluster would be run by.
func programs(t *testing.T) binaries {
	t.Helper()
	b, err := findBinaries(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signalText sends sig to a process id in decimal.
func signalText(t *testing.T, pid string, sig syscall.Signal) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err == nil {
		err = syscall.Kill(n, sig)
	}
	if err != nil {
		t.Fatal(err)
	}
}
