package proof

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// A server with domains and nothing else has a certificate soon, whichever way
// the authority checks them; it keeps it, and asks for no other because somebody
// connects with another name.
func TestACME(t *testing.T) {
	t.Parallel()
	const domain, second = "chat.postbox.example", "mqtt.postbox.example"
	for _, way := range []string{"tls-alpn-01", "http-01"} {
		t.Run(way, func(t *testing.T) {
			web, secure, nowhere := freeAddress(t), freeAddress(t), freeAddress(t)
			var authority *ACME
			if way == "http-01" {
				authority = StartACME(t, web, nowhere)
			} else {
				authority = StartACME(t, nowhere, secure)
			}
			cache := t.TempDir()
			s := StartServer(t, ServerOptions{Env: []string{
				"POSTBOX_LISTEN_MQTTS=" + freeAddress(t), "POSTBOX_LISTEN_HTTPS=" + secure, "POSTBOX_LISTEN_HTTP=" + web,
				"POSTBOX_ACME_DOMAINS=" + domain + "," + second, "POSTBOX_ACME_EMAIL=admin@postbox.example",
				"POSTBOX_ACME_DIRECTORY=" + authority.Directory, "POSTBOX_ACME_CA_FILE=" + authority.CAFile, "POSTBOX_ACME_CACHE_DIR=" + cache,
			}})
			s.AddUser("alice", "alice's secret")
			cert := authority.awaitCertificate(t, s.MQTTS, domain)
			authority.awaitCertificate(t, s.HTTPS, second)
			orders := authority.Orders(t)

			trust := func(name string) *tls.Config { return &tls.Config{RootCAs: authority.Roots, ServerName: name} }
			converse(t, s, trust(domain))
			read(t, s, trust(domain))
			// A device that knows an address only, and a stranger.
			for _, name := range []string{"", "evil.postbox.example", "127.0.0.1"} {
				conn, err := tls.Dial("tcp", s.MQTTS, &tls.Config{ServerName: name, InsecureSkipVerify: true})
				if err != nil {
					t.Errorf("name %q: %v", name, err)
					continue
				}
				if got := conn.ConnectionState().PeerCertificates[0]; !got.Equal(cert) {
					t.Errorf("name %q is shown the certificate of %v", name, got.DNSNames)
				}
				_ = conn.Close()
			}
			if got := authority.Orders(t); got != orders || orders < 2 {
				t.Errorf("%d orders before strangers came, %d after", orders, got)
			}

			// It is kept: the next start needs no authority.
			authority.Stop()
			s.Stop()
			s.Restart()
			if again := authority.awaitCertificate(t, s.MQTTS, domain); !again.Equal(cert) {
				t.Error("another certificate after the restart")
			}
		})
	}
}

// converse sends a message by MQTT and gets it back.
func converse(t *testing.T, s *Server, trust *tls.Config) {
	t.Helper()
	got := make(chan string, 10)
	o := mqtt.NewClientOptions().AddBroker("mqtts://" + s.MQTTS).SetTLSConfig(trust).
		SetClientID("phone").SetUsername("alice").SetPassword("alice's secret").SetConnectRetry(false)
	c := mqtt.NewClient(o)
	if token := c.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("connect: %v", token.Error())
	}
	defer c.Disconnect(250)
	token := c.Subscribe("inbox/alice", 1, func(_ mqtt.Client, m mqtt.Message) { got <- string(m.Payload()) })
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("subscribe: %v", token.Error())
	}
	if token := c.Publish("inbox/alice", 1, false, "over TLS"); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("publish: %v", token.Error())
	}
	if body := <-got; !strings.Contains(body, `"body":"over TLS"`) {
		t.Errorf("got %s", body)
	}
}

// read reads the page by HTTPS under the certificate's name.
func read(t *testing.T, s *Server, trust *tls.Config) {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig: trust,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.HTTPS)
		},
	}
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport, Timeout: patience}).Get("https://" + trust.ServerName + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err := io.ReadAll(r.Body); err != nil || r.StatusCode != http.StatusOK || !strings.Contains(string(body), "Postbox") {
		t.Errorf("%s %q, %v", r.Status, body, err)
	}
}
