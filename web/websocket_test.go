package web_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"postbox/web"
)

const patience = 20 * time.Second

// public serves the public address, and hands each MQTT connection to serve.
func public(t *testing.T, origins []string, serve func(net.Conn)) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(web.NewPublic(web.PublicOptions{
		Origins: origins, MQTT: func(c net.Conn, _ *tls.ConnectionState) { serve(c) }, Logger: slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(s.Close)
	return s
}

// dial asks for a WebSocket; the header may hold more.
func dial(t *testing.T, s *httptest.Server, header http.Header, protocols ...string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, r, err := websocket.Dial(ctx, s.URL+"/mqtt", &websocket.DialOptions{
		HTTPHeader: header, Subprotocols: protocols, HTTPClient: s.Client(), Host: header.Get("Host"),
	})
	if c != nil {
		c.SetReadLimit(-1)
		t.Cleanup(func() { _ = c.CloseNow() })
	}
	return c, r, err
}

func hangUp(c net.Conn) { _ = c.Close() }

// A page may connect if its origin is ours or listed; what is no page has none.
func TestOrigins(t *testing.T) {
	t.Parallel()
	s := public(t, []string{"https://chat.example.org", "http://localhost:3000"}, hangUp)
	own := strings.TrimPrefix(s.URL, "http://")
	for _, test := range []struct {
		origin, host string
		ok           bool
	}{
		{"", "", true},
		{"http://" + own, "", true},
		{"https://" + own, "", true}, // behind a proxy that speaks TLS
		{"https://POSTBOX.example.org", "postbox.example.org", true},
		{"https://chat.example.org", "", true},
		{"http://localhost:3000", "", true},
		{"http://chat.example.org", "", false},
		{"https://chat.example.org:8443", "", false},
		{"https://chat.example.org.evil.example", "", false},
		{"https://evil.example/https://chat.example.org", "", false},
		{"https://evil.example?" + own, "", false},
		{"https://" + own + "@evil.example", "", false},
		{"https://evil.example", "postbox.example.org", false},
		{"http://localhost:3001", "", false},
		{"https://sub.chat.example.org", "", false},
		{"null", "", false},
		{"file://", "", false},
		{"://", "", false},
	} {
		header := http.Header{}
		if test.origin != "" {
			header.Set("Origin", test.origin)
		}
		if test.host != "" {
			header.Set("Host", test.host)
		}
		_, r, err := dial(t, s, header, "mqtt")
		switch {
		case test.ok && err != nil:
			t.Errorf("origin %q, host %q: %v", test.origin, test.host, err)
		case !test.ok && (err == nil || r == nil || r.StatusCode != http.StatusForbidden):
			t.Errorf("origin %q, host %q: let in, or refused otherwise: %v", test.origin, test.host, err)
		}
	}
}

// The subprotocol is not optional [MQTT-6.0.0-3].
func TestSubprotocol(t *testing.T) {
	t.Parallel()
	s := public(t, nil, hangUp)
	for _, test := range []struct {
		offered []string
		chosen  string // none: refused
	}{
		{[]string{"mqtt"}, "mqtt"},
		{[]string{"mqttv3.1"}, "mqttv3.1"},
		{[]string{"chat", "mqtt"}, "mqtt"},
		{nil, ""},
		{[]string{"chat"}, ""},
		{[]string{"mqttx"}, ""},
	} {
		c, r, err := dial(t, s, http.Header{}, test.offered...)
		switch {
		case test.chosen == "" && (err == nil || r.StatusCode != http.StatusBadRequest):
			t.Errorf("%q: %v, want status 400", test.offered, err)
		case test.chosen != "" && err != nil:
			t.Errorf("%q: %v", test.offered, err)
		case test.chosen != "" && c.Subprotocol() != test.chosen:
			t.Errorf("%q: chose %q", test.offered, c.Subprotocol())
		}
	}
}

func TestOtherRequests(t *testing.T) {
	t.Parallel()
	s := public(t, nil, func(net.Conn) { t.Error("a request became a connection") })
	for _, test := range []struct {
		method, path string
		header       http.Header
		status       int
	}{
		{"GET", "/", nil, http.StatusOK},
		{"GET", "/mqtt", nil, http.StatusBadRequest},
		{"GET", "/mqtt", http.Header{"Sec-Websocket-Protocol": {"mqtt"}}, http.StatusUpgradeRequired},
		{"POST", "/mqtt", nil, http.StatusMethodNotAllowed},
		{"GET", "/mqtt/", nil, http.StatusNotFound},
		{"GET", "/nothing", nil, http.StatusNotFound},
		{"GET", "/healthz", nil, http.StatusNotFound}, // the private address's
		{"GET", "/debug/pprof/", nil, http.StatusNotFound},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, s.URL+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range test.header {
			r.Header[k] = v
		}
		answer, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != test.status {
			t.Errorf("%s %s %v: status %d, want %d", test.method, test.path, test.header, answer.StatusCode, test.status)
		}
	}
}

// Frames are no packets: what is split or merged arrives as the same bytes.
func TestFramesAreAStream(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	s := public(t, nil, func(c net.Conn) { // an echo
		_, err := io.Copy(c, c)
		ended <- err
	})
	c, _, err := dial(t, s, http.Header{}, "mqtt")
	if err != nil {
		t.Fatal(err)
	}
	stream := websocket.NetConn(t.Context(), c, websocket.MessageBinary)
	var sent []byte
	for _, size := range []int{1, 1, 2, 0, 5, 70_000, 1, 300_000} {
		part := bytes.Repeat([]byte{byte(len(sent))}, size)
		sent = append(sent, part...)
		if err := c.Write(t.Context(), websocket.MessageBinary, part); err != nil {
			t.Fatal(err)
		}
	}
	// A message in fragments.
	w, err := c.Writer(t.Context(), websocket.MessageBinary)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		fragment := bytes.Repeat([]byte("fragment"), 1000)
		sent = append(sent, fragment...)
		if _, err := w.Write(fragment); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(stream, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%v; the bytes are the same: %v", err, bytes.Equal(got, sent))
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the connection ended with %v, want its end", err)
		}
	case <-time.After(patience):
		t.Error("the connection does not end")
	}
}

// bareSocket sends a request for a WebSocket and, in the same piece, what may follow.
func bareSocket(t *testing.T, s *httptest.Server, follows []byte) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	piece := []byte("GET /mqtt HTTP/1.1\r\nHost: " + s.Listener.Addr().String() + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n")
	if _, err := c.Write(append(piece, follows...)); err != nil {
		t.Fatal(err)
	}
	return c
}

// Who sends more than the request in one piece loses nothing, though it is more than
// the buffer of a WebSocket.
func TestFramesWithTheRequest(t *testing.T) {
	t.Parallel()
	got := make(chan []byte, 1)
	s := public(t, nil, func(c net.Conn) {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		p := make([]byte, 6000)
		n, _ := io.ReadFull(c, p)
		got <- p[:n]
	})
	var frames, want []byte
	for i := range 60 {
		part := bytes.Repeat([]byte{byte(i)}, 100)
		frames = append(append(frames, 0x82, 0x80|100, 0, 0, 0, 0), part...) // RFC 6455 §5.2, a mask of zeros
		want = append(want, part...)
	}
	bareSocket(t, s, frames)
	select {
	case p := <-got:
		if !bytes.Equal(p, want) {
			t.Errorf("%d bytes arrived, or others, not %d", len(p), len(want))
		}
	case <-time.After(patience):
		t.Error("the connection was not taken")
	}
}

// What comes of a frame that breaks off is not handed on: it would be as it was masked.
func TestFrameBreaksOff(t *testing.T) {
	t.Parallel()
	got := make(chan []byte, 1)
	s := public(t, nil, func(c net.Conn) {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		p, _ := io.ReadAll(c)
		got <- p
	})
	whole := []byte{0x82, 0x80 | 4, 0, 0, 0, 0, 'g', 'o', 'o', 'd'}
	_ = bareSocket(t, s, append(whole, 0x82, 0x80|100, 1, 2, 3, 4, 'b', 'a', 'd')).Close()
	if p := <-got; string(p) != "good" {
		t.Errorf("handed on %q", p)
	}
}

// A deadline is told as every net.Conn tells it, and what is written after one of
// reading still arrives.
func TestDeadlineOfReading(t *testing.T) {
	t.Parallel()
	told := make(chan error, 1)
	s := public(t, nil, func(c net.Conn) {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		told <- err
		_, _ = c.Write([]byte("too late"))
	})
	c, _, err := dial(t, s, nil, "mqtt")
	if err != nil {
		t.Fatal(err)
	}
	_, p, err := c.Read(t.Context())
	if string(p) != "too late" {
		t.Errorf("received %q, %v", p, err)
	}
	if err := <-told; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("told %v", err)
	}
}

