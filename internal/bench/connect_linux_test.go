package bench

import (
	"log/slog"
	"net"
	"net/http/httptest"
	"net/http/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// noSessions has Mochi tell nobody that there was a session, and repeats or loses
// what it delivers.
type noSessions struct {
	mochi.HookBase
	lie, lose bool
}

func (h *noSessions) Provides(b byte) bool { return b == mochi.OnPacketEncode || b == mochi.OnACLCheck }

func (h *noSessions) OnPacketEncode(_ *mochi.Client, p packets.Packet) packets.Packet {
	if h.lie && p.FixedHeader.Type == packets.Connack {
		p.SessionPresent = false
	}
	if h.lose && p.FixedHeader.Type == packets.Publish {
		p.Payload = append([]byte("x"), p.Payload[1:]...)
	}
	return p
}

func (h *noSessions) OnACLCheck(*mochi.Client, string, bool) bool { return true }

// starting is held while a port is free that Mochi takes a moment later for its
// WebSockets: another one of this process would be given it.
var starting sync.Mutex

// mochiWith starts a Mochi that lets everybody in, by TCP and by WebSocket.
func mochiWith(t *testing.T, hook mochi.Hook) (server *mochi.Server, tcp, ws string) {
	t.Helper()
	starting.Lock()
	defer starting.Unlock()
	server = mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	listener := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := listeners.NewWebsocket(listeners.Config{ID: "ws", Address: free.Addr().String()})
	_ = free.Close()
	hooks := []mochi.Hook{new(auth.AllowHook)}
	if hook != nil {
		hooks = append(hooks, hook)
	}
	for _, h := range hooks {
		if err := server.AddHook(h, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []listeners.Listener{listener, web} {
		if err := server.AddListener(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", web.Address())
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
	return server, listener.Address(), "ws://" + web.Address() + "/mqtt"
}

// crowdOf is a few devices of three users.
func crowdOf(address string) ConnectOptions {
	return ConnectOptions{
		Name: "mochi", Address: address, Connections: 30, Logins: []Login{{"a", ""}, {"b", ""}, {"c", ""}}, Sender: Login{User: "s"},
		Topic: "inbox/{recipient}", AtOnce: 8, Timeout: time.Minute,
	}
}

// Everybody comes, is heard, is cut, comes back and is heard, by TCP and by WebSocket;
// the server's heap is looked at, and nothing is left behind.
func TestConnect(t *testing.T) {
	t.Parallel()
	server, tcp, ws := mochiWith(t, nil)
	heap := httptest.NewServer(pprof.Handler("heap"))
	defer heap.Close()
	for _, address := range []string{tcp, ws} {
		o := crowdOf(address)
		o.HeapURL = heap.URL
		r, err := Connect(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if faults := r.Faults(); len(faults) > 0 {
			t.Errorf("%s: %q", address, faults)
		}
		if r.First.Attempts != 30 || r.First.Latency.Count != 30 || r.Storm.Latency.Count != 30 || r.Storm.Rate <= 0 || r.Memory == nil || r.Memory.HeapAfter == 0 || r.Memory.StackAfter == 0 {
			t.Errorf("%s: %+v", address, r)
		}
		if left := storedSessions(server); left > 0 {
			t.Errorf("%s: %d sessions are left", address, left)
		}
	}
}

// A broker that forgets sessions or spoils what it delivers is found out.
func TestConnectFindsFaults(t *testing.T) {
	t.Parallel()
	for want, hook := range map[string]*noSessions{
		"30 devices came back without their session": {lie: true},
		"60 bodies not as they were sent":            {lose: true},
	} {
		_, address, _ := mochiWith(t, hook)
		o := crowdOf(address)
		o.patience = 200 * time.Millisecond
		r, err := Connect(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(r.Faults(), "; "); !strings.Contains(got, want) {
			t.Errorf("%s: %s", want, got)
		}
	}
}

func TestTooFewFiles(t *testing.T) {
	t.Parallel()
	if err := checkFiles(1<<40, 0); err == nil || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("got %v", err)
	}
	if err := checkFiles(1, 1); err != nil {
		t.Errorf("one connection: %v", err)
	}
}

// Ratios are formed round by round.
func TestConnectRatios(t *testing.T) {
	t.Parallel()
	run := func(name string, rate, heap float64) *ConnectRun {
		return &ConnectRun{Name: name, First: Arrival{Rate: rate}, Storm: Arrival{Rate: 2 * rate}, Memory: &ConnectionMemory{Resident: heap, Heap: heap}}
	}
	r := ConnectReport{Runs: []*ConnectRun{run("ours", 50, 20), run("theirs", 100, 40), run("theirs", 200, 20), run("ours", 160, 30)}}
	r.Relate("ours")
	if len(r.Ratios) != 1 || r.Ratios[0].Against != "theirs" || r.Ratios[0].Rate != 0.65 || r.Ratios[0].Storm != 0.65 || r.Ratios[0].Heap != 1 || r.Ratios[0].Resident != 0.5 {
		t.Errorf("ratios %+v", r.Ratios)
	}
}
