package hooks

import (
	"context"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"postbox"
	"postbox/inbox"
)

// traceparent is the name of the user property, and of the HTTP header, by which
// a sender's own trace is continued (W3C Trace Context §3.2). Its tracestate is
// not taken: it may hold anything.
const traceparent = "traceparent"

// traces follow sampled messages along their path: validate, queue, commit,
// acknowledge, deliver, below one span for the whole publish; and a connect by
// itself, to which the publishes of its connection are linked. There are neither
// bodies nor names of users, devices, topics and keys in them. A nil *traces
// follows nothing and costs nothing.
//
// The spans of a message are made at its end, from the times that it passed its
// stations: what is on its way holds a few numbers, and package inbox knows
// nothing of this.
type traces struct {
	tracer trace.Tracer

	mu     sync.RWMutex // guards the fields below
	recent map[postbox.MessageID]passed
	order  [maxRecent]postbox.MessageID
	next   int
}

// maxRecent is how many traced messages are remembered for their deliveries.
// Those that are delivered later have no spans for it.
const maxRecent = 4096

// passed is a message that was committed.
type passed struct {
	publish   trace.SpanContext
	committed time.Time
}

func newTraces(t trace.Tracer) *traces {
	if t == nil {
		return nil
	}
	return &traces{tracer: t, recent: make(map[postbox.MessageID]passed)}
}

// passage is one traced publish on its way: an inbox.Watcher.
type passage struct {
	ctx                      context.Context // of the span
	span                     trace.Span
	queued, taken, committed time.Time
	group                    int
}

// Taken implements inbox.Watcher.
func (p *passage) Taken(at time.Time, group int) { p.taken, p.group = at, group }

// Committed implements inbox.Watcher.
func (p *passage) Committed(at time.Time) { p.committed = at }

// now is the time, if anybody wants to know it.
func (t *traces) now() time.Time {
	if t == nil {
		return time.Time{}
	}
	return time.Now()
}

// parent is the context of the trace that a sender names; a plain one if it
// names none, or none that is valid.
func parent(name string) context.Context {
	if name == "" {
		return context.Background()
	}
	return propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{traceparent: name})
}

func userProperty(pk packets.Packet, key string) string {
	for _, u := range pk.Properties.User {
		if u.Key == key {
			return u.Val
		}
	}
	return ""
}

// publish begins the trace of a draft that began to be read and was checked at
// these times, perhaps had to wait for its sender's rate since, and is about to be
// queued.
func (t *traces) publish(c *client, d *inbox.Draft, pk packets.Packet, began, checked time.Time, throttled bool) {
	options := []trace.SpanStartOption{
		trace.WithTimestamp(began), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(
			attribute.String("network.protocol.name", "mqtt"), attribute.String("network.protocol.version", protocolOf(c.protocol)),
			attribute.Int("mqtt.qos", int(pk.FixedHeader.Qos)), attribute.Int("messaging.message.body.size", len(pk.Payload)),
		),
	}
	if c.connected.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: c.connected}))
	}
	ctx, span := t.tracer.Start(parent(userProperty(pk, traceparent)), "publish", options...)
	if !span.IsRecording() {
		return
	}
	t.step(ctx, "validate", began, checked)
	queued := time.Now()
	if throttled {
		t.step(ctx, "wait for rate", checked, queued)
	}
	d.Watch = &passage{ctx: ctx, span: span, queued: queued}
}

// step is a part of a trace that is over.
func (t *traces) step(ctx context.Context, name string, began, ended time.Time, attributes ...attribute.KeyValue) {
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(began), trace.WithAttributes(attributes...))
	span.End(trace.WithTimestamp(ended))
}

