package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/rs/cors"

	"postbox"
	"postbox/api"
	"postbox/auth"
)

// Operations does the operations of docs/spec.md §7: an api.API.
type Operations interface {
	Operations() []api.Operation
	Do(ctx context.Context, caller api.Caller, name string, request []byte) (api.Reply, *postbox.Error)
	QueryRequest(name string, query url.Values) ([]byte, *postbox.Error)
}

// Limiter counts a user's requests, those over MQTT among them: an api.Rates.
type Limiter interface {
	// Take returns after how long the user may ask again; zero: this request may
	// go on.
	Take(user postbox.UserID, now time.Time) time.Duration
}

// Strangers counts an address's requests that need no authentication: an
// api.RatesOf[string].
type Strangers interface {
	// Take returns after how long the address may ask again; zero: this request may
	// go on.
	Take(address string, now time.Time) time.Duration
}

// APIOptions are what the operations over HTTP work with; all but Origins are
// required.
type APIOptions struct {
	Operations Operations
	Accounts   Accounts
	Mail       Mail
	Signals    Signals
	Lineage    Lineage
	Exporter   Exporter
	Limiter    Limiter
	// Strangers counts what is asked without authentication; nil: nobody does.
	Strangers Strangers
	Epoch     postbox.Epoch
	// Origins are the web origins whose pages may use the operations; none but
	// the server's own if it is empty.
	Origins []string
	// Proxies say where a request comes from. Zero: nobody does.
	Proxies auth.Proxies
	// MaxRequest is the most bytes of a request's body.
	MaxRequest int
	// Held is how many streams and waiting requests a user may have at once.
	Held int
	// Version is the server's, for the documents.
	Version string
	Logger  *slog.Logger
}

// API is the operations over HTTP: all that is below /v1/. Its methods may be
// called from any goroutine.
type API struct {
	o       APIOptions
	known   identities
	held    held
	handler http.Handler
	names   map[string]api.Operation
}

// NewAPI makes the handler.
func NewAPI(o APIOptions) *API {
	a := &API{o: o, names: make(map[string]api.Operation)}
	a.held.most = o.Held
	for _, op := range o.Operations.Operations() {
		a.names[op.Name] = op
	}
	a.handler = a.observe(a.crossOrigin(a.routes()))
	return a
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// Kick ends a user's streams and waiting requests, and forgets that the user
// was authenticated: after a password was changed, an account disabled, a token
// ended.
func (a *API) Kick(user postbox.UserID) {
	a.known.forget(user)
	a.held.kick(user, 0, postbox.Errorf(postbox.CodeUnauthenticated, "the account has changed: log in again"))
}

// KickLogin is Kick for what one login's tokens have opened.
func (a *API) KickLogin(user postbox.UserID, login postbox.LoginID) {
	a.known.forget(user)
	a.held.kick(user, login, postbox.Errorf(postbox.CodeUnauthenticated, "the login was ended: log in again"))
}

// Shutdown ends all streams and waiting requests, and lets no others begin.
func (a *API) Shutdown() { a.held.shutdown() }

// routes leads to what there is below /v1/.
func (a *API) routes() http.Handler {
	small := gzhttp.GzipHandler // not for the stream, which would wait for more
	documents := newDocuments(a.o)
	operation := small(http.HandlerFunc(a.operation))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch name := strings.TrimPrefix(r.URL.Path, "/v1/"); name {
		case "stream":
			if allow(w, r, http.MethodGet) {
				a.stream(w, r)
			}
		case "export":
			if allow(w, r, http.MethodGet) {
				small(http.HandlerFunc(a.export)).ServeHTTP(w, r)
			}
		case "openapi.json", "asyncapi.json", "docs":
			if allow(w, r, http.MethodGet, http.MethodHead) {
				small(documents[name]).ServeHTTP(w, r)
			}
		default:
			op, found := a.names[name]
			switch {
			case !found:
				refuse(w, r, postbox.Errorf(postbox.CodeNotFound, "there is nothing at %.80q: GET /v1/docs lists what there is", r.URL.Path))
			case op.Reads && allow(w, r, http.MethodGet, http.MethodHead, http.MethodPost),
				!op.Reads && allow(w, r, http.MethodPost):
				operation.ServeHTTP(w, r)
			}
		}
	})
}

// allow reports whether the request's method is one of these. If not, it
// answers: OPTIONS with what is allowed, others with 405.
func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, m := range methods {
		if r.Method == m {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(append(methods, http.MethodOptions), ", "))
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return false
	}
	refuseWith(w, r, http.StatusMethodNotAllowed, postbox.Errorf(postbox.CodeInvalid, "%.20q is no method of %.80q: use %s", r.Method, r.URL.Path, strings.Join(methods, ", ")))
	return false
}

// crossOrigin lets pages of the listed origins use the operations. There are no
// cookies, so a page of another origin has nothing to use but its own tokens.
func (a *API) crossOrigin(next http.Handler) http.Handler {
	if len(a.o.Origins) == 0 {
		return next // the library would take that for every origin
	}
	return cors.New(cors.Options{
		AllowedOrigins: a.o.Origins,
		AllowedMethods: []string{http.MethodGet, http.MethodPost},
		AllowedHeaders: []string{"Authorization", "Content-Type", headerKey, headerRequestID, "Last-Event-ID"},
		ExposedHeaders: []string{headerRequestID, "Retry-After"},
		MaxAge:         600,
	}).Handler(next)
}
