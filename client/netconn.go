package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/coder/websocket"

	"postbox"
)

// addressOf checks the server's URL and fills in the usual port and path.
func addressOf(u *url.URL) (*url.URL, error) {
	port, known := map[string]string{"tcp": "1883", "mqtt": "1883", "tls": "8883", "mqtts": "8883", "ws": "", "wss": ""}[u.Scheme]
	switch {
	case u.User != nil:
		return nil, postbox.Errorf(postbox.CodeInvalid, "the URL holds a user name: give it in Options, where it is not printed")
	case !known || u.Hostname() == "":
		return nil, postbox.Errorf(postbox.CodeInvalid, "the URL %s is not of a server: write tcp://host:1883, tls://host:8883, ws://host:8080/mqtt or wss://host/mqtt", u)
	}
	full := *u
	if port == "" && full.Path == "" {
		full.Path = "/mqtt"
	}
	if port != "" && full.Port() == "" {
		full.Host = net.JoinHostPort(full.Hostname(), port)
	}
	return &full, nil
}

// open makes the network connection for u, as addressOf returned it.
func open(ctx context.Context, u *url.URL, config *tls.Config) (net.Conn, error) {
	switch u.Scheme {
	case "ws", "wss":
		return openWebSocket(ctx, u, config)
	case "tls", "mqtts":
		return openTLS(ctx, u, config)
	}
	return openTCP(ctx, "tcp", u.Host)
}

func openTCP(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return lingering{conn}, nil
}

func openTLS(ctx context.Context, u *url.URL, config *tls.Config) (net.Conn, error) {
	conn, err := openTCP(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	if config == nil {
		config = &tls.Config{}
	}
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = u.Hostname()
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

func openWebSocket(ctx context.Context, u *url.URL, config *tls.Config) (net.Conn, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: openTCP,
		TLSClientConfig: config, DisableKeepAlives: true,
	}
	ws, answer, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: transport, CheckRedirect: stay},
		Subprotocols: []string{"mqtt"}, // [MQTT-6.0.0-3]
	})
	if err != nil {
		if to := elsewhere(u.String(), answer); to != nil {
			return nil, to
		}
		return nil, err
	}
	if ws.Subprotocol() != "mqtt" {
		_ = ws.CloseNow()
		return nil, fmt.Errorf("%s does not speak MQTT: it did not take the WebSocket subprotocol mqtt", u)
	}
	return webSocket{websocket.NetConn(context.Background(), ws, websocket.MessageBinary), ws}, nil
}

// stay is a CheckRedirect: a password or a token goes to the address that was given,
// and no further.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// elsewhere is the error of an answer that is a redirect, nil of another one or none.
func elsewhere(address string, answer *http.Response) error {
	if answer == nil || answer.StatusCode/100 != 3 {
		return nil
	}
	return fmt.Errorf("%s sends elsewhere, to %q (status %d): give that address if you trust it", address, answer.Header.Get("Location"), answer.StatusCode)
}

// lingering reads on for a moment when it is closed, until the server has
// closed too: a close with something unread resets the connection, and the
// server would lose the last acknowledgements.
type lingering struct{ net.Conn }

func (c lingering) Close() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = c.SetReadDeadline(time.Now().Add(quiesce / 2))
		_, _ = io.Copy(io.Discard, c.Conn)
	}
	return c.Conn.Close()
}

// webSocket is closed at once: MQTT's DISCONNECT has said all that the
// WebSocket's closing handshake could say, and a dead peer would not answer it.
type webSocket struct {
	net.Conn
	ws *websocket.Conn
}

func (c webSocket) Close() error {
	err := c.ws.CloseNow()
	_ = c.Conn.Close() // stops its timers
	return err
}

// patient bounds each write, so that a peer that stops reading is noticed:
// Paho sets no deadline for acknowledgements and pings.
type patient struct {
	net.Conn
	patience time.Duration
}

func (c patient) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
