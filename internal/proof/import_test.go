package proof

import (
	"cmp"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"postbox/auth"
)

// phpRow is a row of the PHP application's messages.
type phpRow struct {
	id       int64
	from, to int // users.id
	body     string
	created  string // DATETIME, by the clock of Berlin
	read     bool
}

// phpApp is a PHP application with its database.
type phpApp struct {
	*MariaDB
	names map[int]string // by users.id, as they are in Postbox
	rows  []phpRow
	began time.Time
}

const phpSchema = `
	CREATE TABLE users (id INT PRIMARY KEY AUTO_INCREMENT, username VARCHAR(64) UNIQUE, email VARCHAR(64), password VARCHAR(255), full_name VARCHAR(64));
	CREATE TABLE messages (id INT PRIMARY KEY AUTO_INCREMENT, sender_id INT, receiver_id INT, message TEXT, is_read TINYINT(1), created_at DATETIME)`

// newPHPApp makes an application of 22 users who have written n messages to each
// other: five rows of one second, and each tenth row older than those before it.
func newPHPApp(t testing.TB, n int) *phpApp {
	t.Helper()
	a := &phpApp{MariaDB: StartMariaDB(t), names: map[int]string{}, began: time.Date(2021, 3, 27, 12, 0, 0, 0, time.UTC)}
	a.Must(t, phpSchema)
	crypted, err := bcrypt.GenerateFromPassword([]byte("alice's old secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	argon, err := auth.HashPassword("bob's old secret")
	if err != nil {
		t.Fatal(err)
	}
	a.user(t, "Alice", strings.Replace(string(crypted), "$2a$", "$2y$", 1), "alice")
	a.user(t, "Bob Builder", argon, "bob_builder")
	a.user(t, "carol", "5f4dcc3b5aa765d61d8327deb882cf99", "carol") // MD5
	for i := range 19 {
		name := fmt.Sprintf("user%d", i)
		a.user(t, name, string(crypted), name)
	}
	a.write(t, n)
	return a
}

func (a *phpApp) user(t testing.TB, name, hash, becomes string) {
	t.Helper()
	id := len(a.names) + 1
	a.Must(t, `INSERT INTO users VALUES (?, ?, ?, ?, ?)`, id, name, name+"@example.com", hash, name+" in full")
	a.names[id] = becomes
}

// write adds rows.
func (a *phpApp) write(t testing.TB, n int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, uint64(len(a.rows))))
	var values []string
	var args []any
	for range n {
		i := len(a.rows)
		at := a.began.Add(time.Duration(i/5) * time.Second)
		if i%10 == 9 {
			at = at.Add(-3 * time.Second)
		}
		r := phpRow{
			id: int64(2*i + 1), from: 1 + random.IntN(len(a.names)), to: 1 + random.IntN(len(a.names)),
			body: fmt.Sprintf("message %d: schöne Grüße 🙂", i), created: at.Format(time.DateTime), read: random.IntN(4) > 0,
		}
		a.rows = append(a.rows, r)
		values = append(values, "(?,?,?,?,?,?)")
		args = append(args, r.id, r.from, r.to, r.body, r.read, r.created)
		if len(values) == 1000 || len(a.rows) == cap(a.rows) {
			a.insert(t, values, args)
			values, args = values[:0], args[:0]
		}
	}
	a.insert(t, values, args)
}

func (a *phpApp) insert(t testing.TB, values []string, args []any) {
	t.Helper()
	if len(values) > 0 {
		a.Must(t, `INSERT INTO messages (id, sender_id, receiver_id, message, is_read, created_at) VALUES `+strings.Join(values, ","), args...)
	}
}

// imported is a message as Postbox must have it.
type imported struct {
	Pair, From, Body string
	At               time.Time
}

// want are the messages of each conversation in the order of their times, and how
// far everybody has read.
func (a *phpApp) want(t testing.TB) (messages map[string][]imported, read map[string]int) {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	messages, read = map[string][]imported{}, map[string]int{}
	rows := slices.Clone(a.rows)
	slices.SortStableFunc(rows, func(x, y phpRow) int { return cmp.Compare(x.created, y.created) })
	for _, r := range rows {
		at, err := time.ParseInLocation(time.DateTime, r.created, zone)
		if err != nil {
			t.Fatal(err)
		}
		from, to := a.names[r.from], a.names[r.to]
		pair := min(from, to) + " " + max(from, to)
		messages[pair] = append(messages[pair], imported{pair, from, r.body, at.UTC()})
		if from != to && r.read {
			read[to+" in "+pair] = len(messages[pair])
		}
	}
	return messages, read
}

