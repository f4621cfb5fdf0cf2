package web

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"postbox/auth"
)

// PublicOptions are what the public address works with.
type PublicOptions struct {
	// Origins are the web origins, besides the server's own, whose pages may
	// open a WebSocket.
	Origins []string
	// Proxies say where a request comes from. Zero: nobody does.
	Proxies auth.Proxies
	// MQTT serves one connection to its end, in a goroutine of its own; the state is
	// that of its TLS, nil if it has none.
	MQTT func(net.Conn, *tls.ConnectionState)
	// API is the operations, below /v1/; none if it is nil.
	API http.Handler
	// Page is the chat page, at all other paths; nil: a line of text at "/".
	Page   http.Handler
	Logger *slog.Logger
	// Requests counts; nil: nobody does.
	Requests *Requests
}

// NewPublic is the handler of the public address.
func NewPublic(o PublicOptions) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /mqtt", NewUpgrade(o))
	if o.Page != nil {
		mux.Handle("GET /", o.Page)
	} else {
		mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte("This is a Postbox server. MQTT over WebSocket: /mqtt\n"))
		})
	}
	return bounded(o.Requests.count(apart(o.API, mux)))
}

// apart leads to the operations whatever is below /v1/, as it was asked for: the
// multiplexer would answer some paths itself, and not with the JSON of an error.
func apart(operations, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if operations != nil && strings.HasPrefix(r.URL.Path, "/v1/") {
			countAs(r, "/v1/")
			operations.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// bounded gives an answer as long as the slowest of them may take. The deadline
// is that of this request alone: each sets its own, and a WebSocket has none.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
		next.ServeHTTP(w, r)
	})
}
