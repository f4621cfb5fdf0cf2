package web

import (
	"log/slog"
	"net"
	"net/http"
)

// PublicOptions are what the public address works with.
type PublicOptions struct {
	// Origins are the web origins, besides the server's own, whose pages may
	// open a WebSocket.
	Origins []string
	// MQTT serves one connection to its end.
	MQTT   func(net.Conn)
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
