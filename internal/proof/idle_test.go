package proof

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A connection that says nothing costs little: the stack of its reader, which is as
// deep as Mochi and the WebSocket together, is 16 KiB and not 32 (docs/performance.md,
// "Idle connections and storms").
func TestIdleConnectionsAreSmall(t *testing.T) {
	const devices, most = 90, 44 << 10
	for name, webSocket := range map[string]bool{"tcp": false, "websocket": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := StartServer(t, ServerOptions{NoRace: true})
			s.AddUser("alice", "alice's secret")
			o := RawConnect{Version: 4, User: "alice", Password: s.Token("alice"), WebSocket: webSocket}
			address := s.MQTT
			if webSocket {
				address = s.HTTP
			}
			connect := func(i int) {
				o.ID = fmt.Sprintf("device%d", i)
				ConnectDevice(t, address, o, nil)
			}
			connect(0) // what the first one needs, others share
			before := s.inUse(t)
			for i := range devices {
				connect(i + 1)
			}
			if each := (s.inUse(t) - before) / devices; each > most {
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
