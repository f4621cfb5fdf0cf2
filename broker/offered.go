package broker

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/mochi-mqtt/server/v2/listeners"

	"postbox/web"
)

// offered is our listener for the Mochi server that an engine is attached to.
type offered struct {
	door    *door
	id      string
	address string
	tls     *tls.Config
	inner   net.Listener
}

// Listener is a listener for AddListener of the server that the engine is
// attached to, in place of Mochi's own: with it the promises hold that no hook can
// keep, such as the deadline before CONNECT (docs/embedding.md). The address is
// "host:port"; with a tls.Config it speaks TLS.
func (e *Engine) Listener(id, address string, t *tls.Config) listeners.Listener {
	return &offered{door: e.door, id: id, address: address, tls: t}
}

// WebSocket is the same for MQTT over WebSocket, as a handler for any HTTP server.
// Pages of the handler's own host may connect, and those of the origins given:
// "https://chat.example.org".
func (e *Engine) WebSocket(origins ...string) http.Handler {
	return web.NewUpgrade(web.PublicOptions{
		Origins: origins, Logger: e.o.Logger,
		MQTT: func(conn net.Conn, _ *tls.ConnectionState) { e.door.serve(conn, entrance{name: "websocket"}, nil) },
	})
}

// MochiLogger makes of a logger one for mqtt.Options: Mochi's lines contain whole
// packets with payloads and passwords, which it leaves out, and are at debug level.
func MochiLogger(log *slog.Logger) *slog.Logger { return slog.New(mochiLog{log.Handler()}) }

// Init implements listeners.Listener: it begins to listen.
func (o *offered) Init(*slog.Logger) error {
	l, err := net.Listen("tcp", o.address)
	if err != nil {
		return fmt.Errorf("listener %s: %w", o.id, err)
	}
	o.inner = l
	o.door.open(o.id)
	return nil
}

// Serve implements listeners.Listener. It accepts until Close.
func (o *offered) Serve(listeners.EstablishFn) {
	o.door.accept(o.inner, entrance{name: o.id, tls: o.tls})
}

// Close implements listeners.Listener. It ends the connections that have not
// sent CONNECT too, for which Mochi would wait.
func (o *offered) Close(closeClients listeners.CloseFn) {
	_ = o.inner.Close()
	closeClients(o.id)
	o.door.hangUp(o.id)
}

// ID implements listeners.Listener.
func (o *offered) ID() string { return o.id }

// Protocol implements listeners.Listener.
func (o *offered) Protocol() string { return "tcp" }

// Address implements listeners.Listener: the real one once it listens.
func (o *offered) Address() string {
	if o.inner == nil {
		return o.address
	}
	return o.inner.Addr().String()
}
