package hooks_test

import (
	"bufio"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/hooks"
)

// Where Mochi departs from the protocol or says too little. See docs/mochi.md.

// Mochi refuses with one code only, whatever the reason. Ours: TestConnackCodes.
func TestMochiRefusesWithOneCode(t *testing.T) {
	t.Parallel()
	b := newBare(t, nil, &probe{})
	for version, want := range map[byte]byte{4: 5, 5: 0x86} {
		p := dial(t, b.addr)
		if ack := p.Connect(connectPacket(version, "eve", "eve", true)); ack.ReasonCode != want {
			t.Errorf("bare: version %d: CONNACK %#x", version, ack.ReasonCode)
		}
	}
}

// An enhanced authentication is taken for a success, and an AUTH packet passed
// over. Ours: TestAuthenticationMethodIsRefused, and here.
func TestMochiEnhancedAuthentication(t *testing.T) {
	t.Parallel()
	auth := []byte{0xf0, 2, 0x18, 0} // "continue"
	b := newBare(t, nil)
	pk := connectPacket(5, "eve", "eve", true)
	pk.Properties.AuthenticationMethod = "SCRAM-SHA-1"
	p, _ := connect(t, b.addr, pk)
	p.Write(auth)
	p.Quiet()

	s := newPostbox(t, slog.DiscardHandler)
	alice := s.user("alice")
	for version, want := range map[byte]byte{4: 0, 5: packets.ErrProtocolViolation.Code} {
		p, _ := connect(t, s.addr, connectPacket(version, alice, "phone", true))
		p.Write(auth)
		if reason := p.Ended(); reason != want {
			t.Errorf("version %d: ended with %#x, want %#x", version, reason, want)
		}
	}
}

// CONNACK does not say how large a packet may be, nor that there are no shared
// subscriptions: the settings for these do nothing. Ours: TestConnackAnnounces.
func TestMochiAnnouncesLittle(t *testing.T) {
	t.Parallel()
	b := newBare(t, func(o *mqtt.Options) {
		o.Capabilities.MaximumPacketSize = 5000
		o.Capabilities.SharedSubAvailable, o.Capabilities.WildcardSubAvailable = 0, 0
	})
	p, ack := connect(t, b.addr, connectPacket(5, "alice", "alice", true))
	if ack.Properties.MaximumPacketSize != 0 || ack.Properties.SharedSubAvailableFlag || ack.Properties.WildcardSubAvailableFlag {
		t.Errorf("bare: CONNACK announces %+v", ack.Properties)
	}
	for _, filter := range []string{"$share/g/a", "a/+"} {
		if code := p.subscribe(1, filter); code != 1 {
			t.Errorf("bare: %s: SUBACK %#x", filter, code)
		}
	}
}

// Filters that are none are granted [MQTT-4.7.1-1] [MQTT-4.7.1-2].
func TestMochiMalformedFilters(t *testing.T) {
	t.Parallel()
	b := newBare(t, nil)
	p, _ := connect(t, b.addr, connectPacket(5, "alice", "alice", true))
	for _, filter := range []string{"a#", "a+/b", "+a", "$share//x"} {
		if code := p.subscribe(1, filter); code != 1 {
			t.Errorf("bare: %s: SUBACK %#x", filter, code)
		}
	}
	s := newPostbox(t, slog.DiscardHandler)
	alice := s.user("alice")
	p, _ = connect(t, s.addr, connectPacket(5, alice, "phone", true))
	for _, filter := range []string{"a#", "a+/b", "+a", "$share//x", "reply/" + alice + "/a#", "reply/" + alice + "/+a/b", "reply/" + alice + "/#/b"} {
		if code := p.subscribe(1, filter); code < 0x80 {
			t.Errorf("%s: SUBACK %#x", filter, code)
		}
	}
}

// A packet over the limit, and one that is malformed, end the connection without
// a DISCONNECT that says why. So do they with us: MQTT 5 §4.13 allows it. What
// matters is that the rest of the packet is not waited for.
func TestMochiOversizedPacket(t *testing.T) {
	t.Parallel()
	large := []byte{0x30, 0xff, 0xff, 0xff, 0x7f}
	b := newBare(t, func(o *mqtt.Options) { o.Capabilities.MaximumPacketSize = 5000 })
	p, _ := connect(t, b.addr, connectPacket(5, "alice", "alice", true))
	p.Write(large)
	if reason := p.Ended(); reason != 0 {
		t.Errorf("bare: DISCONNECT %#x", reason)
	}
	s := newPostbox(t, slog.DiscardHandler)
	p, _ = connect(t, s.addr, connectPacket(5, s.user("alice"), "phone", true))
	p.Write(large)
	p.Ended()
}

// A length goes on for as long as its bytes have the highest bit, and counts if
// they are empty otherwise. Before CONNECT ours ends with the fifth; afterwards
// it costs the client its own connection, when its keep-alive is over.
func TestMochiEndlessLength(t *testing.T) {
	t.Parallel()
	endless := func(kind byte) []byte { return append([]byte{kind}, strings.Repeat("\x80", 20)...) }
	b := newBare(t, nil)
	p, _ := connect(t, b.addr, connectPacket(4, "alice", "alice", true))
	p.Write(append(endless(0xc0), 0))
	p.Expect(packets.Pingresp)

	s := newPostbox(t, slog.DiscardHandler)
	p = dial(t, s.addr)
	p.Write(endless(0x10))
	p.Ended()
	short := connectPacket(4, s.user("alice"), "phone", true)
	short.Connect.Keepalive = 1
	p, _ = connect(t, s.addr, short)
	p.Write(endless(0xc0))
	p.Ended()
}

// The WebSocket listener asks neither for the origin nor for the subprotocol.
// Ours: package web.
func TestMochiWebSocketListener(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = inner.Close() // its address is free: the listener makes its own
	ws := listeners.NewWebsocket(listeners.Config{ID: "ws", Address: inner.Addr().String()})
	b := newBare(t, nil)
	if err := b.AddListener(ws); err != nil {
		t.Fatal(err)
	}
	go ws.Serve(func(string, net.Conn) error { return nil })
	var conn net.Conn
	await(t, "the listener", func() bool {
		conn, err = net.Dial("tcp", inner.Addr().String())
		return err == nil
	})
	defer conn.Close()
	request := "GET /any/path HTTP/1.1\r\nHost: here\r\nOrigin: http://evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("bare: %s", answer.Status)
	}
}

// Of Mochi's events these are not taken: what they report never happens to what
// is kept, or they are asked too late.
func TestMochiEventsNotTaken(t *testing.T) {
	t.Parallel()
	var h hooks.Hook
	for name, event := range map[string]byte{
		"OnPublishDropped": mqtt.OnPublishDropped, "OnQosDropped": mqtt.OnQosDropped,
		"OnQosPublish": mqtt.OnQosPublish, "OnPacketIDExhausted": mqtt.OnPacketIDExhausted, "OnWill": mqtt.OnWill,
		"OnSelectSubscribers": mqtt.OnSelectSubscribers, "OnRetainMessage": mqtt.OnRetainMessage, "StoredClients": mqtt.StoredClients,
		"OnClientExpired": mqtt.OnClientExpired,
	} {
		if h.Provides(event) {
			t.Errorf("takes %s", name)
		}
	}
}
