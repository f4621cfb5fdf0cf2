package proof

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// files is a server that may have few files open, two users inside, and a crowd
// that wants in.
type files struct {
	*testing.T
	s     *Server
	from  *Source
	at    *Ledger
	lines int // of the log, before
}

// roomFor is how many files the server may have open: over a hundred more than
// it needs for itself.
const roomFor = 192

// More connect than there are files for: who is inside is served as before, with
// new connections to PostgreSQL even, others are turned away with a line in the
// log, and once the crowd has gone there is room at once.
func TestNoFilesLeft(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	crowd := strangers(t, f.s.MQTT, 250, func(int) []byte { return nil })
	pages := strangers(t, f.s.HTTP, 50, func(int) []byte { return nil })
	in := stillOpen(crowd) + stillOpen(pages)
	t.Logf("%d of %d are inside; %d of %d files are open", in, len(crowd)+len(pages), OpenFiles(t, f.s.PID()), roomFor)
	if in < roomFor/3 || in > roomFor-60 {
		t.Errorf("%d of the crowd are inside, want as many as %d files leave room for, less what the server needs", in, roomFor)
	}
	f.goOn()
	f.cutDatabase()
	f.goOn()
	f.watched()
	f.idle()
	f.toldOnce("connections are turned away")
	f.leave(append(crowd, pages...))
}

// The same where something else has taken the last file: accepting itself fails.
func TestAcceptFails(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	LimitFiles(t, f.s.PID(), uint64(OpenFiles(t, f.s.PID())+20))
	crowd := strangers(t, f.s.MQTT, 100, func(int) []byte { return nil })
	deadline := time.Now().Add(patience)
	for !strings.Contains(f.s.LogTail(10), "no file is left") {
		if time.Now().After(deadline) {
			t.Fatal("accepting does not fail, or the log does not say so")
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.goOn()
	f.idle()
	f.toldOnce("no file is left")
	f.leave(crowd)
}

func newFiles(t *testing.T) *files {
	t.Helper()
	f := &files{T: t, at: NewLedger("bob/phone", 0)}
	f.s = StartServer(t, ServerOptions{NoRace: true, Files: roomFor, Env: []string{"POSTBOX_LIMITS_CONNECT_TIMEOUT=1m"}})
	for _, user := range []string{"alice", "bob"} {
		f.s.AddUser(user, user+"'s secret")
	}
	phone := ConnectDevice(t, f.s.MQTT, RawConnect{Version: 4, ID: "phone", User: "bob", Password: "bob's secret"}, f.at)
	phone.Follow(0)
	f.from = StartSource(t, f.s.MQTT, "alice", "laptop", 200, "bob")
	f.goOn()
	f.lines = len(f.log())
	return f
}

// stillOpen counts the connections that the server has not closed; it has closed
// the others, or does so now.
func stillOpen(conns []net.Conn) int {
	var open atomic.Int32
	var readers sync.WaitGroup
	for _, c := range conns {
		readers.Go(func() {
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := c.Read(make([]byte, 1)); isTimeout(err) {
				open.Add(1)
			}
		})
	}
	readers.Wait()
	return int(open.Load())
}

// goOn lets alice write to bob, who must receive all, each message acknowledged
// and in the database.
func (f *files) goOn() {
	f.Helper()
	began := time.Now()
	f.from.Send(f, 50)
	sent := int64(f.from.next)
	f.at.WaitFor(f, sent)
	if took := time.Since(began); took > 5*time.Second {
		f.Errorf("50 messages of those inside took %v", took)
	}
	db := f.s.DB()
	defer db.Close()
	var stored int64
	if err := db.QueryRow(`SELECT count(*) FROM postbox.messages`).Scan(&stored); err != nil || stored != sent {
		f.Errorf("%d messages are stored, %v; want %d", stored, err, sent)
	}
}

// cutDatabase ends each of the server's connections to PostgreSQL.
func (f *files) cutDatabase() {
	f.Helper()
	db := f.s.DB()
	defer db.Close()
	var n int
	if err := db.QueryRow(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n); err != nil || n < 3 {
		f.Fatalf("%d connections to the database ended, %v", n, err)
	}
}

// watched fails the test if nobody can see how the server is.
func (f *files) watched() {
	f.Helper()
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		r, err := http.Get("http://" + f.s.Private + path)
		if err != nil {
			f.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != http.StatusOK {
			f.Errorf("%s: %s, %v: %.200s", path, r.Status, err, body)
		}
		if path == "/metrics" && strings.Contains(string(body), "postbox_connections_turned_away_total 0\n") {
			f.Error("the metrics say that nobody was turned away")
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// idle fails the test if the server spins.
func (f *files) idle() {
	f.Helper()
	before := Processor(f, f.s.PID())
	const while = time.Second
	time.Sleep(while) // it is this second that is measured
	used := Processor(f, f.s.PID()) - before
	f.Logf("the server used %v in %v", used, while)
	if used > while/5 {
		f.Errorf("with nothing to do the server used %v in %v", used, while)
	}
}

func (f *files) log() []string {
	f.Helper()
	data, err := os.ReadFile(f.s.log.Name())
	if err != nil {
		f.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// toldOnce looks for what the log says of the crowd, and what to do.
func (f *files) toldOnce(what string) {
	f.Helper()
	said := f.log()[f.lines:]
	n := 0
	for _, line := range said {
		if strings.Contains(line, what) && strings.Contains(line, "raise the limit of open files (LimitNOFILE=, ulimit -n)") &&
			strings.Contains(line, fmt.Sprintf(`"files":%d`, roomFor)) {
			n++
		}
	}
	if n != 1 || len(said) > 20 {
		f.Errorf("%d lines say %q, of %d; want one, and few others:\n%s", n, what, len(said), strings.Join(said[:min(len(said), 20)], "\n"))
	}
}

// leave ends the crowd: now there is room, by both doors.
func (f *files) leave(crowd []net.Conn) {
	f.Helper()
	for _, conn := range crowd {
		conn.Close()
	}
	began := time.Now()
	for {
		err := getIn(f.s.MQTT, RawConnect{Version: 4, ID: "tablet", User: "alice", Password: "alice's secret", Clean: true})
		if err == nil {
			break
		}
		if time.Since(began) > patience {
			f.Fatalf("nobody gets in after the crowd has gone: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(began)
	f.Logf("somebody gets in %v after the crowd has gone", took)
	if took > 2*time.Second {
		f.Errorf("somebody gets in %v after the crowd has gone", took)
	}
	r, err := http.Get("http://" + f.s.HTTP + "/")
	if err != nil {
		f.Fatal(err)
	}
	r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	f.goOn()
	f.at.Check(f)
}

// getIn connects, and goes again.
func getIn(addr string, c RawConnect) error {
	conn, err := c.dial(addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(c.packet()); err != nil {
		return err
	}
	f, err := readFrame(bufio.NewReader(conn))
	if err == nil && f.body[1] != 0 {
		err = fmt.Errorf("CONNACK 0x%02x", f.body[1])
	}
	return err
}
