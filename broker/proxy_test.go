package broker_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"postbox/configs"
	"postbox/internal/mqtttest"
	"postbox/internal/tlstest"
)

// The tests are at several addresses of this machine: proxyHost is trusted,
// everybody else's is not.
const (
	proxyHost    = "127.0.0.2"
	strangerHost = "127.0.0.3"
)

// behind makes a world trust a proxy.
func behind(w *world) { w.config.Proxy.Trusted = []string{proxyHost, "fd00::/8"} }

// from opens a TCP connection from one of this machine's addresses.
func from(t testing.TB, host, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}, Timeout: patience}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func headerV1(client string) []byte {
	family := "TCP4"
	to := "192.0.2.1"
	if strings.Contains(client, ":") {
		family, to = "TCP6", "2001:db8::1"
	}
	return fmt.Appendf(nil, "PROXY %s %s %s 4711 1883\r\n", family, client, to)
}

// headerV2 is a header of version 2 with so many bytes after the addresses.
func headerV2(command byte, client string, extra int) []byte {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x20|command)
	ip := netip.MustParseAddr(client)
	family, to := byte(0x11), netip.MustParseAddr("192.0.2.1")
	if ip.Is6() {
		family, to = 0x21, netip.MustParseAddr("2001:db8::1")
	}
	body := append(ip.AsSlice(), to.AsSlice()...)
	body = append(body, 4711>>8, 4711&0xff, 1883>>8, 1883&0xff)
	if extra > 0 {
		value := make([]byte, extra-3)
		body = append(body, 0x04) // a no-op
		body = binary.BigEndian.AppendUint16(body, uint16(len(value)))
		body = append(body, value...)
	}
	b = append(b, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return append(b, body...)
}

// A trusted proxy says where a connection comes from, in the clear and ahead of
// TLS; nobody else may.
func TestProxyHeader(t *testing.T) {
	t.Parallel()
	a := tlstest.New(t, "authority")
	log := &records{}
	w := secured(t, a, behind, func(w *world) { w.log = log })
	alice := w.user("alice")
	for name, test := range map[string]struct {
		host   string
		header []byte
		remote string // in the log; empty: refused
	}{
		"version 1":                    {proxyHost, headerV1("203.0.113.1"), "203.0.113.1"},
		"version 1, six":               {proxyHost, headerV1("2001:db8::2"), "2001:db8::2"},
		"version 1, unknown":           {proxyHost, []byte("PROXY UNKNOWN\r\n"), proxyHost},
		"version 2":                    {proxyHost, headerV2(1, "203.0.113.3", 0), "203.0.113.3"},
		"version 2, six":               {proxyHost, headerV2(1, "2001:db8::4", 0), "2001:db8::4"},
		"version 2 and more":           {proxyHost, headerV2(1, "203.0.113.5", 2000), "203.0.113.5"},
		"version 2, for itself":        {proxyHost, headerV2(0, "203.0.113.6", 0), proxyHost},
		"without":                      {proxyHost, nil, ""},
		"too long":                     {proxyHost, headerV2(1, "203.0.113.7", 5000), ""},
		"endless":                      {proxyHost, append([]byte("PROXY TCP4 "), bytes.Repeat([]byte("1"), 500)...), ""},
		"nonsense":                     {proxyHost, []byte("PROXY TCP4 one two 3 4\r\n"), ""},
		"twice":                        {proxyHost, append(headerV1("203.0.113.8"), headerV1("203.0.113.9")...), ""},
		"a stranger, without":          {strangerHost, nil, strangerHost},
		"a stranger, version 1":        {strangerHost, headerV1("203.0.113.10"), ""},
		"a stranger, version 2":        {strangerHost, headerV2(1, "203.0.113.11", 0), ""},
		"a stranger, version 2, local": {strangerHost, headerV2(0, "203.0.113.12", 0), ""},
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls=%v", name, secure), func(t *testing.T) {
				address := w.at.MQTT
				if secure {
					address = w.at.MQTTS
				}
				conn := from(t, test.host, address)
				_, _ = conn.Write(test.header)
				stream := conn
				if secure {
					c := tls.Client(conn, trust(a))
					_ = c.SetDeadline(time.Now().Add(patience))
					if err := c.Handshake(); err != nil {
						if test.remote != "" || os.IsTimeout(err) {
							t.Errorf("handshake: %v", err)
						}
						return
					}
					stream = c
				}
				_ = stream.SetDeadline(time.Now().Add(patience))
				_, _ = stream.Write(login{user: alice, id: "phone"}.packetBytes(t))
				ack := make([]byte, 4)
				_, err := io.ReadFull(stream, ack)
				if os.IsTimeout(err) {
					t.Fatal("the connection does not end")
				}
				if ok := err == nil && ack[3] == 0; ok != (test.remote != "") {
					t.Fatalf("CONNACK %x, %v; want to be let in: %v", ack, err, test.remote != "")
				}
				if test.remote == "" {
					return
				}
				_ = stream.Close()
				await(t, "the line in the log", func() bool { return log.count("connection ended", "remote="+test.remote) > 0 })
			})
		}
	}
	// To connect and go is to look whether we are there.
	said := log.count("a connection of a trusted proxy was refused")
	_ = from(t, proxyHost, w.at.MQTT).Close()
	await(t, "the line in the log", func() bool { return log.count("connection ended", "it says nothing", "remote="+proxyHost) > 0 })
	if n := log.count("a connection of a trusted proxy was refused"); n != said {
		t.Errorf("%d warnings, then %d", said, n)
	}
	if n := log.count("a connection of a trusted proxy was refused", "proxy="+proxyHost, "proxy.mqtt_header"); n != 2 {
		t.Errorf("%d lines say that the header is missing, want 2", n)
	}
}

