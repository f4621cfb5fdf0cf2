package proof

import (
	"bufio"
	"bytes"
	"cmp"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq" // the driver of Server.DB

	"postbox/internal/embedpg"
)

// ServerOptions say how a server is started.
type ServerOptions struct {
	// NoRace builds the server without the race detector even when the tests
	// run with it: for measures of memory and speed.
	NoRace bool
	// DatabaseURL is an external database; empty: the embedded one.
	DatabaseURL string
	// Env are further settings of the environment, NAME=value.
	Env []string
	// Dir is the directory of the embedded database, below one of the test's
	// own; empty: data.
	Dir string
	// Fresh lets the server make its cluster itself, as at a first start. So does
	// Dir; otherwise it finds one.
	Fresh bool
	// Files is how many files the server may have open; zero: as many as we.
	Files int
}

// Addresses are where a server listens.
type Addresses struct {
	MQTT    string `json:"mqtt"`
	HTTP    string `json:"http"`
	Private string `json:"private"`
	MQTTS   string `json:"mqtts"`
	HTTPS   string `json:"https"`
}

// Server is a running `postbox serve`.
type Server struct {
	// Dir is the directory of the embedded database.
	Dir string
	Addresses

	t      testing.TB
	o      ServerOptions
	root   string // of Dir and the log; the working directory
	binary string
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process is gone
	log    *os.File      // stderr of all runs
}

// StartServer starts a server in a directory of its own and waits until it
// listens. With the test it is stopped; then a panic, a data race or a
// lifeless exit fails the test.
func StartServer(t testing.TB, o ServerOptions) *Server {
	t.Helper()
	s := NewServer(t, o)
	if o.DatabaseURL == "" && o.Dir == "" && !o.Fresh {
		copyCluster(t, s.Dir)
	}
	s.start()
	return s
}

// NewServer prepares what StartServer starts.
func NewServer(t testing.TB, o ServerOptions) *Server {
	t.Helper()
	binary := Postbox(t, raceEnabled && !o.NoRace)
	// Not t.TempDir: that one is closed to the account that PostgreSQL runs as.
	root, err := os.MkdirTemp("", "postbox-proof-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(root, "postbox.log"))
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Dir: filepath.Join(root, cmp.Or(o.Dir, "data")), t: t, o: o, root: root, binary: binary, log: log}
	t.Cleanup(func() {
		s.end()
		log.Close()
		if t.Failed() {
			t.Logf("the last lines of the server's log:\n%s", s.LogTail(40))
		}
		os.RemoveAll(root)
	})
	s.Addresses = Addresses{MQTT: freeAddress(t), HTTP: freeAddress(t), Private: freeAddress(t)}
	return s
}

// env is the environment of the server and of the command line beside it. Our
// own POSTBOX_… variables are not for them: an unknown one is an error.
func (s *Server) env() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "POSTBOX_") })
	env = append(env,
		"POSTBOX_LISTEN_MQTT="+s.MQTT, "POSTBOX_LISTEN_HTTP="+s.HTTP, "POSTBOX_LISTEN_PRIVATE="+s.Private,
		"POSTBOX_LIMITS_PUBLISH_RATE=0", "POSTBOX_LIMITS_PACKET_RATE=0", "POSTBOX_LIMITS_CONNECT_RATE=0",
	)
	if s.o.DatabaseURL != "" {
		env = append(env, "POSTBOX_DATABASE_URL="+s.o.DatabaseURL)
	} else {
		env = append(env, "POSTBOX_DATABASE_EMBEDDED_DIR="+s.Dir)
	}
	return append(env, s.o.Env...)
}

// start runs the binary and waits for its "listening" line.
func (s *Server) start() {
	s.t.Helper()
	cmd := exec.Command(s.binary, "serve")
	if s.o.Files > 0 {
		cmd = exec.Command("sh", "-c", `ulimit -n "$0" && exec "$@"`, strconv.Itoa(s.o.Files), s.binary, "serve")
	}
	cmd.Env, cmd.Dir, cmd.Stderr = s.env(), s.root, s.log
	endWithUs(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start postbox: %v", err)
	}
	ended, line := make(chan struct{}), make(chan string, 1)
	s.cmd, s.ended = cmd, ended
	go func() {
		defer close(ended)
		r := bufio.NewReader(out)
		for {
			text, err := r.ReadString('\n')
			if strings.HasPrefix(text, "listening ") {
				line <- strings.TrimSpace(text)
			}
			if err != nil {
				break
			}
		}
		_ = cmd.Wait()
	}()
	select {
	case l := <-line:
		now, err := parseListening(l)
		if err != nil {
			s.t.Fatal(err)
		}
		// After a restart they are what they were, and others are reading them.
		if now != s.Addresses {
			s.Addresses = now
		}
	case <-ended:
		s.t.Fatalf("postbox serve ended before it listened: %v\n%s", cmd.ProcessState, s.LogTail(20))
	case <-time.After(5 * patience): // the first start makes a cluster
		s.t.Fatalf("postbox serve does not listen after %v\n%s", 5*patience, s.LogTail(20))
	}
}

