package broker_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"postbox/broker"
)

// Our listener speaks TLS when it is told how, and does not wait for a handshake
// longer than for a CONNECT.
func TestAttachedTLS(t *testing.T) {
	t.Parallel()
	page := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(page.Close)
	a := attach(t, oursTCP, func(*broker.Options) {}, func(w *world) { w.config.Limits.ConnectTimeout = 2 * time.Second })
	l := a.engine.Listener("tls", "127.0.0.1:0", &tls.Config{Certificates: page.TLS.Certificates})
	if err := a.mochi.AddListener(l); err != nil {
		t.Fatal(err)
	}
	a.mochi.Listeners.Serve("tls", a.mochi.EstablishConnection)
	alice := a.user("alice")
	conn, err := tls.Dial("tcp", l.Address(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	c := newWire(t, conn)
	if ack := c.login(durable(5, alice, "phone")); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	c.listen(alice)
	a.send(t, alice, 1)
	c.next(1)
	plain := &attached{kind: oursTCP, addr: l.Address()}
	plain.open(t).Ended() // says nothing
}