// settled remembers a traced message for its deliveries.
func (t *traces) settled(d *inbox.Draft) {
	if t == nil || d.Refusal != nil || d.Duplicate || d.Publish.Message == nil {
		return
	}
	p, ok := d.Watch.(*passage)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.recent, t.order[t.next])
	t.order[t.next] = d.Publish.Message.ID
	t.next = (t.next + 1) % maxRecent
	t.recent[d.Publish.Message.ID] = passed{p.span.SpanContext(), p.committed}
}

// answered ends the traces of drafts whose answers have just been written.
func (t *traces) answered(drafts []*inbox.Draft) {
	now := time.Now()
	for _, d := range drafts {
		p, ok := d.Watch.(*passage)
		if !ok {
			continue
		}
		t.step(p.ctx, "queue", p.queued, p.taken)
		t.step(p.ctx, "commit", p.taken, p.committed, attribute.Int("messaging.batch.message_count", p.group))
		if d.Publish.QoS > 0 {
			t.step(p.ctx, "acknowledge", p.committed, now)
		}
		switch {
		case d.Refusal != nil:
			p.span.SetAttributes(attribute.String("postbox.code", string(d.Refusal.Code)))
			p.span.SetStatus(otelcodes.Error, string(d.Refusal.Code))
		default:
			p.span.SetAttributes(attribute.String("messaging.message.id", d.Stored.ID.String()), attribute.Bool("postbox.duplicate", d.Duplicate))
		}
		p.span.End(trace.WithTimestamp(now))
	}
}

// dropped ends the trace of a draft that the lane did not take.
func (t *traces) dropped(d *inbox.Draft) {
	if p, ok := d.Watch.(*passage); ok {
		p.span.SetStatus(otelcodes.Error, "not taken")
		p.span.End()
	}
}

// delivered notes that a message was written to a device's connection.
func (t *traces) delivered(c *client, d inbox.Delivery) {
	if t == nil || d.Entry.Message == nil {
		return
	}
	t.mu.RLock()
	p, ok := t.recent[d.Entry.Message.ID]
	t.mu.RUnlock()
	if !ok {
		return
	}
	ctx := trace.ContextWithSpanContext(context.Background(), p.publish)
	t.step(ctx, "deliver", p.committed, time.Now(),
		attribute.String("network.protocol.version", protocolOf(c.protocol)), attribute.Int("mqtt.qos", int(d.QoS)), attribute.Bool("mqtt.dup", d.Dup))
}

// connecting is a CONNECT that is traced. A nil one is not.
type connecting struct {
	traces *traces
	span   trace.Span
	ctx    context.Context
}

// connect begins the trace of a CONNECT; nil when it is not sampled. An HTTP
// request that became the connection may name the sender's trace, or the CONNECT.
func (t *traces) connect(conn *Conn, pk packets.Packet) *connecting {
	if t == nil {
		return nil
	}
	name := userProperty(pk, traceparent)
	if from, ok := conn.Conn.(interface{ TraceParent() string }); ok && name == "" {
		name = from.TraceParent()
	}
	ctx, span := t.tracer.Start(parent(name), "connect", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("network.protocol.name", "mqtt"), attribute.String("network.protocol.version", protocolOf(pk.ProtocolVersion))))
	if !span.IsRecording() {
		return nil
	}
	return &connecting{t, span, ctx}
}

// step begins a part of the connect; what it returns ends it.
func (c *connecting) step(name string) func() {
	if c == nil {
		return func() {}
	}
	began := time.Now()
	return func() { c.traces.step(c.ctx, name, began, time.Now()) }
}

// done ends the trace of the connect, with the code of its refusal if it was.
func (c *connecting) done(code postbox.Code) {
	if c == nil {
		return
	}
	if code != "" {
		c.span.SetAttributes(attribute.String("postbox.code", string(code)))
		c.span.SetStatus(otelcodes.Error, string(code))
	}
	c.span.End()
}

// context is what publishes of the connection are linked to.
func (c *connecting) context() trace.SpanContext {
	if c == nil {
		return trace.SpanContext{}
	}
	return c.span.SpanContext()
}
