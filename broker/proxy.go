package broker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net"

	proxyproto "github.com/pires/go-proxyproto"

	"postbox/auth"
	"postbox/configs"
)

// proxyHeaderLimit is how many bytes a PROXY header may have. Version 1 has 107
// at most; version 2 has room for what clouds add to the addresses.
const proxyHeaderLimit = 4 << 10

// proxied is a connection from a trusted proxy: a PROXY header comes ahead of
// everything else, and says where it really comes from. Without one it ends, so
// that no client of a proxy that sends none can send its own.
// (haproxy.org/download/2.8/doc/proxy-protocol.txt)
type proxied struct {
	net.Conn
	limit  *io.LimitedReader
	in     *bufio.Reader
	remote net.Addr
}

// errNothingSaid is how proxies look whether a server is there: they connect,
// and go.
var errNothingSaid = errors.New("it says nothing")

func newProxied(raw net.Conn) *proxied {
	limit := &io.LimitedReader{R: raw, N: proxyHeaderLimit}
	return &proxied{Conn: raw, limit: limit, in: bufio.NewReaderSize(limit, 256), remote: raw.RemoteAddr()}
}

// readHeader waits for the header, until the read deadline of the connection.
func (c *proxied) readHeader() error {
	if _, err := c.in.Peek(1); err != nil {
		return fmt.Errorf("%w: %w", errNothingSaid, err)
	}
	header, err := proxyproto.Read(c.in)
	switch {
	case errors.Is(err, proxyproto.ErrNoProxyProtocol):
		return errors.New("it comes without a PROXY header: make the proxy send one, or set proxy.mqtt_header to none")
	case err != nil && c.limit.N == 0:
		return fmt.Errorf("its PROXY header is over %d bytes", proxyHeaderLimit)
	case err != nil:
		return fmt.Errorf("its PROXY header cannot be read: %w", err)
	}
	c.limit.N = math.MaxInt64
	// A proxy also connects for itself, to see whether we are there.
	if from, ok := header.SourceAddr.(*net.TCPAddr); ok && !header.Command.IsLocal() {
		c.remote = from
	}
	return nil
}

// Read reads what follows the header.
func (c *proxied) Read(p []byte) (int, error) {
	if c.in.Buffered() > 0 {
		return c.in.Read(p)
	}
	return c.Conn.Read(p)
}

// RemoteAddr is where the proxy's client is, once the header has been read.
func (c *proxied) RemoteAddr() net.Addr { return c.remote }

// proxiesOf are the proxies that a configuration trusts.
func proxiesOf(c configs.Proxy) auth.Proxies {
	p := auth.Proxies{Trusted: c.Networks()}
	switch c.HTTPHeader {
	case configs.HTTPHeaderXForwardedFor:
		p.Header = "X-Forwarded-For"
	case configs.HTTPHeaderForwarded:
		p.Header = "Forwarded"
	}
	return p
}