// check compares all that Postbox has with all that there is.
func (a *phpApp) check(t testing.TB, db *sql.DB) {
	t.Helper()
	want, read := a.want(t)
	got := map[string][]imported{}
	for _, m := range query(t, db, func(rows *sql.Rows) (m imported, err error) {
		return m, rows.Scan(&m.Pair, &m.From, &m.Body, &m.At)
	}, `SELECT least(l.name, h.name) || ' ' || greatest(l.name, h.name), s.name, convert_from(m.body, 'UTF8'), m.sent_at
	      FROM postbox.messages m
	      JOIN postbox.conversations c ON c.id = m.conversation_id
	      JOIN postbox.users l ON l.id = c.user_low JOIN postbox.users h ON h.id = c.user_high JOIN postbox.users s ON s.id = m.sender_id
	     ORDER BY m.conversation_id, m.seq`) {
		m.At = m.At.UTC()
		got[m.Pair] = append(got[m.Pair], m)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("messages: -want +got:\n%.2000s", diff)
	}
	// In the inboxes is exactly what is in the conversations.
	if n := query(t, db, func(rows *sql.Rows) (n int, err error) { return n, rows.Scan(&n) },
		`SELECT count(*) FROM postbox.inbox_entries i JOIN postbox.messages m USING (conversation_id, seq)
		   JOIN postbox.conversations c ON c.id = m.conversation_id
		  WHERE i.user_id IN (c.user_low, c.user_high)
		    AND i.inbox_seq = CASE i.user_id WHEN m.sender_id THEN m.sender_inbox_seq ELSE m.peer_inbox_seq END`); n[0] != a.entries() {
		t.Errorf("%d entries in inboxes, want %d", n[0], a.entries())
	}
	if holes := Holes(t, db); len(holes) > 0 {
		t.Errorf("holes: %v", holes)
	}
	type position struct {
		who string
		seq int
	}
	for _, p := range query(t, db, func(rows *sql.Rows) (p position, err error) { return p, rows.Scan(&p.who, &p.seq) },
		`SELECT u.name || ' in ' || least(l.name, h.name) || ' ' || greatest(l.name, h.name), p.read_seq
		   FROM postbox.positions p JOIN postbox.users u ON u.id = p.user_id JOIN postbox.conversations c ON c.id = p.conversation_id
		   JOIN postbox.users l ON l.id = c.user_low JOIN postbox.users h ON h.id = c.user_high`) {
		if p.seq < read[p.who] {
			t.Errorf("%s has read up to %d, want at least %d", p.who, p.seq, read[p.who])
		}
		delete(read, p.who)
	}
	if len(read) > 0 {
		t.Errorf("no read position: %v", read)
	}
}

func (a *phpApp) entries() int {
	n := 0
	for _, r := range a.rows {
		if n++; r.from != r.to {
			n++
		}
	}
	return n
}

// importReport is what "postbox import --json" prints.
type importReport struct {
	Done     bool `json:"done"`
	Accounts struct {
		Read, New, There int
	} `json:"accounts"`
	Messages struct {
		Read, New, There, Late, Bad int
	} `json:"messages"`
	WithoutPassword []string `json:"without_password"`
	Seconds         float64  `json:"seconds"`
}

