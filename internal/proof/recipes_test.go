package proof

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postbox/internal/embedpg"
	"postbox/internal/pgtest"
)

// kitchen is a server with the users of the demo, on which the pages of
// docs/clients are cooked as they stand there.
type kitchen struct {
	*testing.T
	s    *Server
	db   *sql.DB
	page map[string][]string // its blocks, by language
	dir  string              // where its programs run
}

// cook reads a page beside a server of its own, on a database in the cluster that all
// of them share.
func cook(t *testing.T, cluster *embedpg.Server, page string, env ...string) *kitchen {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	all, err := sql.Open("postgres", cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	name := strings.Map(func(r rune) rune {
		if r < 'a' || r > 'z' {
			return '_'
		}
		return r
	}, strings.ToLower(t.Name()))
	if _, err := all.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	k := &kitchen{T: t, s: StartServer(t, ServerOptions{DatabaseURL: u.String(), Env: env}), dir: t.TempDir()}
	for _, user := range []string{"alice", "bob", "carol"} {
		k.s.AddUser(user, user+"-demo") // as serve --demo makes them
	}
	k.db = k.s.DB()
	t.Cleanup(func() { _ = k.db.Close() })
	// The usual addresses stand for those of this server.
	address := strings.NewReplacer("127.0.0.1:8080", k.s.HTTP, "127.0.0.1:1883", k.s.MQTT,
		`"127.0.0.1", 1883`, fmt.Sprintf("%q, %s", "127.0.0.1", k.port()))
	k.page = blocksOf(address.Replace(string(text)))
	return k
}

// port is that of the server for MQTT.
func (k *kitchen) port() string { return k.s.MQTT[strings.LastIndexByte(k.s.MQTT, ':')+1:] }

// shell is a command of sh that pastes a block; mosquitto's programs are told a port
// and nothing else.
func (k *kitchen) shell(block string) *exec.Cmd {
	var ported strings.Builder
	for _, program := range []string{"mosquitto_pub", "mosquitto_sub", "mosquitto_rr"} {
		fmt.Fprintf(&ported, "%s() { command %s -p %s \"$@\"; }\n", program, tool(k, program), k.port())
	}
	cmd := exec.CommandContext(k.Context(), "sh", "-ec", ported.String()+block)
	cmd.Dir = k.dir
	return cmd
}

// paste runs a block of sh to its end and returns what it shows.
func (k *kitchen) paste(block string) string {
	k.Helper()
	out, err := k.shell(block).CombinedOutput()
	if err != nil {
		k.Fatalf("%s: %v\n%s", block, err, out)
	}
	return string(out)
}

// file writes a block into the folder where programs run.
func (k *kitchen) file(name, text string) {
	k.Helper()
	if err := os.WriteFile(filepath.Join(k.dir, name), []byte(text+"\n"), 0o644); err != nil {
		k.Fatal(err)
	}
}

// start runs a program until the test ends.
func (k *kitchen) start(program string, args ...string) *watched {
	k.Helper()
	cmd := exec.CommandContext(k.Context(), program, args...)
	cmd.Dir = k.dir
	endWithUs(cmd)
	return watch(k.T, cmd)
}

// send writes to a user, over HTTP.
func (k *kitchen) send(to, body string) {
	k.Helper()
	request := fmt.Sprintf(`{"to":%q,"body":%q}`, to, body)
	for limit := time.Now().Add(patience); ; {
		r, err := http.NewRequestWithContext(k.Context(), http.MethodPost, "http://"+k.s.HTTP+"/v1/send", strings.NewReader(request))
		if err != nil {
			k.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.SetBasicAuth("carol", "carol-demo")
		answer, err := http.DefaultClient.Do(r)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusCreated {
				return
			}
		}
		if time.Now().After(limit) {
			k.Fatalf("send: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// stored is how many messages with a body there are.
func (k *kitchen) stored(body string, want int) {
	k.Helper()
	var n int
	if err := k.db.QueryRow(`SELECT count(*) FROM postbox.messages WHERE body = $1`, []byte(body)).Scan(&n); err != nil || n != want {
		k.Errorf("%q is stored %d times (%v), want %d", body, n, err, want)
	}
}

func (k *kitchen) has(shown string, texts ...string) {
	k.Helper()
	for _, text := range texts {
		if !strings.Contains(shown, text) {
			k.Errorf("no %q in\n%s", text, shown)
		}
	}
}

// comesBack kills the server and starts it again: what is sent to the client after
// that is shown by it.
func (k *kitchen) comesBack(client *watched) {
	k.Helper()
	_ = k.db.Close()
	k.s.Kill9()
	k.s.Restart()
	k.db = k.s.DB()
	k.Cleanup(func() { _ = k.db.Close() })
	k.send("bob", "after the kill")
	client.await("after the kill")
}

// The pages for those who write clients, each run as it stands there.
func TestRecipes(t *testing.T) {
	t.Parallel()
	cluster := pgtest.NewCluster(t)
	for name, recipe := range map[string]func(*testing.T, *embedpg.Server){
		"mosquitto": recipeMosquitto, "curl": recipeCurl, "paho.golang": recipePahoGolang, "Python": recipePython,
		"Node": recipeNode, "browser": recipeBrowser, "command line": recipeCommandLine,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recipe(t, cluster)
		})
	}
}

// The shell's client: what stands on the page, beside a phone that is always there.
func recipeMosquitto(t *testing.T, cluster *embedpg.Server) {
	k := cook(t, cluster, "clients/mosquitto.md")
	sh := k.page["sh"]
	phone := watch(t, k.shell("exec "+tool(t, "mosquitto_sub")+" -p "+k.port()+strings.TrimPrefix(sh[0], "mosquitto_sub")))
	awaitRow(t, k.db, `SELECT 1 FROM postbox.subscriptions WHERE filter = 'inbox/bob'`)
	k.paste(sh[1])
	phone.await(`"body":"Hello, Bob"`)
	k.paste(sh[2])
	k.stored("The backup is done", 1)
	k.has(phone.await(`"body":"{\"ok\":true}"`), `"content_type":"application/json"`, `"ref":{"job":7}`)
	k.paste(sh[3])
	phone.await(`"body":"one"`)
	phone.await(`"body":"two"`)
	k.has(k.paste(sh[4]), `"body":"one"`, `"body":"two"`, `"has_before":true`, `"conversations":[{"with":"bob"`)
	k.has(k.paste(sh[5]), `{"inbox_seq":1,`, `"body":"Hello, Bob"`, `{"inbox_seq":2,`, `"online":true`)
	if len(sh) != 6 {
		t.Errorf("the page has %d sh blocks, this test knows 6", len(sh))
	}
}

// HTTP by hand.
func recipeCurl(t *testing.T, cluster *embedpg.Server) {
	k := cook(t, cluster, "clients/curl.md")
	sh := k.page["sh"]
	tool(t, "curl")
	// One shell, as a person has it: the token of the first block is in the others.
	all := k.paste(strings.Join(append(sh, sh[1]), "\necho; echo ---\n"))
	shown := strings.Split(all, "\n---\n")
	if len(sh) != 6 || len(shown) != 7 {
		t.Fatalf("%d sh blocks show %d things:\n%s", len(sh), len(shown), all)
	}
	k.has(shown[1], `"seq":1,`, `"duplicate":false`)
	k.has(shown[2], `"body":"Your order is on its way"`, `"ref":{"order":4711}`, `{"messages":[],`)
	k.has(shown[3], `"next":1,`, `{"entries":[],"next":1`)
	k.has(shown[4], "id: ", ":1\ndata: {\"inbox_seq\":1,")
	if n := strings.Count(shown[4], "data: "); n != 1 {
		t.Errorf("%d events are shown, want the one only, and after it none:\n%s", n, shown[4])
	}
	k.has(shown[5], `"code":"not_found"`)
	k.has(shown[6], `"duplicate":true`) // the send again, with its key
	k.stored("Your order is on its way", 1)
}

// Go, MQTT 5.
func recipePahoGolang(t *testing.T, cluster *embedpg.Server) {
	k := cook(t, cluster, "clients/paho-golang.md")
	k.file("main.go", k.page["go"][0])
	program := filepath.Join(k.dir, "client")
	build := exec.CommandContext(t.Context(), tool(t, "go"), "build", "-o", program, filepath.Join(k.dir, "main.go"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	client := k.start(program)
	client.await("stored as ")
	k.send("bob", "a message")
	client.await("message carol a message")
	k.comesBack(client)
	k.stored("Hello, Alice", 1)
}

// Python, by Debian's package.
func recipePython(t *testing.T, cluster *embedpg.Server) {
	k := cook(t, cluster, "clients/python.md")
	k.file("client.py", k.page["py"][0])
	client := k.start(python(t), "client.py")
	client.await("stored")
	k.send("bob", "a message")
	client.await("message carol a message")
	k.comesBack(client)
	k.stored("Hello, Alice", 1)
}

// python is one that has the library. On a machine with several, Debian's packages
// are its own one's.
func python(t testing.TB) string {
	t.Helper()
	for _, path := range []string{"python3", "/usr/bin/python3"} {
		if err := exec.Command(path, "-c", "import paho.mqtt.client").Run(); err == nil {
			return path
		}
	}
	t.Fatal("the proofs need Python with paho-mqtt: Debian's python3-paho-mqtt")
	return ""
}

// MQTT.js in Node: it has its tokens renewed, and comes back with the new ones. That the
// server ends its connection for the old one takes a minute, so only a soak waits for it.
func recipeNode(t *testing.T, cluster *embedpg.Server) {
	k := cook(t, cluster, "clients/mqttjs.md", "POSTBOX_TOKENS_ACCESS=1m")
	js := k.page["js"]
	k.file("postbox.mjs", js[0])
	// The page's program, and somebody who lets time pass and looks on.
	k.file("main.mjs", js[1]+`
const { client } = bob, first = client.options.password;
client.on("connect", () => console.log(client.options.password === first ? "with the first token" : "with another token"));
process.stdin.on("data", async () => { await bob.renew(); console.log("renewed"); });`)
	if err := os.Symlink(filepath.Join(jsDir(t), "node_modules"), filepath.Join(k.dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), tool(t, "node"), "main.mjs")
	cmd.Dir = k.dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	endWithUs(cmd)
	client := watch(t, cmd)
	client.await("stored")
	k.send("bob", "a message")
	client.await("message carol a message")
	if soak {
		client.await("with another token")
		k.send("bob", "another message")
		client.await("message carol another message")
	}
	if _, err := in.Write([]byte("now\n")); err != nil {
		t.Fatal(err)
	}
	client.await("renewed")
	k.comesBack(client)
	if seen := strings.Join(client.seen, "\n"); !strings.Contains(seen, "with another token") {
		t.Errorf("it came back with the token that had been renewed:\n%s", seen)
	}
	k.stored("Hello, Alice", 1)
}

// The page of the recipe in a real browser, on an origin of its own.
func recipeBrowser(t *testing.T, cluster *embedpg.Server) {
	site := httptest.NewUnstartedServer(nil) // the server must know its address, and it the server's directory
	defer site.Close()
	k := cook(t, cluster, "clients/mqttjs.md", "POSTBOX_LISTEN_ORIGINS=http://"+site.Listener.Addr().String())
	k.file("postbox.mjs", k.page["js"][0])
	k.file("index.html", k.page["html"][0])
	library, err := os.ReadFile(filepath.Join(jsDir(t), "node_modules", "mqtt", "dist", "mqtt.esm.js"))
	if err != nil {
		t.Fatal(err)
	}
	k.file("mqtt.esm.js", string(library))
	site.Config.Handler = http.FileServerFS(os.DirFS(k.dir))
	site.Start()

	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool(t, "node"), "recipe.mjs", tool(t, "chromium"), site.URL)
	cmd.Dir = jsDir(t)
	endWithUs(cmd)
	page := watch(t, cmd)
	page.await("stored")
	k.send("bob", "a message")
	page.await("carol: a message")
	k.comesBack(page)
	k.stored("Hello from the page", 1)
}

// What stands in docs/command-line.md, in its order.
func recipeCommandLine(t *testing.T, cluster *embedpg.Server) {
	k := cook(t, cluster, "command-line.md")
	sh := k.page["sh"]
	if len(sh) != 5 {
		t.Fatalf("the page has %d sh blocks, this test knows 5", len(sh))
	}
	if err := os.Symlink(k.s.binary, filepath.Join(k.dir, "postbox")); err != nil {
		t.Fatal(err)
	}
	paste := func(stdin, block string) string {
		t.Helper()
		cmd := k.shell(block)
		cmd.Env = append(os.Environ(), "PATH="+k.dir+":"+os.Getenv("PATH"), "XDG_CONFIG_HOME="+filepath.Join(k.dir, "settings"))
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", block, err, out)
		}
		return string(out)
	}
	k.has(paste("alice-demo\n", sh[0]), "logged in as alice")
	k.has(paste("", sh[1]), "sent: #1 ", "sent: #4 ")
	awaitRow(t, k.db, `SELECT 1 FROM postbox.search LIMIT 1`)
	k.has(paste("", sh[2]), "bob", "Hello, Bob")
	k.has(paste("", sh[3]), "alice > bob  Hello, Bob")
	k.has(paste("", sh[4]), "Development", "dev: done")
}
