package proof

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Tap is a proxy between clients and one server that reads along. What it
// records is in Log. It serves MQTT over TCP on Addr and over WebSocket on
// WebSocketURL, towards the server in the same way.
type Tap struct {
	Addr         string
	WebSocketURL string
	Log          *TapLog

	mqtt, http string // addresses of the server
	refuse     atomic.Bool
	delay      atomic.Int64 // of what the server sends, in nanoseconds

	wg    sync.WaitGroup
	mu    sync.Mutex
	pairs map[*pair]struct{}
	done  bool
}

// pair is one client connection with its server connection.
type pair struct {
	client, server net.Conn
	once           sync.Once
	cut            chan struct{} // closed with the pair
}

func (p *pair) close() {
	p.client.Close()
	p.server.Close()
	// Last: what is held back must not get out.
	p.once.Do(func() { close(p.cut) })
}

// StartTap puts a tap before the server at these TCP and HTTP addresses. The
// HTTP address may be empty. The tap ends with the test.
func StartTap(t testing.TB, mqttAddr, httpAddr string) *Tap {
	t.Helper()
	tap := &Tap{Log: newTapLog(), mqtt: mqttAddr, http: httpAddr, pairs: map[*pair]struct{}{}}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("tap: %v", err)
	}
	tap.Addr = tcp.Addr().String()
	tap.wg.Go(func() { tap.accept(tcp) })
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("tap: %v", err)
	}
	tap.WebSocketURL = "ws://" + web.Addr().String() + "/mqtt"
	hs := &http.Server{Handler: http.HandlerFunc(tap.upgrade)}
	tap.wg.Go(func() { _ = hs.Serve(web) })
	t.Cleanup(func() {
		tcp.Close()
		hs.Close()
		tap.mu.Lock()
		tap.done = true
		tap.mu.Unlock()
		tap.Cut()
		tap.wg.Wait()
	})
	return tap
}

// Refuse makes the tap close new connections at once, or lets them through
// again.
func (t *Tap) Refuse(on bool) { t.refuse.Store(on) }

// Delay holds back what the server sends for this long.
func (t *Tap) Delay(d time.Duration) { t.delay.Store(int64(d)) }

// enter counts a connection in, unless the tap has ended.
func (t *Tap) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.done {
		t.wg.Add(1)
	}
	return !t.done
}

// Cut ends all connections, on both sides.
func (t *Tap) Cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.pairs {
		p.close()
	}
}

func (t *Tap) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		if t.refuse.Load() || !t.enter() {
			client.Close()
			continue
		}
		go func() {
			defer t.wg.Done()
			server, err := net.DialTimeout("tcp", t.mqtt, 5*time.Second)
			if err != nil {
				client.Close()
				return
			}
			t.serve(client, server)
		}()
	}
}

// upgrade takes a WebSocket client and opens a WebSocket to the server.
func (t *Tap) upgrade(w http.ResponseWriter, r *http.Request) {
	if t.refuse.Load() {
		http.Error(w, "the tap refuses", http.StatusServiceUnavailable)
		return
	}
	if !t.enter() {
		return
	}
	defer t.wg.Done()
	dial := &websocket.DialOptions{Subprotocols: []string{"mqtt"}, HTTPHeader: http.Header{}}
	if o := r.Header.Get("Origin"); o != "" {
		dial.HTTPHeader.Set("Origin", o)
	}
	up, resp, err := websocket.Dial(r.Context(), "ws://"+t.http+r.URL.Path, dial)
	if err != nil {
		status := http.StatusBadGateway
		if resp != nil {
			status = resp.StatusCode
		}
		http.Error(w, err.Error(), status)
		return
	}
	down, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{up.Subprotocol()}, InsecureSkipVerify: true})
	if err != nil {
		_ = up.CloseNow()
		return
	}
	up.SetReadLimit(-1)
	down.SetReadLimit(-1)
	ctx := r.Context()
	t.serve(websocket.NetConn(ctx, down, websocket.MessageBinary), websocket.NetConn(ctx, up, websocket.MessageBinary))
}

// serve carries packets both ways until both sides are closed.
func (t *Tap) serve(client, server net.Conn) {
	p := &pair{client: client, server: server, cut: make(chan struct{})}
	t.mu.Lock()
	if t.done {
		t.mu.Unlock()
		p.close()
		return
	}
	t.pairs[p] = struct{}{}
	t.mu.Unlock()
	c := t.Log.open()
	var wg sync.WaitGroup
	wg.Go(func() {
		t.carry(p, server, client, func(f frame) error { return t.Log.fromClient(c, f) })
		finish(server, client)
	})
	wg.Go(func() {
		t.carry(p, client, server, func(f frame) error { return t.Log.fromServer(c, f) })
		t.Log.closed(c)
		finish(client, server)
	})
	wg.Wait()
	p.close()
	t.mu.Lock()
	delete(t.pairs, p)
	t.mu.Unlock()
}

// finish says to that nothing more comes, after its source has ended, and
// gives it two seconds to end too, so that nothing on its way is lost to a
// reset.
func finish(to, source net.Conn) {
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		_ = to.SetReadDeadline(time.Now().Add(2 * time.Second))
	} else {
		_ = to.Close()
	}
	_, _ = io.Copy(io.Discard, source)
}

// carry moves packets from one side to the other until either ends; record
// sees each packet before the other side can. When record cannot read a
// packet both sides are cut.
func (t *Tap) carry(p *pair, to, from net.Conn, record func(frame) error) {
	out := bufio.NewWriterSize(to, 64<<10)
	defer out.Flush()
	in := bufio.NewReaderSize(&flushing{from, out, t, p}, 64<<10)
	for {
		f, err := readFrame(in)
		if err != nil {
			return
		}
		if err := record(f); err != nil {
			p.close()
			return
		}
		if _, err := out.Write(f.raw); err != nil {
			return
		}
	}
}

// flushing passes on what is buffered for the other side before it waits for
// more, so that batches stay batches and nothing is held back.
type flushing struct {
	net.Conn
	out  *bufio.Writer
	tap  *Tap
	pair *pair
}

func (f *flushing) Read(p []byte) (int, error) {
	if f.out.Buffered() > 0 {
		if d := f.tap.delay.Load(); d > 0 && f.Conn == f.pair.server {
			select {
			case <-time.After(time.Duration(d)):
			case <-f.pair.cut:
				return 0, net.ErrClosed
			}
		}
		if err := f.out.Flush(); err != nil {
			return 0, err
		}
	}
	return f.Conn.Read(p)
}
