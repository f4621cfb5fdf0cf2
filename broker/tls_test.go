package broker_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"postbox/broker"
	"postbox/configs"
	"postbox/internal/mqtttest"
	"postbox/internal/tlstest"
)

// secured gives a world listeners with TLS, and a certificate of a.
func secured(t testing.TB, a *tlstest.Authority, change ...func(*world)) *world {
	t.Helper()
	pair := a.Server()
	return newWorld(t, append([]func(*world){func(w *world) {
		w.config.Listen.MQTTS, w.config.Listen.HTTPS = "127.0.0.1:0", "127.0.0.1:0"
		w.config.TLS.CertFile, w.config.TLS.KeyFile = pair.CertFile, pair.KeyFile
	}}, change...)...)
}

// trust is a client's side of TLS.
func trust(a *tlstest.Authority, own ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: a.Pool, ServerName: "localhost", Certificates: own}
}

// overTLS opens an MQTT connection and sends nothing.
func overTLS(t testing.TB, address string, c *tls.Config) *wire {
	t.Helper()
	d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: c}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return newWire(t, conn)
}

// overHTTPS opens a WebSocket and sends nothing.
func (w *world) overHTTPS(t testing.TB, c *tls.Config) *wire {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: c}
	ws, _, err := websocket.Dial(ctx, "wss://"+w.at.HTTPS+"/mqtt", &websocket.DialOptions{
		Subprotocols: []string{"mqtt"}, HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		t.Fatal(err)
	}
	return newWire(t, websocket.NetConn(context.Background(), ws, websocket.MessageBinary))
}

func TestOverTLS(t *testing.T) {
	t.Parallel()
	a := tlstest.New(t, "authority")
	w := secured(t, a)
	versions(t, func(t *testing.T, v byte) {
		alice, bob := w.user("alice"), w.user("bob")
		phone, page := overTLS(t, w.at.MQTTS, trust(a)), w.overHTTPS(t, trust(a))
		for c, l := range map[*wire]login{phone: durable(v, alice, "phone"), page: durable(v, bob, "page")} {
			if ack := c.login(l); ack.ReasonCode != 0 {
				t.Fatalf("CONNACK %#x", ack.ReasonCode)
			}
			c.listen(l.user)
		}
		large := strings.Repeat("large ", 10_000) // several records
		for _, body := range []string{"hello", large} {
			phone.say("inbox/"+bob, body)
			for _, c := range []*wire{phone, page} {
				if _, e := c.receive(); e.body() != body {
					t.Errorf("received %.20q, want %.20q", e.body(), body)
				}
			}
		}
		phone.Leave()
		w.fill(alice, 100)
		phone = overTLS(t, w.at.MQTTS, trust(a))
		if ack := phone.login(durable(v, alice, "phone")); !ack.SessionPresent {
			t.Error("the session is gone")
		}
		for n := int64(3); n <= 102; n++ {
			if _, e := phone.receive(); e.InboxSeq != n {
				t.Fatalf("received entry %d, want %d", e.InboxSeq, n)
			}
		}
	})
}

// The page's address answers by HTTP/1.1 and 2; what is old is refused.
func TestTLSVersions(t *testing.T) {
	t.Parallel()
	a := tlstest.New(t, "authority")
	w := secured(t, a)
	for _, address := range []string{w.at.MQTTS, w.at.HTTPS} {
		c := trust(a)
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		if conn, err := tls.Dial("tcp", address, c); err == nil {
			t.Errorf("%s speaks TLS %x", address, conn.ConnectionState().Version)
			_ = conn.Close()
		}
		c.MaxVersion = tls.VersionTLS12
		conn, err := tls.Dial("tcp", address, c)
		if err != nil {
			t.Fatalf("TLS 1.2: %v", err)
		}
		_ = conn.Close()
	}
	for _, two := range []bool{false, true} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust(a), ForceAttemptHTTP2: two}, Timeout: patience}
		r, err := client.Get("https://" + w.at.HTTPS + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if r.StatusCode != http.StatusOK || (r.ProtoMajor == 2) != two || !strings.Contains(string(body), "Postbox") {
			t.Errorf("%s %s: %q", r.Proto, r.Status, body)
		}
		client.CloseIdleConnections()
	}
	// A device that names its protocol is let in, and so is one that asks for
	// something of its own.
	for _, protocol := range []string{"mqtt", "x-own"} {
		c := trust(a)
		c.NextProtos = []string{protocol}
		_ = overTLS(t, w.at.MQTTS, c).Net.Close()
	}
}

// hello is the beginning of a handshake.
func hello(t *testing.T) []byte {
	t.Helper()
	near, far := net.Pipe()
	go func() { _ = tls.Client(near, &tls.Config{ServerName: "localhost"}).Handshake() }()
	defer near.Close()
	b := make([]byte, 64)
	if _, err := io.ReadFull(far, b); err != nil {
		t.Fatal(err)
	}
	_ = far.Close()
	return b
}

