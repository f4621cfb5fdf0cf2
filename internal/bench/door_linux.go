package bench

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// perSource is how many connections come from one address of this machine: the
// kernel has some 28,000 ports for each.
const perSource = 10_000

// door is where a broker lets clients in: host:port for plain TCP, or a ws:// URL.
type door struct {
	address string
	// sources is from how many loopback addresses connections come, at least 1.
	sources int
}

// newDoor spreads so many connections over addresses.
func newDoor(address string, connections int) door {
	return door{address, min((connections+perSource-1)/perSource, 250)}
}

// caller is an open connection.
type caller struct {
	net.Conn
	tcp *net.TCPConn // below a WebSocket, or the connection itself
}

// open connects caller number i, by TCP and, if the door is one, by WebSocket.
func (d door) open(ctx context.Context, i int) (caller, error) {
	var c caller
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		dialer := net.Dialer{KeepAlive: -1} // idle is to mean idle
		if strings.HasPrefix(address, "127.") && d.sources > 1 {
			dialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%d.sources))}
		}
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c.tcp = conn.(*net.TCPConn)
		return conn, nil
	}
	if !strings.HasPrefix(d.address, "ws://") {
		conn, err := dial(ctx, "tcp", d.address)
		c.Conn = conn
		return c, err
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial}}
	ws, _, err := websocket.Dial(ctx, d.address, &websocket.DialOptions{HTTPClient: &client, Subprotocols: []string{"mqtt"}})
	if err != nil {
		return c, err
	}
	ws.SetReadLimit(readBuffer)
	c.Conn = websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
	return c, nil
}

// cut ends the connection as if the machine had gone: the peer is told by a reset,
// and no port is kept.
func (c caller) cut() {
	if c.tcp != nil {
		_ = c.tcp.SetLinger(0)
		_ = c.tcp.Close()
	}
}

// within has f done before ctx ends. A connection that was too slow is of no use
// any more.
func (c caller) within(ctx context.Context, f func() error) error {
	if end, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(end)
	}
	stop := context.AfterFunc(ctx, c.cut)
	err := f()
	if !stop() && ctx.Err() != nil {
		return ctx.Err()
	}
	_ = c.SetDeadline(time.Time{})
	return err
}

// welcome is what a CONNACK says.
type welcome struct {
	code    byte
	present bool // there was a session
}

// idleKeepAlive is in seconds: longer than a run, so that an idle connection is idle.
const idleKeepAlive = 1800

// introduce sends CONNECT and reads CONNACK.
func (c caller) introduce(id identity, g greeting) (w welcome, err error) {
	g.keepAlive = idleKeepAlive
	if _, err := c.Write(g.packet(id)); err != nil {
		return w, err
	}
	header, body, err := readPacket(c)
	if err != nil {
		return w, fmt.Errorf("wait for CONNACK: %w", err)
	}
	if header&typeMask != typeConnack || len(body) < 2 {
		return w, fmt.Errorf("packet 0x%02X came instead of CONNACK", header)
	}
	return welcome{body[1], body[0]&1 == 1}, nil
}

// admitted is introduce for a client that must be let in.
func (c caller) admitted(id identity, g greeting) (present bool, err error) {
	w, err := c.introduce(id, g)
	if err == nil && w.code != 0 {
		err = fmt.Errorf("refused with code 0x%02X", w.code)
	}
	if err != nil {
		return false, fmt.Errorf("connect %s as %q: %w", id.clientID, id.user, err)
	}
	return w.present, nil
}
