package proof

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// A service manager learns when the server listens and when it begins to stop.
func TestServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(reachableDir(t), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := StartServer(t, ServerOptions{Env: []string{"NOTIFY_SOCKET=" + socket}})
	told := func(want string) {
		t.Helper()
		b := make([]byte, 1000)
		_ = l.SetReadDeadline(time.Now().Add(patience))
		if n, err := l.Read(b); err != nil || string(b[:n]) != want {
			t.Fatalf("told %q, %v, want %q", b[:n], err, want)
		}
	}
	told("READY=1")
	s.AddUser("alice", "alice's secret")
	if _, code, _ := DialRaw(t, s.MQTT, RawConnect{Version: 4, ID: "d", User: "alice", Password: "alice's secret", Clean: true}); code != 0 {
		t.Errorf("CONNACK 0x%02x from a server that says it is ready", code)
	}
	s.Stop()
	told("STOPPING=1")
}
