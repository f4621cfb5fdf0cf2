package proof

import (
	"bufio"
	"bytes"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Everything of somebody can be had, in memory that does not grow with it, and
// after an erasure a dump of the database has nothing of them: no name, no body,
// no key, no digest. What the others wrote is whole, with tombstones between, and
// the name is not given again, not even after a restart.
func TestExportAndErase(t *testing.T) {
	t.Parallel()
	many := 5000
	if soak {
		many = 100_000
	}
	s := StartServer(t, ServerOptions{NoRace: true})
	s.AddUser("alice", "alice's own secret")
	s.AddUser("bob", "bob's secret")
	o := RawConnect{Version: 5, ID: "her-phone", User: "alice", Password: "alice's own secret", Expiry: 1000}
	alice, _, _ := DialRaw(t, s.MQTT, o)
	bob, _, _ := DialRaw(t, s.MQTT, RawConnect{Version: 5, ID: "phone", User: "bob", Password: "bob's secret", Expiry: 1000})
	for i := range 20 {
		if code, _ := alice.Publish(fmt.Sprintf("inbox/bob/key-of-hers-%d", i), fmt.Sprintf("confidential %d", i), false); code != 0 {
			t.Fatalf("alice's publish: 0x%02x", code)
		}
		if code, _ := bob.Publish("inbox/alice", fmt.Sprintf("answer %d", i), false); code != 0 {
			t.Fatalf("bob's publish: 0x%02x", code)
		}
	}
	db := s.DB()
	digests := query(t, db, func(r *sql.Rows) (string, error) {
		var d []byte
		err := r.Scan(&d)
		return hex.EncodeToString(d), err
	}, `SELECT m.digest FROM postbox.messages m JOIN postbox.users u ON u.id = m.sender_id WHERE u.name = 'alice' ORDER BY m.seq LIMIT 20`)
	// The rest of her messages lies there as if it had come the same way.
	if _, err := db.ExecContext(t.Context(), `
		INSERT INTO postbox.messages (conversation_id, seq, sender_id, sender_inbox_seq, sent_at, id, idempotency_key, device, digest, body)
		SELECT c.id, 40 + i, u.id, 100 + i, now(), gen_random_uuid(), 'key-of-hers-more-' || i, 'her-phone', decode(md5(i::text), 'hex'), convert_to('confidential, too: ' || i, 'UTF8')
		  FROM postbox.users u JOIN postbox.conversations c ON u.id IN (c.user_low, c.user_high), generate_series(1, $1::int) AS i
		 WHERE u.name = 'alice'`, many); err != nil {
		t.Fatal(err)
	}
	db.Close()

	token := s.Token("alice")
	idle, _ := Resident(t, s.PID())
	ResetPeak(t, s.PID())
	lines, kinds := 0, make(map[string]int)
	s.export(token, func(line []byte) {
		var o struct{ Type string }
		if err := json.Unmarshal(line, &o); err != nil {
			t.Fatalf("line %d: %v", lines, err)
		}
		lines++
		kinds[o.Type]++
	})
	_, peak := Resident(t, s.PID())
	t.Logf("%d lines: %v; %d MiB more than idle", lines, kinds, (peak-idle)>>20)
	if kinds["message"] != 40+many || kinds["end"] != 1 || kinds["device"] != 1 {
		t.Errorf("the export has %v", kinds)
	}
	if peak-idle > 64<<20 {
		t.Errorf("an export took %d MiB", (peak-idle)>>20)
	}
	file := filepath.Join(t.TempDir(), "alice.jsonl")
	if out := s.Command("", "user", "export", "alice", "--out", file); out.Code != 0 {
		t.Fatalf("user export: %+v", out)
	}
	text, err := os.ReadFile(file)
	if err != nil || bytes.Count(text, []byte("\n")) != lines {
		t.Errorf("the command wrote %d lines, the server %d: %v", bytes.Count(text, []byte("\n")), lines, err)
	}

	needles := append([]string{"alice", "confidential", "key-of-hers", "her-phone"}, digests...)
	for _, n := range needles {
		needles = append(needles, hex.EncodeToString([]byte(n)))
	}
	if found := s.dumped(needles); len(found) < 10 {
		t.Fatalf("before the erasure a dump has only %q: this can show nothing", found)
	}
	if out := s.Command("", "user", "erase", "alice"); out.Code != 2 || !strings.Contains(out.Stderr, "--yes") {
		t.Fatalf("user erase without a terminal: %+v", out)
	}
	if out := s.Command("", "user", "erase", "alice", "--yes"); out.Code != 0 || !strings.Contains(out.Stdout, fmt.Sprint(20+many)) {
		t.Fatalf("user erase: %+v", out)
	}
	if took, reason := alice.WaitEnd(patience); reason != 0x98 {
		t.Errorf("alice's connection ended after %v with 0x%02x, want 0x98", took, reason)
	}
	if found := s.dumped(needles); len(found) > 0 {
		t.Errorf("after the erasure a dump has %q", found)
	}
	if code, user := bob.Publish("inbox/alice", "are you there?", false); code != 0x90 {
		t.Errorf("bob writes to alice: 0x%02x %v, want 0x90", code, user)
	}
	for _, restart := range []bool{false, true} {
		if restart {
			s.Stop()
			s.Restart()
		}
		if _, code, _ := DialRaw(t, s.MQTT, o); code != 0x86 {
			t.Errorf("alice comes back: 0x%02x, want 0x86", code)
		}
		if out := s.Command("another secret\n", "user", "add", "alice", "--password-stdin"); out.Code != 1 || !strings.Contains(out.Stderr, "taken") {
			t.Errorf("user add alice: %+v, want exit 1", out)
		}
		whole, gone := 0, 0
		s.export(s.Token("bob"), func(line []byte) {
			var o struct {
				Message struct {
					Body      *string
					Retracted bool
				}
			}
			if err := json.Unmarshal(line, &o); err != nil {
				t.Fatal(err)
			}
			switch {
			case o.Message.Body != nil && strings.HasPrefix(*o.Message.Body, "answer "):
				whole++
			case o.Message.Retracted:
				gone++
			}
		})
		if whole != 20 || gone != 20+many {
			t.Errorf("bob has %d of his own messages and %d tombstones", whole, gone)
		}
	}
}

// export reads /v1/export, which must be whole.
func (s *Server) export(token string, line func([]byte)) {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+s.HTTP+"/v1/export", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	defer http.DefaultClient.CloseIdleConnections()
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		s.t.Fatalf("export: %s", got.Status)
	}
	lines := bufio.NewScanner(got.Body)
	lines.Buffer(nil, 1<<20)
	last := ""
	for lines.Scan() {
		line(lines.Bytes())
		last = lines.Text()
	}
	if err := lines.Err(); err != nil || !strings.HasPrefix(last, `{"type":"end"`) {
		s.t.Fatalf("the export is not whole: %v; its last line is %s", err, last)
	}
}

// dumped lists those of the texts that a dump of the whole database has.
func (s *Server) dumped(texts []string) (found []string) {
	s.t.Helper()
	pid, err := s.postmaster()
	if err != nil {
		s.t.Fatal(err)
	}
	postgres, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		s.t.Fatal(err)
	}
	url, err := s.DatabaseURL()
	if err != nil {
		s.t.Fatal(err)
	}
	dump, err := exec.Command(filepath.Join(filepath.Dir(postgres), "pg_dump"), "--dbname="+url).Output()
	if err != nil {
		s.t.Fatalf("pg_dump: %v", err)
	}
	for _, text := range texts {
		if bytes.Contains(dump, []byte(text)) {
			found = append(found, text)
		}
	}
	return found
}