// TestImport brings a PHP application with its database over, while the server
// runs: collisions are told before anything is written, a killed import goes on
// where it was, a second one takes what has come since, and everybody logs in with
// the old password.
func TestImport(t *testing.T) {
	t.Parallel()
	many := 5000
	if soak {
		many = 100_000
	}
	s := StartServer(t, ServerOptions{NoRace: true}) // its memory is measured
	a := newPHPApp(t, many)
	db := s.DB()
	defer db.Close()
	number := func(text string) int {
		t.Helper()
		return query(t, db, func(rows *sql.Rows) (n int, err error) { return n, rows.Scan(&n) }, text)[0]
	}
	flags := []string{"import", "--from", a.URL, "--column", "body=message,read=is_read", "--timezone", "Europe/Berlin", "--json"}
	_, idle := s.measured(t, "user", "list")
	most := int64(0)
	run := func(more ...string) importReport {
		t.Helper()
		out, peak := s.measured(t, append(flags, more...)...)
		most = max(most, peak)
		var r importReport
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("import %v: %v\n%s", more, err, out)
		}
		return r
	}

	// Nothing is written before all that does not fit has been named.
	a.Must(t, `INSERT INTO users (id, username, password) VALUES (90, 'bob_BUILDER', ''), (91, 'Jürgen', '')`)
	out := s.Command("", flags[:len(flags)-1]...)
	if out.Code != 1 || !strings.Contains(out.Stdout, "Jürgen,jurgen") || !strings.Contains(out.Stdout, `"Bob Builder"`) || !strings.Contains(out.Stdout, `"bob_BUILDER"`) {
		t.Errorf("with names that collide: exit %d\n%s%s", out.Code, out.Stdout, out.Stderr)
	}
	a.Must(t, `DELETE FROM users WHERE id >= 90`)
	if r := run("--dry-run"); r.Done || r.Accounts.New != 22 || r.Messages.New != many || len(r.WithoutPassword) != 1 || r.WithoutPassword[0] != "carol" {
		t.Errorf("dry run: %+v", r)
	}
	if n := number(`SELECT (SELECT count(*) FROM postbox.users) + (SELECT count(*) FROM postbox.messages)`); n != 0 {
		t.Fatalf("%d accounts and messages before the import", n)
	}

	killImport(t, s, db, flags)
	before := number(`SELECT count(*) FROM postbox.messages`)
	if before == 0 || before >= many {
		t.Errorf("%d messages at the kill: it was not in between", before)
	}
	if _, code, _ := DialRaw(t, s.MQTT, RawConnect{Version: 5, ID: "early", User: "alice", Password: "alice's old secret", Clean: true}); code != 0x86 {
		t.Errorf("a login before the messages are there: 0x%02x", code)
	}
	began := time.Now()
	r := run()
	took := time.Since(began)
	if !r.Done || r.Messages.New != many-before || r.Messages.There != before || r.Messages.Late != 0 {
		t.Errorf("after the kill at %d: %+v", before, r)
	}
	t.Logf("%d of %d messages at the kill; then %d in %.2f s, %.0f/s, and all of the command in %v",
		before, many, r.Messages.New, r.Seconds, float64(r.Messages.New)/r.Seconds, took)
	a.check(t, db)
	if r := run(); r.Messages.New != 0 || r.Messages.There != many || r.Accounts.New != 0 || r.Accounts.There != 22 {
		t.Errorf("once more: %+v", r)
	}

	// The old passwords are good, and a phone does not ring for what is old.
	phone := ConnectDevice(t, s.MQTT, RawConnect{Version: 5, ID: "phone", User: "alice", Password: "alice's old secret", Expiry: 1000}, nil)
	if old := phone.Drain(); len(old) > 0 {
		t.Errorf("a new device got %d old messages", len(old))
	}
	for user, want := range map[string]byte{"bob_builder": 0, "carol": 0x86} {
		if _, code, _ := DialRaw(t, s.MQTT, RawConnect{Version: 5, ID: "phone", User: user, Password: "bob's old secret", Clean: true}); code != want {
			t.Errorf("login of %s: 0x%02x, want 0x%02x", user, code, want)
		}
	}
	found(t, s, "alice", a.lastOf("alice"))

	// What has come since comes over, also to who is connected, though nobody
	// sends anything.
	a.began = a.began.Add(time.Minute)
	a.write(t, 200)
	if r := run(); r.Messages.New != 200 || r.Messages.There != many || r.Messages.Late != 0 {
		t.Errorf("with 200 more: %+v", r)
	}
	var late []phpRow
	for _, r := range a.rows[many:] {
		if a.names[r.from] == "alice" || a.names[r.to] == "alice" {
			late = append(late, r)
		}
	}
	slices.SortStableFunc(late, func(x, y phpRow) int { return cmp.Compare(x.created, y.created) })
	for i, d := range phone.Take(len(late)) {
		if body := bodyOf(t, d); body != late[i].body {
			t.Fatalf("delivery %d: %q, want %q", i, body, late[i].body)
		}
		phone.Acknowledge(d.PacketID)
	}
	a.check(t, db)
	t.Logf("memory: %d MiB at most, %d MiB without anything to import", most>>20, idle>>20)
	if most-idle > 64<<20 {
		t.Errorf("the import took %d MiB of memory", (most-idle)>>20)
	}
}