// parseListening reads `listening mqtt=… http=… private=…`, with mqtts=… and
// https=… where there are such.
func parseListening(line string) (Addresses, error) {
	var a Addresses
	into := map[string]*string{"mqtt": &a.MQTT, "http": &a.HTTP, "private": &a.Private, "mqtts": &a.MQTTS, "https": &a.HTTPS}
	for _, word := range strings.Fields(line)[1:] {
		k, v, _ := strings.Cut(word, "=")
		if p := into[k]; p != nil {
			*p = v
		}
	}
	if a.MQTT == "" || a.HTTP == "" || a.Private == "" {
		return a, fmt.Errorf("line %q does not name the addresses mqtt, http and private", line)
	}
	return a, nil
}

// PID is the process id of the server.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Kill9 kills the server without notice and waits until it is gone.
func (s *Server) Kill9() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatalf("kill postbox: %v", err)
	}
	<-s.ended
}

// Stop asks the server to end with SIGTERM: it must exit with 0 within 10 s.
func (s *Server) Stop() {
	s.t.Helper()
	began := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatalf("stop postbox: %v", err)
	}
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("postbox has not ended %v after SIGTERM", patience)
	}
	if took := time.Since(began); took > 10*time.Second {
		s.t.Errorf("postbox took %v to end after SIGTERM, want at most 10 s", took)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("postbox ended with %v after SIGTERM, want exit 0", s.cmd.ProcessState)
	}
}

// Hangup sends the server SIGHUP.
func (s *Server) Hangup() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatalf("signal postbox: %v", err)
	}
}

// Restart starts a stopped or killed server again, on the same addresses.
func (s *Server) Restart() {
	s.t.Helper()
	before := s.Addresses
	s.start()
	if s.Addresses != before {
		s.t.Fatalf("restarted on %+v, want %+v", s.Addresses, before)
	}
}

// end is the clean-up of a test: stop, then look for panics and races.
func (s *Server) end() {
	if s.cmd == nil || s.ended == nil {
		return
	}
	select {
	case <-s.ended:
	default:
		s.Stop()
		select {
		case <-s.ended:
		default:
			s.Kill9()
		}
	}
	if pid, err := s.postmaster(); err == nil && s.o.DatabaseURL == "" {
		if syscall.Kill(pid, 0) == nil {
			if !s.t.Failed() {
				s.t.Errorf("the embedded postmaster %d outlives its server", pid)
			}
			_ = syscall.Kill(pid, syscall.SIGQUIT)
		}
	}
	log, err := os.ReadFile(s.log.Name())
	if err != nil {
		s.t.Error(err)
	}
	for _, bad := range []string{"WARNING: DATA RACE", "panic:", "fatal error:"} {
		if i := bytes.Index(log, []byte(bad)); i >= 0 {
			s.t.Errorf("the server's log has %q:\n%s", bad, log[i:min(len(log), i+6000)])
		}
	}
}

// postmaster reads the process id of the embedded PostgreSQL.
func (s *Server) postmaster() (int, error) {
	data, err := os.ReadFile(filepath.Join(s.Dir, "pgdata", "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(data), "\n")
	return strconv.Atoi(strings.TrimSpace(first))
}

// LogTail is the last lines of what the server logged.
func (s *Server) LogTail(lines int) string {
	log, err := os.ReadFile(s.log.Name())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(log), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Output is what a command printed and how it ended.
type Output struct {
	Stdout, Stderr string
	Code           int
}

// Command runs the postbox command line with the server's settings.
func (s *Server) Command(stdin string, args ...string) Output {
	s.t.Helper()
	cmd := exec.Command(s.binary, args...)
	cmd.Env, cmd.Dir, cmd.Stdin = s.env(), s.root, strings.NewReader(stdin)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("run postbox %v: %v", args, err)
	}
	return Output{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// AddUser makes a user through the command line, while the server runs.
func (s *Server) AddUser(name, password string) {
	s.t.Helper()
	if out := s.Command(password+"\n", "user", "add", name, "--password-stdin"); out.Code != 0 {
		s.t.Fatalf("user add %s: exit %d\n%s%s", name, out.Code, out.Stdout, out.Stderr)
	}
}

// DatabaseURL is that of the database in use. The embedded one changes its
// address with each start.
func (s *Server) DatabaseURL() (string, error) {
	if s.o.DatabaseURL != "" {
		return s.o.DatabaseURL, nil
	}
	return embedpg.Attach(s.Dir)
}

// DB opens the server's database and waits until it answers: it may just have
// been killed. Close it before the server stops.
func (s *Server) DB() *sql.DB {
	s.t.Helper()
	var last error
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(50 * time.Millisecond) {
		url, err := s.DatabaseURL()
		if err != nil {
			last = err
			continue
		}
		db, err := sql.Open("postgres", url)
		if err != nil {
			s.t.Fatal(err)
		}
		if last = db.Ping(); last == nil {
			return db
		}
		db.Close()
	}
	s.t.Fatalf("the database does not answer: %v", last)
	return nil
}

// AddressesFile reads the addresses that the server left in its directory.
func (s *Server) AddressesFile() (Addresses, error) {
	var a Addresses
	f, err := os.Open(filepath.Join(s.Dir, "addresses.json"))
	if err != nil {
		return a, err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(data, &a)
}
