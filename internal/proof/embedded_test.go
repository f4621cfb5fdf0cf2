package proof

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The path of a socket may have some hundred bytes, that of a directory more.
func TestLongDirectory(t *testing.T) {
	t.Parallel()
	dir := strings.Repeat("deep/", 40)[:199] // 200 with the slash before it
	s := StartServer(t, ServerOptions{Dir: dir})
	if len(s.Dir) < 200 {
		t.Fatalf("%s has only %d bytes", s.Dir, len(s.Dir))
	}
	s.AddUser("alice", "alice's secret")
	r, code, _ := DialRaw(t, s.MQTT, RawConnect{Version: 5, ID: "d", User: "alice", Password: "alice's secret", Clean: true})
	if code != 0 {
		t.Fatalf("CONNACK 0x%02x", code)
	}
	if reason, _ := r.Publish("inbox/alice", "hello", false); reason != 0 {
		t.Errorf("PUBACK 0x%02x", reason)
	}
}

// The database is UTF-8, in the order of bytes, whatever the environment says.
func TestLocaleOfTheEnvironment(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{
		"none":  {"LANG=", "LC_ALL="},
		"C":     {"LANG=C", "LC_ALL="},
		"POSIX": {"LANG=", "LC_ALL=POSIX"},
	} {
		t.Run(name, func(t *testing.T) {
			s := StartServer(t, ServerOptions{Fresh: true, Env: env})
			db := s.DB()
			defer db.Close()
			var encoding, collate string
			err := db.QueryRow(`SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = current_database()`).Scan(&encoding, &collate)
			if err != nil || encoding != "UTF8" || collate != "C" {
				t.Errorf("encoding %s, collation %s, %v, want UTF8 and C", encoding, collate, err)
			}
		})
	}
}

// floods are senders at full speed, and what they were told.
type floods struct {
	s   *Server
	all []*Flood
}

