package proof

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The way of a message through a server that is killed, on the embedded
// PostgreSQL: sent, acknowledged, stored; then the server dies, and a device that
// was away gets what it missed and nothing else, and more is sent. It is short
// enough to run on every version of PostgreSQL; POSTBOX_TEST_POSTGRES names the
// major version that it must find.
func TestKillAndResume(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	s.AddUser("alice", "alice's secret")
	s.AddUser("bob", "bob's secret")
	db := s.DB()
	var version int
	if err := db.QueryRow(`SELECT current_setting('server_version_num')::int / 10000`).Scan(&version); err != nil {
		t.Fatal(err)
	}
	t.Logf("PostgreSQL %d", version)
	if want := os.Getenv("POSTBOX_TEST_POSTGRES"); want != "" && want != fmt.Sprint(version) {
		t.Fatalf("PostgreSQL %d runs, not %s", version, want)
	}
	db.Close()

	phone := NewLedger("bob/phone", 0)
	bob := RawConnect{Version: 4, ID: "phone", User: "bob", Password: "bob's secret"}
	alice := RawConnect{Version: 5, ID: "desk", User: "alice", Password: "alice's secret", Clean: true}
	send := func(from, to int) {
		t.Helper()
		r, code, _ := DialRaw(t, s.MQTT, alice)
		if code != 0 {
			t.Fatalf("CONNACK 0x%02x", code)
		}
		for n := from; n <= to; n++ {
			if reason, _ := r.Publish("inbox/bob", fmt.Sprint("message ", n), false); reason != 0 {
				t.Fatalf("PUBACK 0x%02x for message %d", reason, n)
			}
		}
	}
	receive := func(last int64) {
		t.Helper()
		d := ConnectDevice(t, s.MQTT, bob, phone)
		for phone.Last() < last { // what it has may come again, once
			d.Acknowledge(d.Take(1)[0].PacketID)
		}
		d.Silent()
		d.conn.Close()
	}

	receive(0) // it has a session now
	send(1, 50)
	receive(50)
	send(51, 100)
	s.Kill9()
	s.Restart()
	receive(100)
	send(101, 150)
	receive(150)
	phone.Check(t)
	for i, e := range phone.Entries() {
		if body, err := e.Payload(); err != nil || string(body) != fmt.Sprint("message ", i+1) || e.InboxSeq != int64(i+1) {
			t.Fatalf("entry %d is number %d, %q, %v", i+1, e.InboxSeq, body, err)
		}
	}
	if out := s.Command("", "user", "list"); !strings.Contains(out.Stdout, "bob") {
		t.Errorf("user list: %+v", out)
	}
}
