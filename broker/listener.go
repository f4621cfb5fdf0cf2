package broker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/configs"
	"postbox/hooks"
)

// acceptPause is how long accepting waits after an error, such as no free file
// descriptors: Mochi's own listener would end for good.
const acceptPause = 50 * time.Millisecond

// door serves MQTT connections, from whatever listener they come.
type door struct {
	server   *mqtt.Server
	hook     *hooks.Hook
	greeting hooks.Greeting
	perHost  int // connections of one address that have not sent CONNECT
	arrivals arrivals
	log      *slog.Logger

	work sync.WaitGroup

	turnedAway, acceptFailures, panics atomic.Int64

	mu      sync.Mutex // guards the fields below
	closed  bool
	waiting map[string]int
	conns   map[*hooks.Conn]string // with their listeners
}

func newDoor(server *mqtt.Server, hook *hooks.Hook, l configs.Limits, log *slog.Logger) *door {
	return &door{
		server: server, hook: hook, log: log, perHost: l.ConnectionsPerAddress, arrivals: arrivals{rate: l.ConnectRate},
		greeting: hooks.Greeting{Timeout: l.ConnectTimeout, Limit: int(l.ConnectSize), Packet: int(l.PacketSize)},
		waiting:  make(map[string]int), conns: make(map[*hooks.Conn]string),
	}
}

// accept serves what l accepts until l is closed.
func (d *door) accept(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			go d.serve(c, name) // counted in work by add
		case errors.Is(err, net.ErrClosed):
			return
		default:
			d.acceptFailures.Add(1)
			d.log.Warn("accepting a connection failed", "error", err)
			time.Sleep(acceptPause)
		}
	}
}

// serve runs one connection to its end. Whatever goes wrong in it, a panic of
// Mochi's decoders too, ends this connection only.
func (d *door) serve(raw net.Conn, listener string) {
	host := hostOf(raw)
	if !d.arrivals.allow(host) || !d.enter(host) {
		d.turnedAway.Add(1)
		_ = raw.Close()
		return
	}
	leave := sync.OnceFunc(func() { d.leave(host) })
	defer leave()
	g := d.greeting
	g.Done = leave
	conn := hooks.NewConn(raw, g)
	if !d.add(conn, listener) {
		_ = raw.Close()
		return
	}
	defer d.end(conn)
	defer func() {
		if fault := recover(); fault != nil {
			d.panics.Add(1)
			d.log.Error("a connection ended in a panic", "panic", fault, "remote", host, "stack", string(debug.Stack()))
		}
	}()
	if err := d.server.EstablishConnection(listener, conn); err != nil {
		d.log.Debug("connection ended", "error", err, "remote", host)
	}
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
	if !d.closed {
		d.conns[conn] = listener
		d.work.Add(1)
	}
	return !d.closed
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

// hangUp ends the connections of one listener.
func (d *door) hangUp(listener string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c, from := range d.conns {
		if from == listener {
			_ = c.Close()
		}
	}
}

func hostOf(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host
}
