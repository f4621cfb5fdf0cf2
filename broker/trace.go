package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"postbox/configs"
)

const (
	// exportTimeout bounds one request to the collector.
	exportTimeout = 3 * time.Second
	// lastExportTimeout bounds what is sent when the server ends.
	lastExportTimeout = time.Second
	// complainEvery is how often at most the log says that the collector does not
	// take the spans.
	complainEvery = time.Minute
	// spanQueue bounds the spans that wait for the collector. What exceeds it is
	// dropped: traces never slow anything.
	spanQueue = 4096
)

// tracing sends spans to a collector. One without a provider traces nothing.
type tracing struct {
	provider *sdktrace.TracerProvider
	client   *http.Client

	ended, exported, failed atomic.Int64
}

// newTracing makes what the settings ask for. It asks nothing of the collector,
// which may be away.
func newTracing(c configs.Trace, version string, log *slog.Logger) (*tracing, error) {
	t := &tracing{}
	if c.Endpoint == "" {
		return t, nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("trace.ca: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("trace.ca: %s holds no certificate in PEM form", c.CA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	t.client = &http.Client{Transport: transport, Timeout: exportTimeout}
	options := []otlptracehttp.Option{
		otlptracehttp.WithEndpointURL(c.Endpoint), otlptracehttp.WithHTTPClient(t.client),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false}), otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
	}
	if name, value, ok := strings.Cut(c.Header, ":"); ok {
		options = append(options, otlptracehttp.WithHeaders(map[string]string{name: strings.TrimSpace(value)}))
	}
	inner, err := otlptracehttp.New(context.Background(), options...)
	if err != nil {
		return nil, fmt.Errorf("trace.endpoint: %w", err)
	}
	batches := sdktrace.NewBatchSpanProcessor(&spanExporter{inner: inner, tracing: t, log: log},
		sdktrace.WithMaxQueueSize(spanQueue), sdktrace.WithExportTimeout(exportTimeout), sdktrace.WithBatchTimeout(time.Second))
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.Ratio))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "postbox"), attribute.String("service.version", version))),
		sdktrace.WithSpanProcessor(&spanCounter{batches, &t.ended}),
	)
	return t, nil
}

// tracer is nil when nothing is traced.
func (t *tracing) tracer() trace.Tracer {
	if t == nil || t.provider == nil {
		return nil
	}
	return t.provider.Tracer("postbox")
}

// shutdown sends what is left, for a second at most.
func (t *tracing) shutdown(ctx context.Context) {
	if t == nil || t.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastExportTimeout)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // what was lost is counted and was logged
	t.client.CloseIdleConnections()
}

// Metrics are what became of the spans.
func (t *tracing) Metrics() []prometheus.Collector {
	count := func(name, help string, n *atomic.Int64) prometheus.Collector {
		return readCounter(name, help, func() float64 { return float64(n.Load()) })
	}
	return []prometheus.Collector{
		count("postbox_trace_spans_total", "Spans of sampled messages and connects.", &t.ended),
		count("postbox_trace_spans_exported_total", "Spans that the collector has taken.", &t.exported),
		count("postbox_trace_spans_failed_total", "Spans that were lost because the collector did not take them; what is not in here and was not exported waits, or found the queue full.", &t.failed),
		readGauge("postbox_trace_queue_limit_spans", "Spans that may wait for the collector; what exceeds it is lost.", func() int64 { return spanQueue }),
	}
}

// spanCounter counts the spans on their way to the queue.
type spanCounter struct {
	sdktrace.SpanProcessor
	ended *atomic.Int64
}

// OnEnd implements sdktrace.SpanProcessor.
func (c *spanCounter) OnEnd(s sdktrace.ReadOnlySpan) {
	c.ended.Add(1)
	c.SpanProcessor.OnEnd(s)
}

// spanExporter counts what is sent, and keeps the failures from a log that would
// have one line for each.
type spanExporter struct {
	inner   sdktrace.SpanExporter
	tracing *tracing
	log     *slog.Logger

	mu   sync.Mutex // guards said
	said time.Time
}

// ExportSpans implements sdktrace.SpanExporter. Failures end here.
func (e *spanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.inner.ExportSpans(ctx, spans)
	if err == nil {
		e.tracing.exported.Add(int64(len(spans)))
		return nil
	}
	e.tracing.failed.Add(int64(len(spans)))
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := time.Now(); now.Sub(e.said) >= complainEvery {
		e.said = now
		e.log.Warn("the trace collector does not take the spans: they are lost", "error", err, "lost", e.tracing.failed.Load())
	}
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (e *spanExporter) Shutdown(ctx context.Context) error { return e.inner.Shutdown(ctx) }