// startFloods makes users and floods, and waits until messages are flowing.
func startFloods(t *testing.T, s *Server) *floods {
	t.Helper()
	f := &floods{s: s}
	for n := range 4 {
		user := fmt.Sprint("sender-", n)
		if n == 0 {
			s.AddUser("bob", "bob's secret")
		}
		s.AddUser(user, user+"'s secret")
		c := RawConnect{Version: 4, ID: "d", User: user, Password: user + "'s secret"}
		f.all = append(f.all, NewFlood(t, s.MQTT, c, "inbox/bob", 100, 0))
	}
	for _, one := range f.all {
		one.Go()
	}
	limit := time.Now().Add(patience)
	for f.acknowledged() < 2000 {
		if time.Now().After(limit) {
			t.Fatalf("only %d messages acknowledged after %v", f.acknowledged(), patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return f
}

func (f *floods) acknowledged() (n int) {
	for _, one := range f.all {
		n += int(one.Acknowledged())
	}
	return n
}

// check starts the server again and holds what is stored against what was
// acknowledged: of each sender the first messages, without a hole and not fewer.
func (f *floods) check(t *testing.T) {
	t.Helper()
	sent, acked := 0, 0
	for _, one := range f.all {
		one.Stop()
		one.work.Wait()
		sent += int(one.Sent())
		acked += int(one.Acknowledged())
	}
	f.s.Restart()
	db := f.s.DB()
	defer db.Close()
	stored := map[string][]int64{}
	for _, m := range Messages(t, db, time.Time{}) {
		var name string
		var n int64
		if _, err := fmt.Sscanf(m.Body, "%s %d", &name, &n); err != nil {
			t.Fatalf("body %q: %v", m.Body, err)
		}
		stored[name] = append(stored[name], n)
	}
	total := 0
	for _, one := range f.all {
		got := stored[one.Name]
		total += len(got)
		if int64(len(got)) < one.Acknowledged() {
			t.Errorf("%s: %d messages stored, %d acknowledged", one.Name, len(got), one.Acknowledged())
		}
		for i, n := range got {
			if n != int64(i+1) {
				t.Errorf("%s: message %d stored in place %d", one.Name, n, i+1)
				break
			}
		}
	}
	if holes := Holes(t, db); len(holes) > 0 {
		t.Errorf("holes: %v", holes)
	}
	t.Logf("%d sent, %d acknowledged, %d stored", sent, acked, total)
}

// Ctrl-C in a terminal reaches every process there. The server still writes out
// what it has, acknowledges it, and its PostgreSQL ends cleanly after it.
func TestInterruptOfTheWholeGroupUnderLoad(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	f := startFloods(t, s)
	s.ends(t, func() error { return syscall.Kill(-s.PID(), syscall.SIGINT) })
	if log := s.LogTail(1000); strings.Contains(log, "postgresql died") || !strings.Contains(log, "postgresql stopped") {
		t.Errorf("PostgreSQL did not end after the server:\n%s", log)
	}
	f.check(t)
	if log, err := os.ReadFile(s.Dir + "/postgres.log"); err != nil || strings.Contains(string(log), "not properly shut down") {
		t.Errorf("the next start had to recover (%v):\n%s", err, log)
	}
}

// SIGTERM under load on the embedded database: exit 0 within ten seconds, and
// what was acknowledged is there.
func TestTerminateUnderLoad(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	f := startFloods(t, s)
	s.ends(t, func() error { return syscall.Kill(s.PID(), syscall.SIGTERM) })
	f.check(t)
}

// A server that waits for its database at the start ends as well.
func TestTerminateWhileStarting(t *testing.T) {
	t.Parallel()
	s := NewServer(t, ServerOptions{DatabaseURL: "postgres://app@" + freeAddress(t) + "/app?sslmode=disable"})
	cmd := exec.Command(s.binary, "serve")
	cmd.Env, cmd.Dir, cmd.Stderr = s.env(), s.root, s.log
	endWithUs(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.cmd, s.ended = cmd, make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = cmd.Wait()
	}()
	limit := time.Now().Add(patience)
	for !strings.Contains(s.LogTail(100), "waiting for it") {
		if time.Now().After(limit) {
			t.Fatal("it does not wait for its database")
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.ends(t, func() error { return syscall.Kill(s.PID(), syscall.SIGTERM) })
}

// ends sends a signal, after which the server must exit with 0 within ten
// seconds.
func (s *Server) ends(t *testing.T, signal func() error) {
	t.Helper()
	began := time.Now()
	if err := signal(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatalf("the server has not ended %v after the signal", patience)
	}
	took := time.Since(began)
	t.Logf("ended after %v", took.Round(time.Millisecond))
	if code := s.cmd.ProcessState.ExitCode(); code != 0 || took > 10*time.Second {
		t.Errorf("ended with %v after %v, want exit 0 within 10 s", s.cmd.ProcessState, took)
	}
}

// A second signal ends the server at once, even while it waits for a PostgreSQL
// that does not stop. What that leaves running is stopped by the next start,
// within 15 seconds and those that a start takes.
func TestSecondSignalAndWhatItLeaves(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	f := startFloods(t, s)
	postmaster, err := s.postmaster()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(postmaster, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// A stopped process stays so when the test fails.
	t.Cleanup(func() { _ = syscall.Kill(postmaster, syscall.SIGCONT) })
	if err := syscall.Kill(s.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	limit := time.Now().Add(patience)
	for !strings.Contains(s.LogTail(1000), "shutting down") {
		if time.Now().After(limit) {
			t.Fatal("the first signal has no effect")
		}
		time.Sleep(5 * time.Millisecond)
	}
	began := time.Now()
	if err := syscall.Kill(s.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatal("the second signal has no effect")
	}
	status, _ := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if took := time.Since(began); took > 2*time.Second || !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("the second signal: %v after %v, want the end by it at once", s.cmd.ProcessState, took)
	}
	if syscall.Kill(postmaster, 0) != nil {
		t.Fatal("nothing is left over: the test shows nothing")
	}
	began = time.Now()
	f.check(t)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the next start and the check took %v", took)
	}
	if now, err := s.postmaster(); err != nil || now == postmaster {
		t.Errorf("the postmaster is still %d, %v", now, err)
	}
}

// Killed without notice, the server is there again within 15 seconds; so it is
// when its postmaster was killed with it.
func TestStartAfterKills(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	s.AddUser("alice", "alice's secret")
	for _, both := range []bool{false, true, false} {
		postmaster, err := s.postmaster()
		if err != nil {
			t.Fatal(err)
		}
		if both {
			if err := syscall.Kill(postmaster, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		s.Kill9()
		began := time.Now()
		s.Restart()
		took := time.Since(began)
		t.Logf("there again after %v", took.Round(time.Millisecond))
		if took > 15*time.Second {
			t.Errorf("the start after the kill took %v", took)
		}
		if out := s.Command("", "user", "list"); !strings.Contains(out.Stdout, "alice") {
			t.Errorf("user list: %+v", out)
		}
	}
}
