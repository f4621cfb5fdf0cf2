package proof

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// bareMochi runs a broker without Postbox, to try the harness on: over TCP,
// and over WebSocket behind a handler of ours.
func bareMochi(t *testing.T) (mqttAddr, httpAddr string) {
	t.Helper()
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	server.Options.Capabilities.Compatibilities.NoInheritedPropertiesOnAck = true
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	tcp := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	if err := server.AddListener(tcp); err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"mqtt"}})
		if err != nil {
			return
		}
		_ = server.EstablishConnection("ws", websocket.NetConn(r.Context(), c, websocket.MessageBinary))
	}))
	t.Cleanup(func() {
		server.Close()
		web.Close()
	})
	u, err := url.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	return tcp.Address(), u.Host
}

// box collects deliveries.
type box struct {
	mu   sync.Mutex
	got  []Delivery
	more chan struct{}
}

func newBox() *box { return &box{more: make(chan struct{}, 1)} }

func (b *box) add(d Delivery) {
	b.mu.Lock()
	b.got = append(b.got, d)
	b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
}

func (b *box) wait(t *testing.T, n int) []Delivery {
	t.Helper()
	for limit := time.After(patience); ; {
		b.mu.Lock()
		got := append([]Delivery(nil), b.got...)
		b.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-b.more:
		case <-limit:
			t.Fatalf("%d of %d messages after %v", len(got), n, patience)
		}
	}
}

func TestTapSeesEveryClient(t *testing.T) {
	t.Parallel()
	mqttAddr, httpAddr := bareMochi(t)
	tap := StartTap(t, mqttAddr, httpAddr)
	goDriver, node := StartGoDriver(t), StartNodeDriver(t)
	inbox := newBox()
	Mosquitto{Addr: tap.Addr, Version: "5", ID: "reader", User: "bob", Password: "x"}.Subscribe(t, "inbox/#", inbox.add, "-q", "1")
	body := []byte("a\x00\xff\n€")
	n := 0
	check := func(t *testing.T, device string, p Publication, acked bool) {
		t.Helper()
		n++
		d := inbox.wait(t, n)[n-1]
		if string(d.Body) != string(p.Body) || d.Topic != p.Topic {
			t.Errorf("%s: got %q on %s, want %q on %s", device, d.Body, d.Topic, p.Body, p.Topic)
		}
		m, ok := tap.Log.Messages(device)[string(p.Body)]
		if !ok || len(m.Sends) != 1 {
			t.Fatalf("%s: the tap saw %d sends, want 1", device, len(m.Sends))
		}
		s := m.Sends[0]
		if s.QoS != p.QoS || s.Dup || s.Topic != p.Topic || s.ContentType != p.ContentType || s.Answered.IsZero() == acked {
			t.Errorf("%s: the tap recorded %+v for %+v", device, s, p)
		}
	}
	for qos := range byte(3) {
		for _, version := range []string{"31", "311", "5"} {
			t.Run(fmt.Sprintf("mosquitto_pub/%s/qos%d", version, qos), func(t *testing.T) {
				id := fmt.Sprintf("m%s-%d", version, qos)
				p := Publication{Topic: "inbox/bob", QoS: qos, Body: append([]byte(id), body...)}
				if version == "5" {
					p.ContentType = "text/x-proof"
				}
				if out := (Mosquitto{Addr: tap.Addr, Version: version, ID: id, User: "alice", Password: "x"}).Publish(t, p); out.Code != 0 {
					t.Fatalf("mosquitto_pub: %+v", out)
				}
				check(t, "alice/"+id, p, qos > 0)
			})
		}
		for _, lib := range []struct {
			driver  *Driver
			options ClientOptions
		}{
			{goDriver, ClientOptions{Library: Paho3, URL: "mqtt://" + tap.Addr}},
			{goDriver, ClientOptions{Library: Paho5, URL: "mqtt://" + tap.Addr, Version: 5}},
			{node, ClientOptions{Library: MQTTJS, URL: "mqtt://" + tap.Addr, Version: 4}},
			{node, ClientOptions{Library: MQTTJS, URL: "mqtt://" + tap.Addr, Version: 5}},
			{node, ClientOptions{Library: MQTTJS, URL: tap.WebSocketURL, Version: 4}},
			{node, ClientOptions{Library: MQTTJS, URL: tap.WebSocketURL, Version: 5}},
		} {
			o := lib.options
			scheme, _, _ := strings.Cut(o.URL, ":")
			o.ID = fmt.Sprintf("%s-%s-%d-%d", o.Library, scheme, o.Version, qos)
			o.User, o.Password, o.Clean = "alice", "x", true
			t.Run(o.ID, func(t *testing.T) {
				got := newBox()
				o.OnMessage = got.add
				o.Subscribe = []Subscription{{"inbox/alice-" + o.ID, 1}}
				c := lib.driver.Connect(o)
				if codes := c.WaitUp(t); len(codes) != 1 || codes[0] != 1 {
					t.Fatalf("granted %v, want [1]", codes)
				}
				p := Publication{Topic: "inbox/alice-" + o.ID, QoS: qos, Body: append([]byte(o.ID), body...)}
				if o.Version == 5 {
					p.ContentType, p.Properties = "text/x-proof", map[string]string{"ref": "{}"}
				}
				if a := c.Send(t, p); a.Error != "" {
					t.Errorf("library: %s", a.Error)
				}
				d := got.wait(t, 1)[0]
				if string(d.Body) != string(p.Body) || d.ContentType != p.ContentType || (o.Version == 5 && d.User["ref"][0] != "{}") {
					t.Errorf("got %+v, want %+v", d, p)
				}
				check(t, "alice/"+o.ID, p, qos > 0)
				c.Disconnect(t)
			})
		}
	}
	if f := tap.Log.Faults(); len(f) > 0 {
		t.Errorf("faults of bare Mochi: %v", f)
	}
}

// A connection that the tap cuts makes Paho send again with DUP, and the tap
// knows the message again.
func TestTapKnowsReSends(t *testing.T) {
	t.Parallel()
	mqttAddr, httpAddr := bareMochi(t)
	tap := StartTap(t, mqttAddr, httpAddr)
	c := StartGoDriver(t).Connect(ClientOptions{Library: Paho3, URL: "mqtt://" + tap.Addr, ID: "p", User: "alice"})
	c.WaitUp(t)
	tap.Delay(time.Hour) // until the cut
	c.Publish(Publication{Topic: "inbox/bob", QoS: 1, Body: []byte("again")})
	for len(tap.Log.Messages("alice/p")) == 0 {
		<-tap.Log.Changed()
	}
	tap.Refuse(true)
	tap.Cut()
	c.WaitDown(t)
	tap.Delay(0)
	tap.Refuse(false)
	for {
		changed := tap.Log.Changed()
		m := tap.Log.Messages("alice/p")["again"]
		if len(m.Sends) == 2 && !m.Sends[1].Answered.IsZero() {
			if m.Sends[0].Dup || !m.Sends[1].Dup || m.Sends[0].PacketID != m.Sends[1].PacketID {
				t.Errorf("sends %+v and %+v, want the same id and DUP on the second", m.Sends[0], m.Sends[1])
			}
			return
		}
		select {
		case <-changed:
		case <-time.After(patience):
			t.Fatalf("no answered re-send: %+v", m)
		}
	}
}