// A handshake that does not begin, does not end, or is followed by nothing ends
// at the time that a CONNECT has.
func TestHandshakeDeadline(t *testing.T) {
	t.Parallel()
	a := tlstest.New(t, "authority")
	const limit = 700 * time.Millisecond
	w := secured(t, a, func(w *world) { w.config.Limits.ConnectTimeout = limit })
	began := hello(t)
	for name, address := range map[string]string{"mqtts": w.at.MQTTS, "https": w.at.HTTPS} {
		for sent, b := range map[string][]byte{"nothing": nil, "half a hello": began, "a handshake": nil} {
			t.Run(name+"/"+sent, func(t *testing.T) {
				t.Parallel()
				start := time.Now()
				raw, err := net.DialTimeout("tcp", address, patience)
				if err != nil {
					t.Fatal(err)
				}
				defer raw.Close()
				var conn net.Conn = raw
				if sent == "a handshake" {
					secure := tls.Client(raw, trust(a))
					if err := secure.Handshake(); err != nil {
						t.Fatal(err)
					}
					conn = secure
				}
				if _, err := conn.Write(b); err != nil {
					t.Fatal(err)
				}
				_ = conn.SetReadDeadline(time.Now().Add(patience))
				if _, err := io.Copy(io.Discard, conn); os.IsTimeout(err) {
					t.Fatal("the server does not end it")
				}
				// Ten seconds are the default, which must not be what ended it.
				if took := time.Since(start); took < limit || took > 9*time.Second {
					t.Errorf("ended after %v, want %v", took, limit)
				}
			})
		}
	}
}

// Connections count for their address from the first moment, whether they are
// silent, in a handshake or past it, at either address.
func TestHandshakesCountForTheirAddress(t *testing.T) {
	t.Parallel()
	a := tlstest.New(t, "authority")
	const limit = 4
	w := secured(t, a, func(w *world) {
		w.config.Limits.ConnectTimeout, w.config.Limits.ConnectionsPerAddress = 5*time.Minute, limit
	})
	alice := w.user("alice")
	dial := func(address string) net.Conn {
		c, err := net.DialTimeout("tcp", address, patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	waiting := []net.Conn{dial(w.at.MQTTS), dial(w.at.HTTPS), dial(w.at.HTTP)}
	_ = overTLS(t, w.at.MQTTS, trust(a)) // it has shaken hands, and says nothing
	ended := func(c net.Conn) bool {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, err := c.Read(make([]byte, 1))
		_ = c.Close()
		return err != nil && !os.IsTimeout(err)
	}
	w.awaitGreeting(t, limit)
	for _, address := range []string{w.at.MQTTS, w.at.HTTPS, w.at.MQTT} {
		if !ended(dial(address)) {
			t.Errorf("%s took one more", address)
		}
	}
	_ = waiting[0].Close()
	await(t, "a place", func() bool {
		conn, err := tls.Dial("tcp", w.at.MQTTS, trust(a))
		if err != nil {
			return false
		}
		return newWire(t, conn).login(login{user: alice, id: "phone"}).ReasonCode == 0
	})
}

// records keeps what is logged.
type records struct {
	mu  sync.Mutex // guards all
	all []string
}

func (r *records) Enabled(context.Context, slog.Level) bool { return true }
func (r *records) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *records) WithGroup(string) slog.Handler            { return r }

func (r *records) Handle(_ context.Context, e slog.Record) error {
	line := e.Message
	e.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, line)
	return nil
}

// count is how many lines have all these texts.
func (r *records) count(texts ...string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range r.all {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(line, text)
		}
		if all {
			n++
		}
	}
	return n
}

// shows is the number of the certificate that an address shows.
func shows(t *testing.T, address string, a *tlstest.Authority) *big.Int {
	t.Helper()
	conn, err := tls.Dial("tcp", address, trust(a))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber
}

