package hooks

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"go.opentelemetry.io/otel/trace/noop"

	"postbox"
	"postbox/inbox"
)

// walk calls what is called for one message and its two deliveries.
func walk(c *client, d *inbox.Draft, pk *packets.Packet, e inbox.Delivery) {
	t := c.hook.traces
	began := t.now()
	checked := t.now()
	if t != nil {
		t.publish(c, d, *pk, began, checked, false)
	}
	if d.Watch != nil {
		d.Watch.Taken(checked, 1)
		d.Watch.Committed(checked)
		t.settled(d)
		t.answered([]*inbox.Draft{d})
	}
	t.delivered(c, e)
	t.delivered(c, e)
}

func watchable() (*client, *inbox.Draft, packets.Packet, inbox.Delivery) {
	m := &postbox.Message{ID: newMessageID()}
	d := &inbox.Draft{Publish: postbox.Publish{Message: m, QoS: 1}}
	pk := packets.Packet{TopicName: "inbox/bob", Payload: []byte("hello")}
	pk.Properties.User = []packets.UserProperty{{Key: traceparent, Val: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}
	return &client{hook: &Hook{}, v5: true, protocol: 5}, d, pk, inbox.Delivery{Entry: &postbox.Entry{Message: m}}
}

// Traces that are off cost no allocation, neither of a message nor of a connect.
func TestNoTracesCostNothing(t *testing.T) {
	c, d, pk, e := watchable()
	if n := testing.AllocsPerRun(1000, func() { walk(c, d, &pk, e) }); n != 0 {
		t.Errorf("%v allocations for a message", n)
	}
	conn := &Conn{}
	connect := func() {
		span := c.hook.traces.connect(conn, pk)
		span.step("authenticate")()
		_ = span.context()
		span.done("")
	}
	if n := testing.AllocsPerRun(1000, connect); n != 0 {
		t.Errorf("%v allocations for a connect", n)
	}
	if newTraces(nil) != nil {
		t.Error("without a tracer there are traces")
	}
}

// What is remembered for deliveries has a bound.
func TestTracesAreForgotten(t *testing.T) {
	t.Parallel()
	c, d, _, _ := watchable()
	c.hook.traces = newTraces(noop.NewTracerProvider().Tracer(""))
	first := d.Publish.Message.ID
	for range maxRecent + 10 {
		d.Watch = &passage{committed: time.Now(), span: noop.Span{}}
		c.hook.traces.settled(d)
		d.Publish.Message = &postbox.Message{ID: newMessageID()}
	}
	if n := len(c.hook.traces.recent); n != maxRecent {
		t.Errorf("%d are remembered, want %d", n, maxRecent)
	}
	if _, ok := c.hook.traces.recent[first]; ok {
		t.Error("the oldest is remembered")
	}
}

// BenchmarkTracesOff is what a message pays for traces that are off.
func BenchmarkTracesOff(b *testing.B) {
	c, d, pk, e := watchable()
	b.ReportAllocs()
	for b.Loop() {
		walk(c, d, &pk, e)
	}
}
