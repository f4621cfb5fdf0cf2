package web

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
)

// PublicOptions are what the public address works with.
type PublicOptions struct {
	// Origins are the web origins, besides the server's own, whose pages may
	// open a WebSocket.
	Origins []string
	// Proxies say where a request comes from. Zero: nobody does.
	Proxies Proxies
	// MQTT serves one connection to its end; the state is that of its TLS, nil if
	// it has none.
	MQTT   func(net.Conn, *tls.ConnectionState)
	Logger *slog.Logger
	// Requests counts; nil: nobody does.
	Requests *Requests
}

// NewPublic is the handler of the public address.
func NewPublic(o PublicOptions) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /mqtt", NewUpgrade(o))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("This is a Postbox server. MQTT over WebSocket: /mqtt\n"))
	})
	return o.Requests.count(mux)
}
