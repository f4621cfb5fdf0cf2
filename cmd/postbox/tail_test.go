package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postbox/configs"
)

// An entry is on the screen within 200 ms of its commit, which is before the sender is
// told. A machine that is so busy that to send alone takes longer has that long.
func TestTailAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.person("alice"), w.person("bob")
	var shown, errs lines
	end := bob.background(&shown, &errs, "tail", "--since", "all")
	const n = 11
	var sending, lag []time.Duration
	for i := range n {
		began := time.Now()
		alice.ok("", "send", "bob", fmt.Sprintf("number %d", i+1))
		told := time.Now()
		shown.await(t, i+1)
		sending, lag = append(sending, told.Sub(began)), append(lag, shown.when(i).Sub(told))
	}
	slices.Sort(sending)
	slices.Sort(lag)
	t.Logf("sending took %v, tail was %v behind that; at most %v", sending[n/2], lag[n/2], lag[n-1])
	if limit := max(200*time.Millisecond, sending[n/2]); lag[n/2] > limit {
		t.Errorf("half of the entries came more than %v after their senders were told, want %v", lag[n/2], limit)
	}
	for i, line := range shown.await(t, n) {
		if !strings.HasSuffix(line, fmt.Sprintf("alice > bob  number %d", i+1)) {
			t.Errorf("line %d is %q", i+1, line)
		}
	}
	if code := end(); code != exitDone || len(errs.text) > 0 {
		t.Errorf("after Ctrl-C exit %d, %q", code, errs.text)
	}
}

// What tail was not asked for it does not show, and it ends when it has shown
// enough.
func TestTailFilters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob, carol := w.person("alice"), w.person("bob"), w.person("carol")
	alice.ok("", "rooms", "create", "dev")
	alice.ok("", "rooms", "add", "dev", "bob")
	alice.ok("", "send", "bob", "first")
	carol.ok("", "send", "bob", "second")
	alice.ok("", "send", "--room", "dev", "third")
	alice.ok("", "send", "bob", "\x1b]0;title\x07fourth")
	bob.ok("", "send", "alice", "fifth")

	last := func(args ...string) string {
		t.Helper()
		out := strings.TrimSpace(bob.ok("", append([]string{"tail"}, args...)...))
		all := strings.Split(out, "\n")
		return fmt.Sprintf("%d %s", len(all), all[len(all)-1])
	}
	for _, test := range []struct{ args, want string }{
		{"--since all --count 1", "added bob as member"},
		{"--since all --from carol --count 1", "second"},
		{"--since all --room dev --count 2", "third"},
		{"--since all --from alice --count 4", `\x1b]0;title\x07fourth`},
		{"--since 5 -n 1", "fifth"},
	} {
		if got := last(strings.Fields(test.args)...); !strings.HasSuffix(got, test.want) {
			t.Errorf("tail %s ends with %q, want %q", test.args, got, test.want)
		}
	}
	got := bob.ok("", "tail", "--since", "2", "-n", "1", "--json")
	if !strings.HasPrefix(got, `{"inbox_seq":3,"epoch":"`) || !strings.HasSuffix(got, `"content_type":"text/plain","body":"second"}`+"\n") {
		t.Errorf("as JSON: %s", got)
	}
	_, epoch, _ := strings.Cut(got, `"epoch":"`)
	epoch, _, _ = strings.Cut(epoch, `"`)
	if got := last("--since", epoch+":5", "-n", "1"); !strings.HasSuffix(got, "fifth") {
		t.Errorf("since %s:5 comes %q", epoch, got)
	}
	// From an epoch that never was, nothing is passed over in silence.
	if got := last("--since", "zzzz:5", "-n", "1"); !strings.HasSuffix(got, "(epoch_changed)") {
		t.Errorf("since an unknown epoch comes %q", got)
	}
}