// MQTT travels in binary messages only [MQTT-6.0.0-1].
func TestTextEnds(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	s := public(t, nil, func(c net.Conn) {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	})
	c, _, err := dial(t, s, http.Header{}, "mqtt")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	_, _, err = c.Read(t.Context())
	if got := websocket.CloseStatus(err); got != websocket.StatusUnsupportedData {
		t.Errorf("closed with %v (%v), want 1003", got, err)
	}
	if err := <-ended; err == nil {
		t.Error("text was read")
	}
}

// The connection knows its peer, by which connections are counted.
func TestRemoteAddress(t *testing.T) {
	t.Parallel()
	remote := make(chan string, 1)
	s := public(t, nil, func(c net.Conn) { remote <- c.RemoteAddr().String() })
	if _, _, err := dial(t, s, http.Header{}, "mqtt"); err != nil {
		t.Fatal(err)
	}
	if host, _, err := net.SplitHostPort(<-remote); err != nil || host != "127.0.0.1" {
		t.Errorf("remote host %q, %v", host, err)
	}
}

// A peer that goes away ends the connection.
func TestPeerGone(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	s := public(t, nil, func(c net.Conn) {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	})
	c, _, err := dial(t, s, http.Header{}, "mqtt")
	if err != nil {
		t.Fatal(err)
	}
	_ = c.CloseNow()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("something was read")
		}
	case <-time.After(patience):
		t.Error("the connection does not end")
	}
}

// The handler returns while the connection goes on: what belongs to a request is not
// kept for as long as its WebSocket is.
func TestTheRequestEndsBeforeItsWebSocket(t *testing.T) {
	t.Parallel()
	serving, ended, returned := make(chan struct{}), make(chan struct{}), make(chan struct{})
	upgrade := web.NewUpgrade(web.PublicOptions{Logger: slog.New(slog.DiscardHandler), MQTT: func(c net.Conn, _ *tls.ConnectionState) {
		close(serving)
		_, _ = io.Copy(c, c)
		close(ended)
	}})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upgrade.ServeHTTP(w, r)
		close(returned)
	}))
	t.Cleanup(s.Close)
	c, _, err := dial(t, s, nil, "mqtt")
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range []chan struct{}{serving, returned} {
		select {
		case <-event:
		case <-time.After(patience):
			t.Fatal("the handler waits for the end of its connection, or does not serve it")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageBinary, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, p, err := c.Read(ctx); err != nil || string(p) != "hello" {
		t.Errorf("after its request has ended it echoes %q, %v", p, err)
	}
	_ = c.CloseNow()
	<-ended
}
