package web

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Requests counts what one or several handlers have answered. The zero value is
// not usable: see NewRequests.
type Requests struct{ total *prometheus.CounterVec }

// NewRequests makes a counter that starts at nothing.
func NewRequests() *Requests {
	return &Requests{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postbox_http_requests_total",
		Help: "HTTP requests that were answered, by route and status; a WebSocket counts when it ends.",
	}, []string{"route", "code"})}
}

// Metrics are the counter itself. It may be collected at any time.
func (r *Requests) Metrics() []prometheus.Collector { return []prometheus.Collector{r.total} }

// routeKey is where the context of a request has its *route.
type routeKey struct{}

type route struct{ pattern string }

// noRoute stands for whatever strangers ask for that is not there: a label for
// each would be theirs to choose.
const noRoute = "none"

// countAs names the route of a request that no mux has matched.
func countAs(q *http.Request, pattern string) {
	if at, counted := q.Context().Value(routeKey{}).(*route); counted {
		at.pattern = pattern
	}
}

// count counts requests by the pattern of a mux that they have matched, or as
// countAs says.
func (r *Requests) count(next http.Handler) http.Handler {
	if r == nil {
		return next
	}
	matched := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		defer func() {
			if q.Pattern != "" {
				countAs(q, q.Pattern)
			}
		}()
		next.ServeHTTP(w, q)
	})
	counted := promhttp.InstrumentHandlerCounter(r.total, matched,
		promhttp.WithLabelFromCtx("route", func(ctx context.Context) string { return ctx.Value(routeKey{}).(*route).pattern }))
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		counted.ServeHTTP(w, q.WithContext(context.WithValue(q.Context(), routeKey{}, &route{noRoute})))
	})
}