// New files serve new connections, and those that are open stay. Files that
// cannot be used change nothing but the log.
func TestReload(t *testing.T) {
	t.Parallel()
	a := tlstest.New(t, "authority")
	log := &records{}
	first, second := a.Server(), a.Server()
	w := secured(t, a, func(w *world) {
		w.log = log
		w.config.TLS.CertFile, w.config.TLS.KeyFile = first.CertFile, first.KeyFile
		var err error
		if w.certificates, err = broker.NewCertificates(w.config, slog.New(log)); err != nil {
			t.Fatal(err)
		}
	})
	alice := w.user("alice")
	old := overTLS(t, w.at.MQTTS, trust(a))
	if ack := old.login(login{user: alice, id: "phone"}); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	both := func(what string, want tlstest.Pair) {
		t.Helper()
		for _, address := range []string{w.at.MQTTS, w.at.HTTPS} {
			if got := shows(t, address, a); got.Cmp(want.TLS.Leaf.SerialNumber) != 0 {
				t.Errorf("%s: %s shows another certificate", what, address)
			}
		}
	}
	both("at the start", first)
	first.Overwrite(t, second)
	both("before the reload", first)
	w.certificates.Reload()
	both("after it", second)
	if err := os.WriteFile(first.CertFile, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.certificates.Reload()
	both("after one of nonsense", second)
	if n := log.count("the old ones stay in use", "tls.cert_file: "+first.CertFile); n != 1 {
		t.Errorf("%d lines say that the file cannot be used, want 1", n)
	}
	first.Overwrite(t, a.Server())
	if err := os.Remove(first.KeyFile); err != nil {
		t.Fatal(err)
	}
	w.certificates.Reload()
	both("after one without a key", second)
	if n := log.count("the old ones stay in use"); n != 2 {
		t.Errorf("%d lines say that the old ones stay, want 2", n)
	}
	old.Quiet() // it is still there
	old.say("inbox/"+alice, "hello")
}

// What is wrong with a file is said with the setting and what to do.
func TestCertificateFileErrors(t *testing.T) {
	t.Parallel()
	a := tlstest.New(t, "authority")
	pair, other := a.Server(), a.Server()
	missing := pair.CertFile + ".missing"
	for name, test := range map[string]struct{ cert, key, clients, want string }{
		"fine":            {pair.CertFile, pair.KeyFile, a.File, ""},
		"missing":         {missing, pair.KeyFile, "", "tls.cert_file: open " + missing + ": no such file or directory: name the PEM file of the certificate with its chain"},
		"no certificate":  {pair.KeyFile, pair.KeyFile, "", "tls.cert_file: " + pair.KeyFile + " holds no certificate: it must be a PEM file"},
		"missing key":     {pair.CertFile, missing, "", "tls.key_file: open " + missing + ": no such file or directory: name the PEM file of the certificate's private key"},
		"no key":          {pair.CertFile, pair.CertFile, "", "tls.key_file: " + pair.CertFile + " holds no private key: it must be a PEM file"},
		"mismatched":      {pair.CertFile, other.KeyFile, "", "tls.key_file: " + other.KeyFile + " is not the key of " + pair.CertFile + ": give the one that the certificate was made with (tls: private key does not match public key)"},
		"missing clients": {pair.CertFile, pair.KeyFile, missing, "tls.client_ca_file: open " + missing + ": no such file or directory: name the PEM file of the authorities' certificates"},
		"no authorities":  {pair.CertFile, pair.KeyFile, pair.KeyFile, "tls.client_ca_file: " + pair.KeyFile + " holds no certificate: it must be a PEM file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := configs.Default()
			c.Listen.MQTTS = "127.0.0.1:0"
			c.TLS.CertFile, c.TLS.KeyFile = test.cert, test.key
			if test.clients != "" {
				c.TLS.ClientAuth, c.TLS.ClientCAFile = configs.ClientAuthOptional, test.clients
			}
			_, err := broker.NewCertificates(c, slog.New(slog.DiscardHandler))
			for _, err := range []error{err, broker.CheckCertificates(c)} {
				if got := fmt.Sprint(err); got != test.want && (err != nil || test.want != "") {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
			}
		})
	}
}

// A certificate that has ended is shown, and the log says so: a device may not
// look, and a server that does not start helps nobody.
func TestExpiredCertificate(t *testing.T) {
	t.Parallel()
	a := tlstest.New(t, "authority")
	log := &records{}
	pair := a.Issue(&x509.Certificate{DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(-time.Minute)})
	w := secured(t, a, func(w *world) {
		w.log = log
		w.config.TLS.CertFile, w.config.TLS.KeyFile = pair.CertFile, pair.KeyFile
	})
	if log.count("the certificate is not valid now", pair.CertFile) == 0 {
		t.Error("the log does not say that the certificate has ended")
	}
	c := trust(a)
	c.InsecureSkipVerify = true
	_ = overTLS(t, w.at.MQTTS, c).Net.Close()
}

// What is no handshake is no connection either.
func TestPlainTextAtTLS(t *testing.T) {
	t.Parallel()
	a := tlstest.New(t, "authority")
	w := secured(t, a)
	c := mqtttest.Dial(t, w.at.MQTTS)
	c.Write(login{user: "alice", id: "phone"}.packetBytes(t))
	if _, err := bufio.NewReader(c.Net).ReadByte(); err != nil {
		return // ended without an alert
	}
	c.Ended()
}
