package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/coder/websocket"
)

// subprotocols are the names that MQTT clients ask for (OASIS MQTT 5 §6.0-4;
// the second is that of 3.1).
var subprotocols = []string{"mqtt", "mqttv3.1"}

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
	stream := &conn{websocket.NetConn(context.Background(), c, websocket.MessageBinary), c, bytes, nil, strings.Clone(r.Header.Get("traceparent"))}
	if from, told := u.o.Proxies.Client(r); told {
		stream.remote = &net.TCPAddr{IP: from.AsSlice()}
	}
	go u.o.MQTT(stream, r.TLS)
}

// conn is a WebSocket as a stream. Its Close does not wait for the peer's
// good-bye: MQTT has its own.
type conn struct {
	net.Conn
	ws          *websocket.Conn
	frames      *frames
	remote      net.Addr // as proxies tell it; nil: they do not
	traceParent string
}

// Read implements net.Conn. A deadline that has passed is told as every net.Conn
// tells it.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.frames.carry(p, c.Conn.Read)
	if errors.Is(err, context.Canceled) { // nothing else cancels it
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// RemoteAddr is where the page is, also behind trusted proxies.
func (c *conn) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return c.Conn.RemoteAddr()
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
