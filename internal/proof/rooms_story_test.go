package proof

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The story of docs/rooms.md, pasted as it stands there: mosquitto's programs are
// told a port, and nothing else.
func TestRoomsStory(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/rooms.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := blocksOf(string(page))
	shell := blocks["sh"]
	s := StartServer(t, ServerOptions{})
	for _, user := range []string{"alice", "bob", "carol"} {
		s.AddUser(user, user+"-demo") // as serve --demo makes them
	}
	db := s.DB()
	t.Cleanup(func() { _ = db.Close() })
	port := s.MQTT[strings.LastIndexByte(s.MQTT, ':')+1:]
	var ported strings.Builder
	for _, program := range []string{"mosquitto_pub", "mosquitto_sub", "mosquitto_rr"} {
		fmt.Fprintf(&ported, "%s() { command %s -p %s \"$@\"; }\n", program, tool(t, program), port)
	}
	// paste runs a block to its end and returns what it shows.
	paste := func(block string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "sh", "-ec", ported.String()+block).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", block, err, out)
		}
		return string(out)
	}
	phone := func(block, filter string) *watched {
		t.Helper()
		p := watch(t, exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(block, "mosquitto_sub", "exec "+tool(t, "mosquitto_sub")+" -p "+port, 1)))
		awaitRow(t, db, fmt.Sprintf(`SELECT 1 FROM postbox.subscriptions WHERE filter = '%s'`, filter))
		return p
	}
	if len(shell) != 8 {
		t.Fatalf("docs/rooms.md has %d sh blocks, this test knows 8", len(shell))
	}
	bob, carol := phone(shell[0], "signal/bob"), phone(shell[1], "inbox/carol")
	expect := func(shown string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(shown, text) {
				t.Errorf("no %q in\n%s", text, shown)
			}
		}
	}
	expect(paste(shell[2]), `"title":"Development"`, `"role":"owner"`, `"member_count":3`)
	if added := bob.await(`"event":"added"`); jsonKeys(added) != jsonKeys(blocks["json"][0]) {
		t.Errorf("the page shows an envelope with %s, the phone one with %s", jsonKeys(blocks["json"][0]), jsonKeys(added))
	}
	carol.await(`"user":"carol"`)
	paste(shell[3])
	for _, p := range []*watched{bob, carol} {
		p.await(`"body":"Hello, all"`)
		p.await(`"body":"Hello, Alice"`)
		p.await(`"body":"Shall we begin?"`)
	}
	bob.await(`{"type":"signal","from":"alice","room":"dev","body":"typing"}`)
	expect(paste(shell[4]), `"read_seq":3`)
	bob.await(`"type":"read","from":"bob","room":"dev","seq":3`)
	expect(paste(shell[5]), `"type":"edit"`, `"type":"retract"`)
	for _, p := range []*watched{bob, carol} {
		p.await(`"body":"Good morning, all"`)
		p.await(`"type":"retract"`)
	}
	expect(paste(shell[6]), `"member_count":2`)
	bob.await(`"body":"Carol does not get this"`)
	carol.await(`"event":"removed"`)
	expect(paste(shell[7]), `{"user":"alice","role":"owner","read_seq":4}`, `{"user":"bob","role":"member","read_seq":3}`)
	// Whatever had been on its way to Carol would have come before this.
	paste(`mosquitto_pub -q 1 -i laptop -u alice -P alice-demo -t inbox/carol -m 'only to Carol'`)
	carol.await(`"body":"only to Carol"`)
	for _, line := range carol.seen {
		if strings.Contains(line, "does not get this") || strings.Contains(line, `"type":"read"`) {
			t.Errorf("Carol's phone shows %s", line)
		}
	}
}
