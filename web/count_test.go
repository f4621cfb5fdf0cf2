package web_test

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"postbox/web"
)

// Requests count by the route that they match and their status; what strangers
// make up has no label of its own.
func TestRequests(t *testing.T) {
	t.Parallel()
	requests := web.NewRequests()
	s := httptest.NewServer(web.NewPublic(web.PublicOptions{
		Logger: slog.New(slog.DiscardHandler), Requests: requests, MQTT: func(c net.Conn, _ *tls.ConnectionState) { _ = c.Close() },
	}))
	defer s.Close()
	for path, times := range map[string]int{"/": 2, "/mqtt": 1, "/made/up": 1, "/up/made": 2} {
		for range times {
			get(t, s, path)
		}
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(requests.Metrics()...)
	const want = `
# HELP postbox_http_requests_total HTTP requests that were answered, by route and status; a WebSocket counts when it ends.
# TYPE postbox_http_requests_total counter
postbox_http_requests_total{code="200",route="GET /{$}"} 2
postbox_http_requests_total{code="400",route="GET /mqtt"} 1
postbox_http_requests_total{code="404",route="none"} 3
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
