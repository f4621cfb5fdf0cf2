package proof

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox/internal/pgtest"
)

// embedded is a running examples/embed: a Mochi server of somebody else's, in a
// module of its own, that has taken Postbox in.
type embedded struct {
	t                testing.TB
	binary, database string
	tcp, ws, own     string
	cmd              *exec.Cmd
	log              *os.File
}

// buildEmbed builds the example as its owner would, in its directory.
func buildEmbed(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "embed")
	build := []string{"build", "-o", binary}
	if raceEnabled {
		build = append(build, "-race")
	}
	for _, args := range [][]string{{"vet", "."}, append(build, ".")} {
		cmd := exec.Command(tool(t, "go"), args...)
		cmd.Dir = filepath.Join("..", "..", "examples", "embed")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s in %s: %v\n%s", args[0], cmd.Dir, err, out)
		}
	}
	return binary
}

func startEmbed(t *testing.T, database string) *embedded {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	e := &embedded{
		t: t, binary: buildEmbed(t), database: database, log: log,
		tcp: freeAddress(t), ws: freeAddress(t), own: freeAddress(t),
	}
	t.Cleanup(func() {
		if e.cmd != nil {
			_ = e.cmd.Process.Kill()
			_ = e.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("the log of the example:\n%s", e.said())
		}
		_ = log.Close()
	})
	e.start()
	return e
}

// start runs the example and waits until it serves.
func (e *embedded) start() {
	e.t.Helper()
	served := func() int { return strings.Count(e.said(), " serving ") }
	before := served()
	e.cmd = exec.Command(e.binary, "-tcp", e.tcp, "-ws", e.ws, "-postbox", e.own)
	e.cmd.Env = append(os.Environ(), "DATABASE_URL="+e.database)
	e.cmd.Stdout, e.cmd.Stderr = e.log, e.log
	endWithUs(e.cmd)
	if err := e.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	for end := time.Now().Add(patience); served() == before; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			e.t.Fatalf("the example does not serve:\n%s", e.said())
		}
	}
}

func (e *embedded) said() string {
	text, err := os.ReadFile(e.log.Name())
	if err != nil {
		e.t.Fatal(err)
	}
	return string(text)
}

// kill ends the example as kill -9 does.
func (e *embedded) kill() {
	e.t.Helper()
	_ = e.cmd.Process.Kill()
	_ = e.cmd.Wait()
	e.cmd = nil
}

// stop ends the example as its owner does.
func (e *embedded) stop() {
	e.t.Helper()
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	began := time.Now()
	if err := e.cmd.Wait(); err != nil {
		e.t.Errorf("SIGTERM: %v", err)
	}
	if took := time.Since(began); took > 20*time.Second {
		e.t.Errorf("the end took %v", took)
	}
	e.cmd = nil
}

// heard keeps the bodies that came, of inbox entries and of all else.
type heard struct {
	mu     sync.Mutex // guards bodies
	bodies []string
}

