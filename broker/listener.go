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
// already shown. Whatever goes wrong, a panic of Mochi's decoders too, ends this
// connection only. What is needed while it comes in is on admit's stack: this one
// is kept for as long as the connection is, and with more on it would be twice as large.
func (d *door) serve(raw net.Conn, at entrance, by *hooks.Certificate) {
	v := &visit{door: d}
	defer v.end()
	if v.admit(raw, at, by) {
		v.stay(at.name)
	}
}

// visit is a connection on its way in, and what is to be done when it ends.
type visit struct {
	door  *door
	conn  *hooks.Conn // nil: not added
	host  string
	leave func() // nil: enter has not counted it
}

// admit reports whether MQTT may begin. PROXY header, handshake and CONNECT share one
// deadline.
func (v *visit) admit(raw net.Conn, at entrance, by *hooks.Certificate) bool {
	d, g, inner := v.door, v.door.greeting, raw
	g.Done = v.counted
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
		return false
	}
	v.conn, v.host = conn, hostOf(raw)
	if header != nil {
		switch err := header.readHeader(); {
		case errors.Is(err, errNothingSaid):
			d.log.Debug("connection ended", "error", err, "remote", v.host)
			return false
		case err != nil:
			d.log.Warn("a connection of a trusted proxy was refused", "error", err, "proxy", v.host)
			return false
		}
		v.host = hostOf(conn)
	}
	if !d.arrivals.allow(v.host) || !d.enter(v.host) {
		d.turnedAway.Add(1)
		return false
	}
	v.leave = sync.OnceFunc(func() { d.leave(v.host) })
	if secure != nil {
		if err := d.handshake(secure); err != nil {
			d.log.Debug("a handshake failed", "error", err, "remote", v.host)
			return false
		}
		state := secure.ConnectionState()
		by = d.certificates.client(&state)
	}
	conn.Certify(by)
	return true
}

// counted ends the time in which the connection counts as one that has not sent
// CONNECT.
func (v *visit) counted() {
	if v.leave != nil {
		v.leave()
	}
}

// stay has Mochi serve the connection until it ends.
func (v *visit) stay(listener string) {
	if err := v.door.server.EstablishConnection(listener, v.conn); err != nil {
		v.door.log.Debug("connection ended", "error", err, "remote", v.host)
	}
}

func (v *visit) end() {
	if fault := recover(); fault != nil {
		v.door.panics.Add(1)
		v.door.log.Error("a connection ended in a panic", "panic", fault, "remote", v.host, "stack", string(debug.Stack()))
	}
	if v.conn != nil {
		v.door.end(v.conn)
	}
	v.counted()
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
