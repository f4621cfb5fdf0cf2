package hooks_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/auth"
	"postbox/broker"
	"postbox/configs"
	"postbox/internal/mqtttest"
	"postbox/internal/pgtest"
	"postbox/store"
)

// peer is an MQTT connection that says exactly what a test wants said.
type peer struct{ *mqtttest.Conn }

// connectPacket is a CONNECT of a version, with the password of all.
func connectPacket(version byte, user, id string, clean bool) packets.Packet {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: version}
	pk.Connect = packets.ConnectParams{
		ProtocolName: []byte("MQTT"), ClientIdentifier: id, Clean: clean,
		UsernameFlag: true, Username: []byte(user), PasswordFlag: true, Password: []byte(password),
	}
	return pk
}

// dial opens a connection and sends nothing.
func dial(t testing.TB, addr string) *peer { t.Helper(); return &peer{mqtttest.Dial(t, addr)} }

// connect opens a connection that must be let in, and returns the CONNACK.
func connect(t testing.TB, addr string, pk packets.Packet) (*peer, packets.Packet) {
	t.Helper()
	p := dial(t, addr)
	ack := p.Connect(pk)
	if ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	return p, ack
}

func (p *peer) subscribe(id uint16, filter string) (code byte) {
	p.T.Helper()
	p.Send(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: id,
		Filters: packets.Subscriptions{{Filter: filter, Qos: 1}},
	})
	for {
		pk, err := p.Next()
		if err != nil {
			p.T.Fatalf("wait for SUBACK: %v", err)
		}
		if pk.FixedHeader.Type == packets.Suback {
			return pk.ReasonCodes[0]
		}
	}
}

func publishPacket(id uint16, qos byte, topic, body string) packets.Packet {
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}, PacketID: id, TopicName: topic, Payload: []byte(body),
	}
}

const password = "correct horse"

var passwordHash = sync.OnceValues(func() (string, error) { return auth.HashPassword(password) })

// puback acknowledges deliveries.
func (p *peer) puback(all ...packets.Packet) {
	p.T.Helper()
	for _, pk := range all {
		p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: pk.PacketID})
	}
}

// silent fails the test if an answer to PINGREQ comes within a moment.
func (p *peer) silent() {
	p.T.Helper()
	p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	for {
		_ = p.Net.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		pk, err := mqtttest.Decode(p.In, p.Version)
		if err != nil {
			return
		}
		if pk.FixedHeader.Type == packets.Pingresp {
			p.T.Error("PINGREQ is answered")
			return
		}
	}
}

// publishAll publishes bodies "0", "1" … at QoS 1, and waits for each PUBACK, and
// until the last is handed on: that Mochi does after it has acknowledged it.
func (p *peer) publishAll(topic string, n int) {
	p.T.Helper()
	for i := range n {
		p.Send(publishPacket(uint16(i+1), 1, topic, strconv.Itoa(i)))
		p.Expect(packets.Puback)
	}
	p.Quiet()
}

// postboxServer is an assembled server on a database of its own.
type postboxServer struct {
	t      testing.TB
	addr   string
	store  *store.Store
	server *broker.Server
	named  atomic.Int32
}

func newPostbox(t testing.TB, log slog.Handler) *postboxServer {
	t.Helper()
	c := configs.Default()
	c.Listen = configs.Listen{MQTT: "127.0.0.1:0", HTTP: "127.0.0.1:0", Private: "127.0.0.1:0"}
	c.Limits.PublishRate, c.Limits.PacketRate, c.Limits.ConnectRate = 0, 0, 0
	url := pgtest.New(t)
	st, err := store.Open(store.Options{URL: url, PoolSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	server, err := broker.New(t.Context(), broker.Options{Config: c, DatabaseURL: url, Logger: slog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &postboxServer{t: t, addr: server.Addresses().MQTT, store: st, server: server}
}

// user adds an account with a name that no other has.
func (s *postboxServer) user(prefix string) string {
	s.t.Helper()
	name := fmt.Sprintf("%s%d", prefix, s.named.Add(1))
	hash, err := passwordHash()
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.store.AddUser(s.t.Context(), postbox.User(name), hash, false); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// number runs a query that returns one number.
func (s *postboxServer) number(query string, args ...any) int64 {
	s.t.Helper()
	var n int64
	if err := s.store.DB().QueryRow(query, args...).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return n
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
