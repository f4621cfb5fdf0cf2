package web

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/coder/websocket"
)

// subprotocols are the names that MQTT clients ask for (OASIS MQTT 5 §6.0-4;
// the second is that of 3.1).
var subprotocols = []string{"mqtt", "mqttv3.1"}

var errText = errors.New("MQTT is in binary messages, not in text")

// upgrader turns a request into an MQTT connection. Unlike Mochi's listener it
// shares its port, checks the origin, and insists on the subprotocol.
type upgrader struct {
	o PublicOptions
}

// NewUpgrade is the handler of MQTT over WebSocket alone, for any path.
func NewUpgrade(o PublicOptions) http.Handler { return &upgrader{o} }

// ServeHTTP implements http.Handler. It returns when the connection has begun: what
// belongs to the request, and the deep stack of its goroutine, would else be kept for
// as long as the connection is, which is more than MQTT takes.
func (u *upgrader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !u.allowed(r) {
		http.Error(w, "this origin may not connect: add it to listen.origins", http.StatusForbidden)
		return
	}
	if !offers(r) {
		http.Error(w, "connect with a WebSocket of the subprotocol mqtt", http.StatusBadRequest)
		return
	}
	bytes := new(frames)
	c, err := websocket.Accept(framed{w, bytes}, r, &websocket.AcceptOptions{
		Subprotocols:       subprotocols,
		InsecureSkipVerify: true, // the origin was checked above
		CompressionMode:    websocket.CompressionDisabled,
		OnPingReceived:     bytes.ping,
	})
	if err != nil {
		return // Accept has answered
	}
	// A message may hold many packets; the packets have their own limit.
	c.SetReadLimit(-1)
	stream := &conn{frames: bytes, ws: c, traceParent: strings.Clone(r.Header.Get("traceparent"))}
	if from, told := u.o.Proxies.Client(r); told {
		stream.remote = &net.TCPAddr{IP: from.AsSlice()}
	}
	go u.o.MQTT(stream, r.TLS)
}

// conn is a WebSocket as a stream; its deadlines and addresses are those of the TCP
// connection beneath. Once a deadline has passed within a frame, no more can be read,
// or written, of it. Its Close does not wait for the peer's good-bye: MQTT has its own.
//
// It is what websocket.NetConn is, without that one's contexts and timers, which cost
// memory and make the reader's stack deeper, and whose deadlines are not told as every
// net.Conn tells them.
type conn struct {
	*frames
	ws          *websocket.Conn
	message     io.Reader // that is being read; nil: none
	remote      net.Addr  // as proxies tell it; nil: they do not
	traceParent string
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	c.frames.begin(p)
	n, err := c.read(p)
	c.frames.carried(n)
	return n, err
}

func (c *conn) read(p []byte) (int, error) {
	for {
		if c.message == nil {
			kind, message, err := c.ws.Reader(context.Background())
			switch {
			case isFarewell(err):
				return 0, io.EOF
			case err != nil:
				return 0, err
			case kind != websocket.MessageBinary: // [MQTT-6.0.0-1]
				_ = c.ws.Close(websocket.StatusUnsupportedData, errText.Error())
				return 0, errText
			}
			c.message = message
		}
		n, err := c.message.Read(p)
		switch {
		case errors.Is(err, io.EOF):
			c.message = nil
		case err != nil:
			return 0, err // what came of a frame before it broke off is not unmasked
		}
		if n > 0 {
			return n, nil
		}
	}
}

// isFarewell reports whether the peer has ended the connection as it should.
func isFarewell(err error) bool {
	status := websocket.CloseStatus(err)
	return status == websocket.StatusNormalClosure || status == websocket.StatusGoingAway
}

// Write implements net.Conn: p is a message of its own.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.ws.Write(context.Background(), websocket.MessageBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// RemoteAddr is where the page is, also behind trusted proxies.
func (c *conn) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return c.frames.RemoteAddr()
}

// TraceParent is the trace that the request names (W3C Trace Context §3.2), as it
// was sent; empty if it names none.
func (c *conn) TraceParent() string { return c.traceParent }

// Close ends the connection at once.
func (c *conn) Close() error { return c.ws.CloseNow() }

// allowed reports whether a page of the request's origin may connect: none
// given, our own, or listed.
func (u *upgrader) allowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(u.o.Origins, origin) {
		return true
	}
	parsed, err := url.Parse(origin)
	return err == nil && parsed.Host != "" && strings.EqualFold(parsed.Host, r.Host)
}

func offers(r *http.Request) bool {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if slices.Contains(subprotocols, strings.TrimSpace(name)) {
				return true
			}
		}
	}
	return false
}
