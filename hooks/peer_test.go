package hooks_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/auth"
	"postbox/broker"
	"postbox/configs"
	"postbox/internal/pgtest"
	"postbox/store"
)

// peer is an MQTT connection that says exactly what a test wants said.
type peer struct {
	t       testing.TB
	conn    net.Conn
	in      *bufio.Reader
	version byte
}

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
func dial(t testing.TB, addr string) *peer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &peer{t: t, conn: conn, in: bufio.NewReader(conn), version: 4}
}

// connect opens a connection that must be let in, and returns the CONNACK.
func connect(t testing.TB, addr string, pk packets.Packet) (*peer, packets.Packet) {
	t.Helper()
	p := dial(t, addr)
	p.version = pk.ProtocolVersion
	p.send(pk)
	ack := p.expect(packets.Connack)
	if ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	return p, ack
}

func encoded(t testing.TB, pk packets.Packet) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectEncode(&b)
	case packets.Publish:
		err = pk.PublishEncode(&b)
	case packets.Pubrel:
		err = pk.PubrelEncode(&b)
	case packets.Subscribe:
		err = pk.SubscribeEncode(&b)
	default:
		err = fmt.Errorf("packets of type %d are not sent here", pk.FixedHeader.Type)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (p *peer) send(pk packets.Packet) {
	p.t.Helper()
	pk.ProtocolVersion = p.version
	p.write(encoded(p.t, pk))
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

func (p *peer) next() (packets.Packet, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	pk := packets.Packet{ProtocolVersion: p.version}
	first, err := p.in.ReadByte()
	if err != nil {
		return pk, err
	}
	_ = pk.FixedHeader.Decode(first)
	length, _, err := packets.DecodeLength(p.in)
	if err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = length
	body := make([]byte, length)
	if _, err := io.ReadFull(p.in, body); err != nil {
		return pk, err
	}
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Pubrec:
		err = pk.PubrecDecode(body)
	case packets.Pubcomp:
		err = pk.PubcompDecode(body)
	case packets.Suback:
		err = pk.SubackDecode(body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(body)
	}
	return pk, err
}

func (p *peer) expect(kind byte) packets.Packet {
	p.t.Helper()
	pk, err := p.next()
	if err != nil {
		p.t.Fatalf("wait for a %s: %v", packets.PacketNames[kind], err)
	}
	if pk.FixedHeader.Type != kind {
		p.t.Fatalf("got a %s (reason %#x), want a %s", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode, packets.PacketNames[kind])
	}
	return pk
}

// quiet fails if anything comes before the answer to a PINGREQ.
func (p *peer) quiet() {
	p.t.Helper()
	p.write([]byte{0xc0, 0})
	for {
		pk, err := p.next()
		switch {
		case err != nil:
			p.t.Fatalf("wait for PINGRESP: %v", err)
		case pk.FixedHeader.Type == packets.Pingresp:
			return
		}
		p.t.Errorf("got a %s (id %d, payload %.100q), want nothing", packets.PacketNames[pk.FixedHeader.Type], pk.PacketID, pk.Payload)
	}
}

// ended waits for the end of the connection.
func (p *peer) ended() (reason byte) {
	p.t.Helper()
	for {
		pk, err := p.next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.t.Fatal("the connection does not end")
		case err != nil:
			return reason
		case pk.FixedHeader.Type == packets.Disconnect:
			reason = pk.ReasonCode
		}
	}
}

func (p *peer) subscribe(id uint16, filter string) (code byte) {
	p.t.Helper()
	p.send(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: id,
		Filters: packets.Subscriptions{{Filter: filter, Qos: 1}},
	})
	for {
		pk, err := p.next()
		if err != nil {
			p.t.Fatalf("wait for SUBACK: %v", err)
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
	c.Limits.PublishRate = 0
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