// Without the protocol a proxy's connections are like any other.
func TestNoProxyHeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, behind, func(w *world) { w.config.Proxy.MQTTHeader = configs.MQTTHeaderNone })
	alice := w.user("alice")
	if ack := newWire(t, from(t, proxyHost, w.at.MQTT)).login(login{user: alice, id: "phone"}); ack.ReasonCode != 0 {
		t.Errorf("CONNACK %#x", ack.ReasonCode)
	}
	c := newWire(t, from(t, proxyHost, w.at.MQTT))
	c.Write(append(headerV1("203.0.113.1"), login{user: alice, id: "phone"}.packetBytes(t)...))
	if pk, err := c.Next(); err == nil {
		t.Errorf("a header was taken: %+v", pk)
	}
}

// A header that does not come ends at the time of the CONNECT.
func TestProxyHeaderDeadline(t *testing.T) {
	t.Parallel()
	const limit = 500 * time.Millisecond
	w := newWorld(t, behind, func(w *world) { w.config.Limits.ConnectTimeout = limit })
	for _, sent := range []string{"", "\r\n\r\n\x00\r\nQUIT\n"} {
		began := time.Now()
		conn := from(t, proxyHost, w.at.MQTT)
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, conn); os.IsTimeout(err) {
			t.Fatal("the connection does not end")
		}
		if took := time.Since(began); took < limit {
			t.Errorf("ended after %v, before its time", took)
		}
	}
}

// The limit of an address is that of the client, not that of the proxy through
// which all come; by TCP and by WebSocket alike.
func TestLimitBehindProxies(t *testing.T) {
	t.Parallel()
	const limit = 3
	w := newWorld(t, behind, func(w *world) {
		w.config.Limits.ConnectionsPerAddress, w.config.Limits.ConnectTimeout = limit, 5*time.Minute
	})
	alice := w.user("alice")
	open := func(way, client string) *wire {
		if way == "tcp" {
			c := newWire(t, from(t, proxyHost, w.at.MQTT))
			c.Write(headerV1(client))
			return c
		}
		return w.forwarded(t, proxyHost, http.Header{"X-Forwarded-For": {"198.51.100.1, " + client}})
	}
	taken := func(c *wire) bool {
		_, err := c.Net.Write(login{user: alice, id: "phone"}.packetBytes(t))
		if err == nil {
			_, err = c.Next()
		}
		_ = c.Net.Close()
		return err == nil
	}
	held := 0
	for way, busy := range map[string]string{"tcp": "203.0.113.1", "websocket": "203.0.113.2"} {
		for range limit {
			c := open(way, busy)
			c.Write([]byte{0x10}) // the beginning of a CONNECT
		}
		held += limit
		w.awaitGreeting(t, held)
		if taken(open(way, busy)) {
			t.Errorf("%s: one more of the address was taken", way)
		}
		for n := range 2 * limit {
			if !taken(open(way, fmt.Sprintf("203.0.113.%d", 100+n))) {
				t.Errorf("%s: a client at another address was refused", way)
			}
		}
		if other := map[string]string{"tcp": "websocket", "websocket": "tcp"}[way]; taken(open(other, busy)) {
			t.Errorf("%s: one more of the address was taken by %s", way, other)
		}
	}
	// A stranger's header is ignored: it counts for its own address.
	for n := range limit {
		c := w.forwarded(t, strangerHost, http.Header{"X-Forwarded-For": {fmt.Sprintf("203.0.113.%d", n)}})
		c.Write([]byte{0x10})
	}
	w.awaitGreeting(t, held+limit)
	if taken(w.forwarded(t, strangerHost, http.Header{"X-Forwarded-For": {"203.0.113.99"}})) {
		t.Error("one more of a stranger was taken")
	}
}

// forwarded opens a WebSocket from one of this machine's addresses, with headers.
func (w *world) forwarded(t testing.TB, host string, header http.Header) *wire {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	transport := &http.Transport{DialContext: d.DialContext}
	ws, _, err := websocket.Dial(ctx, "ws://"+w.at.HTTP+"/mqtt", &websocket.DialOptions{
		Subprotocols: []string{"mqtt"}, HTTPHeader: header, HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		// The address may have no place left for one that says nothing.
		near, far := net.Pipe()
		_ = far.Close()
		return &wire{Conn: mqtttest.New(t, near)}
	}
	return newWire(t, websocket.NetConn(context.Background(), ws, websocket.MessageBinary))
}
