package proof

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A connection that says nothing costs little: the stack of its reader, which is as
// deep as Mochi and the WebSocket together, is 16 KiB and not 32, and that of who
// writes 4 and not 8, also where many have come before and Go has collected since
// (docs/performance.md, "Idle connections and storms").
func TestIdleConnectionsAreSmall(t *testing.T) {
	const before, devices = 200, 90
	for name, most := range map[string]int{"tcp": 34 << 10, "websocket": 38 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := StartServer(t, ServerOptions{NoRace: true, Env: []string{
				"POSTBOX_LIMITS_CONNECTIONS_PER_USER=1000", "POSTBOX_LIMITS_DEVICES_PER_USER=1000", "POSTBOX_LIMITS_CONNECT_RATE=0"}})
			s.AddUser("alice", "alice's secret")
			o := RawConnect{Version: 4, User: "alice", Password: s.Token("alice"), WebSocket: name == "websocket"}
			address := s.MQTT
			if o.WebSocket {
				address = s.HTTP
			}
			connect := func(i int) {
				o.ID = fmt.Sprintf("device%d", i)
				ConnectDevice(t, address, o, nil)
			}
			for i := range before {
				connect(i)
			}
			used := s.inUse(t)
			for i := range devices {
				connect(before + i)
			}
			if each := (s.inUse(t) - used) / devices; each > most {
				t.Errorf("%d bytes of heap and stacks for each of %d idle connections, at most %d", each, devices, most)
			} else {
				t.Logf("%d bytes of heap and stacks for each of %d idle connections", each, devices)
			}
		})
	}
}

// inUse is how many bytes of heap and stacks the server needs, after collections:
// each may halve a stack, and frees what the one before has left.
func (s *Server) inUse(t testing.TB) int {
	t.Helper()
	total := 0
	for range 3 {
		r, err := http.Get("http://" + s.Private + "/debug/pprof/heap?gc=1&debug=1")
		if err != nil {
			t.Fatal(err)
		}
		figures := map[string]int{}
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			if name, rest, found := strings.Cut(lines.Text(), " = "); found {
				n := 0
				_, _ = fmt.Sscan(rest, &n)
				figures[name] = n
			}
		}
		_ = r.Body.Close()
		if total = figures["# HeapAlloc"] + figures["# Stack"]; figures["# HeapAlloc"] == 0 || figures["# Stack"] == 0 {
			t.Fatalf("the profile tells no heap or no stacks: %v", figures)
		}
	}
	return total
}
