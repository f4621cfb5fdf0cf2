package web

import (
	"context"
	"errors"
	"net/http"
	"net/http/pprof"
	"time"

	"postbox"
)

// readyTimeout bounds the question to the database.
const readyTimeout = 3 * time.Second

// PrivateOptions are what the private address works with.
type PrivateOptions struct {
	// Ready tells whether messages can be stored. The sentence of a
	// postbox.Error is given as the reason why not; the cause of any other error
	// is not.
	Ready func(context.Context) error
	// Metrics answers for /metrics.
	Metrics http.Handler
	// Requests counts; nil: nobody does.
	Requests *Requests
}

// NewPrivate is the handler of the private address: /healthz says that the
// process serves, /readyz that messages can be stored, /metrics what happens in
// it, /debug/pprof where its time goes.
func NewPrivate(o PrivateOptions) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := o.Ready(ctx); err != nil {
			http.Error(w, reason(err), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	})
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	return o.Requests.count(mux)
}

// reason is what strangers may know of why the server is not ready: the text of
// a database's error may hold its address and more.
func reason(err error) string {
	var e *postbox.Error
	if errors.As(err, &e) && e.Message != "" {
		return e.Message
	}
	return "the database is away"
}
