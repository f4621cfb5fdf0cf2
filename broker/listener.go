package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/auth"
	"postbox/configs"
	"postbox/hooks"
)

// acceptPause is how long accepting waits after an error, such as no free file
// descriptors: Mochi's own listener would end for good.
const acceptPause = 50 * time.Millisecond

// securePiece is how much goes out in one write with TLS: a record (RFC 8446
// §5.1). A write that is not done in time leaves a connection of no use.
const securePiece = 16 << 10

// door serves MQTT connections, from whatever listener they come.
type door struct {
	server   *mqtt.Server
	hook     *hooks.Hook
	greeting hooks.Greeting
	perHost  int // connections of one address that have not sent CONNECT
	arrivals arrivals
	room     room
	log      *slog.Logger
	proxies  auth.Proxies
	// certificates belong to the listeners with TLS.
	certificates *Certificates

	work sync.WaitGroup

	turnedAway, acceptFailures, panics atomic.Int64

	mu      sync.Mutex // guards the fields below
	closed  bool
	waiting map[string]int
	conns   map[*hooks.Conn]string // with their listeners
	gone    map[string]bool        // listeners that were hung up
}

func newDoor(server *mqtt.Server, hook *hooks.Hook, l configs.Limits, log *slog.Logger) *door {
	return &door{
		server: server, hook: hook, log: log, perHost: l.ConnectionsPerAddress, arrivals: arrivals{rate: l.ConnectRate},
		greeting: hooks.Greeting{Timeout: l.ConnectTimeout, Limit: int(l.ConnectSize), Packet: int(l.PacketSize)},
		waiting:  make(map[string]int), conns: make(map[*hooks.Conn]string), gone: make(map[string]bool),
	}
}

// entrance is how connections come in at one listener.
type entrance struct {
	name    string      // to Mochi
	tls     *tls.Config // nil: in the clear
	proxied bool        // from trusted proxies a PROXY header comes first
}

// accept serves what l accepts until l is closed.
func (d *door) accept(l net.Listener, at entrance) {
	for {
		c, err := l.Accept()
		switch {
		case err == nil && !d.room.enter():
			d.turnedAway.Add(1)
			_ = c.Close()
		case err == nil:
			go func() { // counted in work by add
				defer d.room.leave()
				d.serve(c, at, nil)
			}()
		case errors.Is(err, net.ErrClosed):
			return
		default:
			d.acceptFailures.Add(1)
			d.room.failed(err)
			time.Sleep(acceptPause)
		}
	}
}

// serve runs one connection to its end; by is the certificate that it has
// already shown. PROXY header, handshake and CONNECT share one deadline.
// Whatever goes wrong, a panic of Mochi's decoders too, ends this connection
// only.
func (d *door) serve(raw net.Conn, at entrance, by *hooks.Certificate) {
	g, inner := d.greeting, raw
	leave := func() {}
	defer func() { leave() }()
	g.Done = func() { leave() }
	var header *proxied
	if at.proxied && d.proxies.Trusts(raw.RemoteAddr()) {
		header = newProxied(raw)
		inner = header
	}
	var secure *tls.Conn
	if at.tls != nil {
		secure = tls.Server(inner, at.tls)
		inner, g.Piece = secure, securePiece
	}
	conn := hooks.NewConn(inner, g)
	if !d.add(conn, at.name) {
		_ = raw.Close()
		return
	}
	defer d.end(conn)
	host := hostOf(raw)
	defer func() {
		if fault := recover(); fault != nil {
			d.panics.Add(1)
			d.log.Error("a connection ended in a panic", "panic", fault, "remote", host, "stack", string(debug.Stack()))
		}
	}()
	if header != nil {
		switch err := header.readHeader(); {
		case errors.Is(err, errNothingSaid):
			d.log.Debug("connection ended", "error", err, "remote", host)
			return
		case err != nil:
			d.log.Warn("a connection of a trusted proxy was refused", "error", err, "proxy", host)
			return
		}
		host = hostOf(conn)
	}
	if !d.arrivals.allow(host) || !d.enter(host) {
		d.turnedAway.Add(1)
		return
	}
	leave = sync.OnceFunc(func() { d.leave(host) })
	if secure != nil {
		if err := d.handshake(secure); err != nil {
			d.log.Debug("a handshake failed", "error", err, "remote", host)
			return
		}
		state := secure.ConnectionState()
		by = d.certificates.client(&state)
	}
	conn.Certify(by)
	if err := d.server.EstablishConnection(at.name, conn); err != nil {
		d.log.Debug("connection ended", "error", err, "remote", host)
	}
}

// handshake is bounded by the read deadline that the connection already has, and
// by one for what it writes.
func (d *door) handshake(c *tls.Conn) error {
	_ = c.SetWriteDeadline(time.Now().Add(d.greeting.Timeout))
	return c.Handshake()
}

func (d *door) end(conn *hooks.Conn) {
	defer d.work.Done()
	d.hook.Ended(conn)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, conn)
}

func (d *door) add(conn *hooks.Conn, listener string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.gone[listener] {
		return false
	}
	d.conns[conn] = listener
	d.work.Add(1)
	return true
}

// enter counts a connection that has not sent CONNECT; false is one too many.
func (d *door) enter(host string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting[host] >= d.perHost {
		return false
	}
	d.waiting[host]++
	return true
}

func (d *door) leave(host string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting[host]--; d.waiting[host] == 0 {
		delete(d.waiting, host)
	}
}

// close ends every connection, also those that have not sent CONNECT, and
// waits for their end or that of ctx.
func (d *door) close(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	for c := range d.conns {
		_ = c.End(packets.ErrServerShuttingDown.Code)
	}
	d.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		d.work.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hangUp ends the connections of one listener, and those that it has accepted and
// that are still on their way to add.
func (d *door) hangUp(listener string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone[listener] = true
	for c, from := range d.conns {
		if from == listener {
			_ = c.Close()
		}
	}
}

// open lets a listener of this name have connections, again perhaps.
func (d *door) open(listener string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.gone, listener)
}

func hostOf(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host
}
