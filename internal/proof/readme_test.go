package proof

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A new user has the README and a fresh clone. Every block of it that can be
// pasted is run, in order: the server as it says, on free ports, the mosquitto
// clients and the JavaScript against it, the SQL on its database.
func TestReadme(t *testing.T) {
	t.Parallel()
	clone := freshClone(t)
	readme, err := os.ReadFile(filepath.Join(clone, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := blocksOf(string(readme))
	shell := blocks["sh"]
	want := []string{"go run ./cmd/postbox serve --demo", "make check", "mosquitto_sub ", "mosquitto_pub "}
	if len(shell) != len(want) {
		t.Fatalf("README has %d sh blocks, this test knows %d", len(shell), len(want))
	}
	for i, start := range want {
		if !strings.HasPrefix(shell[i], start) {
			t.Fatalf("sh block %d of README is %q, want %q…", i+1, shell[i], start)
		}
	}

	at := serveDemo(t, clone, shell[0])
	port := at.MQTT[strings.LastIndexByte(at.MQTT, ':')+1:]
	ported := func(line string) string {
		program, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		return "exec " + program + " -p " + port + " " + rest
	}

	s := Server{Dir: filepath.Join(clone, "postbox-data"), t: t}
	db := s.DB()
	t.Cleanup(func() { _ = db.Close() })
	phone := exec.CommandContext(t.Context(), "sh", "-c", ported(shell[2])+" -C 1")
	lines := watch(t, phone)
	awaitRow(t, db, `SELECT 1 FROM postbox.subscriptions WHERE filter = 'inbox/bob'`)
	if out, err := exec.Command("sh", "-c", ported(shell[3])).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", shell[3], err, out)
	}
	shown := lines.await(`"body":"Hello, Bob"`)
	if keys := jsonKeys(shown); keys != jsonKeys(blocks["json"][0]) {
		t.Errorf("the README shows an envelope with %s, the phone one with %s", jsonKeys(blocks["json"][0]), keys)
	}

	script := strings.ReplaceAll(blocks["js"][0], "127.0.0.1:8080", at.HTTP)
	script = strings.Replace(script, `console.log(entry.from, entry.body)`, `{ console.log(entry.from, entry.body); }`, 1)
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(jsDir(t), "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "readme.mjs"), []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), tool(t, "node"), "readme.mjs")
	node.Dir = dir
	page := watch(t, node)
	page.await("bob Hello, Alice") // the own copy of what it sends

	var rows int
	count := fmt.Sprintf("SELECT count(*) FROM (%s) q", strings.TrimRight(strings.TrimSpace(blocks["sql"][0]), ";"))
	if err := db.QueryRow(count).Scan(&rows); err != nil || rows != 2 {
		t.Errorf("the SQL of the README finds %d messages (%v), want 2", rows, err)
	}
}

// awaitRow waits until a query finds something.
func awaitRow(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		var one int
		if err := db.QueryRow(query).Scan(&one); err == nil {
			return
		}
	}
	t.Fatalf("nothing found by %s", query)
}

// freshClone clones what is committed.
func freshClone(t *testing.T) string {
	t.Helper()
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	parent := reachableDir(t)
	clone := filepath.Join(parent, "postbox")
	cmd := exec.Command(tool(t, "git"), "-c", "safe.directory=*", "clone", "--quiet", "--no-hardlinks", top, clone)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git clone: %v\n%s", err, out)
	}
	return clone
}

// reachableDir is a temporary directory that PostgreSQL's account can enter.
func reachableDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "postbox-readme-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// serveDemo runs the README's first command in the clone until the test ends.
func serveDemo(t *testing.T, clone, command string) Addresses {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
	cmd.Dir = clone
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 30 * time.Second
	cmd.Env = append(os.Environ(), "POSTBOX_LISTEN_MQTT=127.0.0.1:0", "POSTBOX_LISTEN_HTTP=127.0.0.1:0", "POSTBOX_LISTEN_PRIVATE=127.0.0.1:0")
	lines := watch(t, cmd)
	at, err := parseListening(lines.await("listening "))
	if err != nil {
		t.Fatal(err)
	}
	lines.await("Stop with Ctrl-C")
	return at
}

// watched is a running program whose output is waited for.
type watched struct {
	t     *testing.T
	name  string
	lines chan string
	seen  []string
}

// watch starts cmd; it ends with the test.
func watch(t *testing.T, cmd *exec.Cmd) *watched {
	t.Helper()
	r, out := io.Pipe()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := &watched{t: t, name: strings.Join(cmd.Args, " "), lines: make(chan string, 10_000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(w.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			w.lines <- s.Text()
		}
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
		_ = out.Close()
	}()
	// Ctrl-C in a terminal, which t.Context has ended by now if the test is over.
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(40 * time.Second):
			_ = cmd.Process.Kill()
			t.Errorf("%s does not end", w.name)
			<-ended
		}
		<-read
	})
	return w
}

// await returns the next line with a text.
func (w *watched) await(text string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 4*time.Minute)
	defer cancel()
	for {
		select {
		case line, ok := <-w.lines:
			if !ok {
				w.t.Fatalf("%s ended without %q:\n%s", w.name, text, strings.Join(w.seen, "\n"))
			}
			if w.seen = append(w.seen, line); strings.Contains(line, text) {
				return line
			}
		case <-ctx.Done():
			w.t.Fatalf("%s: no %q in\n%s", w.name, text, strings.Join(w.seen, "\n"))
		}
	}
}

var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```")

// blocksOf are the fenced blocks of a page, by language.
func blocksOf(page string) map[string][]string {
	blocks := make(map[string][]string)
	for _, m := range fence.FindAllStringSubmatch(page, -1) {
		blocks[m[1]] = append(blocks[m[1]], strings.TrimSpace(m[2]))
	}
	return blocks
}

var key = regexp.MustCompile(`"([a-z_]+)":`)

// jsonKeys are the keys of a flat JSON object, in order.
func jsonKeys(object string) string {
	var names []string
	for _, m := range key.FindAllStringSubmatch(object, -1) {
		names = append(names, m[1])
	}
	return strings.Join(names, " ")
}