// What has no place in the inbox is shown, and counts for nothing: neither for --count,
// nor for where the example in the help goes on.
func TestTailCountsEntries(t *testing.T) {
	t.Parallel()
	told := []string{
		`{"type":"gap","epoch":"k3f9","code":"expired","after":46,"next":500}`,
		`{"type":"signal","from":"alice","to":"bob","body":"typing"}`,
		`{"type":"delivered","from":"bob","to":"alice","seq":17}`,
		`{"inbox_seq":500,"epoch":"k3f9","type":"message","from":"alice","to":"bob","body":"hello"}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, data := range told {
			fmt.Fprintf(w, "data: %s\n\n", data)
		}
	}))
	defer server.Close()
	p := newPerson(t, "bob")
	p.env = map[string]string{"POSTBOX_URL": server.URL, "POSTBOX_TOKEN": "a.b.c"}
	if got, want := p.ok("", "tail", "--json", "--count", "2"), strings.Join(told, "\n")+"\n"; got != want {
		t.Errorf("tail prints\n%s, want\n%s", got, want)
	}

	_, example, _ := strings.Cut(tailCmd{}.Help(), "jq -r '")
	example, _, _ = strings.Cut(example, "'")
	cmd := exec.CommandContext(t.Context(), "jq", "-r", example)
	cmd.Stdin = strings.NewReader(strings.Join(told, "\n"))
	if out, err := cmd.CombinedOutput(); string(out) != "k3f9:499\nk3f9:500\n" {
		t.Errorf("the example goes on after %q, %v", out, err)
	}
}

// cutting is a connection to the server that is cut again and again, each time
// after some more bytes, in the middle of whatever is on its way.
type cutting struct {
	to   string
	l    net.Listener
	cuts atomic.Int64
	wait sync.WaitGroup
}

func startCutting(t *testing.T, to string) *cutting {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutting{to: to, l: l}
	c.wait.Go(c.serve)
	t.Cleanup(func() { _ = l.Close(); c.wait.Wait() })
	return c
}

func (c *cutting) serve() {
	for {
		in, err := c.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", c.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		limit := 700 + 331*(c.cuts.Add(1)%7)
		c.wait.Go(func() {
			_, _ = io.CopyN(in, out, limit)
			_, _ = in.Close(), out.Close()
		})
		c.wait.Go(func() {
			_, _ = io.Copy(out, in)
			_, _ = in.Close(), out.Close()
		})
	}
}

// The connection is cut, the server starts again: nothing is missing, nothing
// comes twice.
func TestTailComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.person("alice")
	proxy := startCutting(t, w.config.Listen.HTTP)
	bob := newPerson(t, "bob")
	bob.env = map[string]string{"POSTBOX_URL": "http://" + proxy.l.Addr().String(), "POSTBOX_USER": "bob", "POSTBOX_PASSWORD": secret}
	var shown, errs lines
	end := bob.background(&shown, &errs, "tail", "--since", "0", "--json")
	const n = 120
	for i := range n {
		alice.ok("", "send", "bob", fmt.Sprintf("%d %s", i+1, strings.Repeat("x", i)))
		if i == n/3 {
			shown.await(t, i/2)
			w.restart()
		}
	}
	shown.await(t, n)
	alice.ok("", "send", "bob", "the last")
	for i, line := range shown.await(t, n+1) {
		e, err := parseEntry([]byte(line))
		if want := fmt.Sprintf(`{"inbox_seq":%d,`, i+1); err != nil || !strings.HasPrefix(line, want) || e.Type != "message" {
			t.Fatalf("line %d is %s (%v)", i+1, line, err)
		}
	}
	if code := end(); code != exitDone {
		t.Errorf("exit %d\n%s", code, errs.text)
	}
	if cuts := proxy.cuts.Load(); cuts < 10 {
		t.Errorf("the connection was cut %d times only", cuts)
	}
	t.Logf("%d connections; said: %s", proxy.cuts.Load(), errs.text)
}

func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// A stream ends with its token. tail has another by then, and goes on.
func TestTailOutlivesItsToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *configs.Config) { c.Tokens.Access = 2 * time.Second })
	bob, carol := w.person("bob"), newPerson(t, "carol")
	carol.env = map[string]string{"POSTBOX_URL": w.http, "POSTBOX_USER": "carol", "POSTBOX_PASSWORD": secret}
	file, err := serverFlags{}.kept(bob.globals("", nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	var shown, errs lines
	end := bob.background(&shown, &errs, "tail", "--since", "all")
	last := ""
	for n := range 3 {
		for limit := time.Now().Add(patience); ; {
			saved, err := file.load()
			if err != nil || time.Now().After(limit) {
				t.Fatalf("the login is not renewed: %v", err)
			}
			if saved.RefreshToken != last {
				last = saved.RefreshToken
				break
			}
			if err := pause(t.Context(), 20*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		carol.ok("", "send", "bob", "still there?")
		shown.await(t, n+1)
	}
	if code := end(); code != exitDone || len(errs.text) > 0 {
		t.Errorf("exit %d, %q", code, errs.text)
	}
}

// An account that is disabled ends tail: to come back again and again is no use.
func TestTailEndsWithTheRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bob := w.person("bob")
	var shown, errs lines
	code := make(chan int, 1)
	go func() { code <- bob.globals("", &shown, &errs).run(t.Context(), []string{"tail", "--since", "all"}) }()
	bob.ok("", "send", "bob", "a note")
	shown.await(t, 1)
	if err := w.store.SetDisabled(t.Context(), "bob", true); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-code:
		if got != exitFailed || !strings.Contains(string(errs.text), "unauthenticated: ") {
			t.Errorf("exit %d, %q", got, errs.text)
		}
	case <-time.After(patience):
		t.Error("tail goes on")
	}
}

// Ctrl-C ends the process as something that was done.
func TestTailInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bob := w.person("bob")
	bob.ok("", "send", "bob", "a note")
	cmd := bob.process("tail", "--since", "all")
	var shown, errs lines
	cmd.Stdout, cmd.Stderr = &shown, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shown.await(t, 1)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || len(errs.text) > 0 {
		t.Errorf("%v, %q", err, errs.text)
	}
}