// measured runs a command line and returns what it printed and the most resident
// memory that was seen of it, in bytes.
func (s *Server) measured(t *testing.T, args ...string) (out string, peak int64) {
	t.Helper()
	cmd := s.command(args...)
	var printed strings.Builder
	cmd.Stdout = &printed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("postbox %v: %v\n%s%s", args, err, printed.String(), cmd.Stderr)
			}
			return printed.String(), peak
		case <-time.After(10 * time.Millisecond):
			// Not from getrusage(2): there a child begins with what its parent had.
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
			if _, rest, ok := strings.Cut(string(status), "VmHWM:"); ok {
				var kib int64
				_, _ = fmt.Sscan(rest, &kib)
				peak = max(peak, kib<<10)
			}
		}
	}
}

// killImport begins an import, and kills it when it has stored one batch and is in
// the middle of the next.
func killImport(t *testing.T, s *Server, db *sql.DB, flags []string) {
	t.Helper()
	ctx := t.Context()
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	exec := func(text string) {
		t.Helper()
		if _, err := conn.ExecContext(ctx, text); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE SEQUENCE public.batches`)
	exec(`CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF nextval('public.batches') > 1 THEN PERFORM pg_advisory_xact_lock(42); END IF;
			RETURN NULL;
		END $$`)
	exec(`CREATE TRIGGER hold AFTER INSERT ON postbox.search_queue FOR EACH STATEMENT EXECUTE FUNCTION public.hold()`)
	exec(`SELECT pg_advisory_lock(42)`)
	cmd := s.command(flags...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for held := 0; held == 0; {
		select {
		case err := <-ended:
			t.Fatalf("the import has ended: %v\n%s", err, cmd.Stderr)
		case <-time.After(10 * time.Millisecond):
		}
		if err := conn.QueryRowContext(ctx, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted`).Scan(&held); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-ended
	exec(`SELECT pg_advisory_unlock(42)`)
	exec(`DROP TRIGGER hold ON postbox.search_queue`) // waits for the end of the orphaned transaction
	exec(`DROP FUNCTION public.hold`)
	exec(`DROP SEQUENCE public.batches`)
}

// command is a command line that was not started.
func (s *Server) command(args ...string) *exec.Cmd {
	cmd := exec.Command(s.binary, args...)
	cmd.Env, cmd.Dir, cmd.Stderr = s.env(), s.root, &strings.Builder{}
	endWithUs(cmd)
	return cmd
}

// lastOf is the number in the body of the last message that somebody has.
func (a *phpApp) lastOf(user string) string {
	for _, r := range slices.Backward(a.rows) {
		if a.names[r.to] == user && r.from != r.to {
			word, _, _ := strings.Cut(strings.TrimPrefix(r.body, "message "), ":")
			return word
		}
	}
	return ""
}

// found waits until a search finds one message.
func found(t *testing.T, s *Server, user, word string) {
	t.Helper()
	token := s.Token(user)
	for limit := time.Now().Add(2 * patience); ; time.Sleep(100 * time.Millisecond) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.HTTP+"/v1/search?text="+url.QueryEscape(word), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if strings.Contains(string(body), "message "+word+":") {
			http.DefaultClient.CloseIdleConnections()
			return
		}
		if time.Now().After(limit) {
			t.Errorf("search for %s: %s\n%.500s", word, answer.Status, body)
			return
		}
	}
}

// bodyOf is the body of the message in a delivery.
func bodyOf(t *testing.T, a Arrival) string {
	t.Helper()
	var e struct {
		Body string `json:"body"`
	}
	if err := json.Unmarshal(a.Body, &e); err != nil {
		t.Fatalf("%v\n%s", err, a.Body)
	}
	return e.Body
}