func (h *heard) take(d Delivery) {
	var envelope struct {
		Type, Body string
		Seq        int64 `json:"inbox_seq"`
	}
	body := string(d.Body)
	if strings.HasPrefix(d.Topic, "inbox/") && json.Unmarshal(d.Body, &envelope) == nil {
		body = fmt.Sprintf("%d %s", envelope.Seq, envelope.Body)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bodies = append(h.bodies, body)
}

func (h *heard) await(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		h.mu.Lock()
		got = append([]string(nil), h.bodies...)
		h.mu.Unlock()
		if len(got) >= len(want) {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
}

// The README shows the example as it is.
func TestReadmeShowsTheExample(t *testing.T) {
	t.Parallel()
	read := func(path ...string) string {
		text, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, serve, found := strings.Cut(read("examples", "embed", "main.go"), "\nfunc serve(")
	if !found || !strings.Contains(read("README.md"), "func serve("+strings.TrimSpace(serve)+"\n```\n") {
		t.Error("README.md does not show func serve of examples/embed/main.go, or another")
	}
}

// Somebody's own Mochi server, built as a module of its own, has inboxes in its
// PostgreSQL and keeps its own topics: by Mochi's listener and by ours, over kill -9.
func TestEmbed(t *testing.T) {
	t.Parallel()
	cluster := pgtest.NewCluster(t)
	db, err := sql.Open("postgres", cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	e := startEmbed(t, cluster.URL())
	for i, version := range []string{"311", "5"} {
		for listener, addr := range map[string]string{"mochi": e.tcp, "postbox": e.own} {
			t.Run(listener+" "+version, func(t *testing.T) { e.story(t, db, addr, version, fmt.Sprint(listener, i)) })
		}
	}
	e.stop()
	if holes := Holes(t, db); len(holes) > 0 {
		t.Errorf("holes: %v", holes)
	}
}

func (e *embedded) story(t *testing.T, db *sql.DB, addr, version, names string) {
	as := func(user, id string) Mosquitto {
		return Mosquitto{Addr: addr, Version: version, ID: id, User: user + names, Password: user + names + "-secret"}
	}
	alice, bob, inbox := as("alice", "laptop"), as("bob", "phone"), "inbox/bob"+names
	mustPublish := func(m Mosquitto, p Publication) {
		t.Helper()
		if out := m.Publish(t, p); out.Code != 0 {
			t.Fatalf("mosquitto_pub ended with %d: %s", out.Code, out.Stderr)
		}
	}
	thief := bob
	thief.Password = "wrong"
	if out := thief.Publish(t, Publication{Topic: inbox, QoS: 1, Body: []byte("x")}); out.Code == 0 {
		t.Error("a wrong password was taken")
	}
	var mail, panel heard
	phone := bob.Subscribe(t, inbox, mail.take, "-c", "-q", "1")
	watcher := as("carol", "panel").Subscribe(t, "telemetry/#", panel.take, "-q", "1")

	mustPublish(alice, Publication{Topic: inbox, QoS: 1, Body: []byte("hello")})
	if n := len(Inbox(t, db, "bob"+names)); n != 1 {
		t.Errorf("%d rows when the acknowledgement was there, want 1", n)
	}
	mail.await(t, "1 hello")
	alice.Publish(t, Publication{Topic: "telemetry/bob" + names + "/temperature", QoS: 1, Body: []byte("forged")})
	mustPublish(alice, Publication{Topic: "telemetry/alice" + names + "/temperature", QoS: 1, Body: []byte("21")})
	panel.await(t, "21")
	watcher.Stop()

	// The phone is off, the server killed with publishes on their way.
	phone.Kill()
	const lines = 400
	want := []string{"1 hello"}
	pump := alice.PublishLines(t, inbox, 1)
	write := func(from, to int) {
		for n := from; n < to; n++ {
			if err := pump.WriteLine(fmt.Sprint("line ", n)); err != nil {
				t.Errorf("write to mosquitto_pub: %v", err)
				return
			}
		}
	}
	for n := range lines {
		want = append(want, fmt.Sprintf("%d line %d", n+2, n))
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		write(0, lines)
	}()
	awaitRow(t, db, `SELECT 1 FROM postbox.messages m JOIN postbox.users u ON u.id = m.sender_id WHERE u.name = '`+alice.User+`' OFFSET 50`)
	e.kill()
	e.start()
	<-written
	awaitRow(t, db, fmt.Sprintf(`SELECT 1 FROM postbox.messages m JOIN postbox.users u ON u.id = m.sender_id WHERE u.name = '%s' OFFSET %d`, alice.User, lines))
	pump.Stop()

	var back heard
	bob.Subscribe(t, inbox, back.take, "-c", "-q", "1")
	back.await(t, want[1:]...)
	var stored []string
	for _, r := range Inbox(t, db, "bob"+names) {
		stored = append(stored, fmt.Sprintf("%d %s", r.InboxSeq, r.Body))
	}
	if diff := cmp.Diff(want, stored); diff != "" {
		t.Errorf("stored: -want +got:\n%s", diff)
	}
	mail.await(t, "1 hello")
}
