package broker_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/mochi-mqtt/server/v2/packets"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"postbox/configs"
)

// collecting is a collector of traces that keeps all that it gets.
type collecting struct {
	*httptest.Server

	mu      sync.Mutex // guards the fields below
	spans   []*tracepb.Span
	raw     []byte
	headers []string
	faults  []string
}

func newCollecting(t *testing.T) *collecting {
	c := &collecting{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := c.take(r); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.faults = append(c.faults, err.Error())
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collecting) take(r *http.Request) error {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return err
		}
		body = z
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	var request collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(raw, &request); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, raw...)
	c.headers = append(c.headers, r.URL.Path+" "+r.Header.Get("Authorization"))
	for _, resource := range request.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
	return nil
}

// of are the spans of a trace, by name, in the order of their beginnings.
func (c *collecting) of(trace string) (spans []*tracepb.Span, names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if fmt.Sprintf("%x", s.TraceId) == trace {
			spans = append(spans, s)
		}
	}
	for _, s := range spans {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return spans, names
}

// traces are the traces that have a span of a name.
func (c *collecting) traces(name string) (ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.Name == name {
			ids = append(ids, fmt.Sprintf("%x", s.TraceId))
		}
	}
	return ids
}

func traced(parent string) packets.Properties {
	return packets.Properties{User: []packets.UserProperty{{Key: "traceparent", Val: parent}}}
}

// publishTraced publishes at QoS 1 in MQTT 5, in a trace of the sender's.
func (c *wire) publishTraced(id uint16, topic, body, parent string) {
	c.publish(publication{id: id, qos: 1, topic: topic, body: body, props: traced(parent)})
	c.Expect(packets.Puback)
}

const (
	traceOne   = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceTwo   = "11111111111111111111111111111111"
	traceThree = "22222222222222222222222222222222"
	spanOne    = "00f067aa0ba902b7"
)

// One trace for each sampled message, with a span for each station of its path;
// it continues the sender's if that is valid; and it tells nothing of what was
// said, nor who said it.
func TestTraces(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	w := newWorld(t, func(w *world) {
		w.config.Trace = configs.Trace{Endpoint: c.URL + "/v1/traces", Ratio: 1, Header: "Authorization: Bearer collect"}
	})
	alice, bob := w.user("alicia"), w.user("robert")
	var devices []*wire
	for _, version := range []byte{4, 5} {
		d := w.connect(t, login{version: version, user: bob, id: fmt.Sprint("tablet", version)})
		d.listen(bob)
		devices = append(devices, d)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+w.at.HTTP+"/mqtt", &websocket.DialOptions{
		Subprotocols: []string{"mqtt"}, HTTPHeader: http.Header{"Traceparent": {"00-" + traceThree + "-" + spanOne + "-01"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	page := newWire(t, websocket.NetConn(context.Background(), ws, websocket.MessageBinary))
	if ack := page.login(login{version: 5, user: alice, id: "laptop"}); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	page.publishTraced(1, "inbox/"+bob+"/keykeykey", "the-secret-body", "00-"+traceOne+"-"+spanOne+"-01")
	page.publishTraced(2, "inbox/"+bob, "the-secret-body", "00-"+traceTwo+"-"+spanOne+"-00") // not sampled by its sender
	for _, bad := range []string{"00-" + strings.Repeat("0", 32) + "-" + spanOne + "-01", "the-secret-parent", ""} {
		page.publishTraced(3, "inbox/"+bob, "the-secret-body", bad)
	}
	page.publishTraced(6, "inbox/nobody", "the-secret-body", "00-"+traceTwo[1:]+"a-"+spanOne+"-01")
	four := w.connect(t, login{user: alice, id: "phone", clean: true})
	four.say("inbox/"+bob, "the-secret-body")
	for _, d := range devices {
		for range 6 {
			d.receive()
		}
	}

	var spans []*tracepb.Span
	want := []string{"acknowledge", "commit", "deliver", "deliver", "publish", "queue", "validate"}
	await(t, "the spans", func() bool {
		var names []string
		spans, names = c.of(traceOne)
		_, connect := c.of(traceThree)
		return slices.Equal(names, want) && len(c.traces("publish")) == 6 && len(connect) == 3
	})
	roots, ended := map[string]*tracepb.Span{}, uint64(0)
	for _, s := range spans {
		roots[s.Name] = s
	}
	root := roots["publish"]
	if got := fmt.Sprintf("%x", root.ParentSpanId); got != spanOne {
		t.Errorf("the publish is a child of %s, want the sender's span %s", got, spanOne)
	}
	for _, s := range spans {
		if s != root && !bytes.Equal(s.ParentSpanId, root.SpanId) {
			t.Errorf("%s is no child of the publish", s.Name)
		}
	}
	for _, name := range []string{"validate", "queue", "commit", "acknowledge"} {
		s := roots[name]
		if s.StartTimeUnixNano < ended || s.EndTimeUnixNano < s.StartTimeUnixNano || s.StartTimeUnixNano < root.StartTimeUnixNano || s.EndTimeUnixNano > root.EndTimeUnixNano {
			t.Errorf("%s is from %d to %d, after %d, in %d to %d", name, s.StartTimeUnixNano, s.EndTimeUnixNano, ended, root.StartTimeUnixNano, root.EndTimeUnixNano)
		}
		ended = s.EndTimeUnixNano
	}
	if roots["deliver"].StartTimeUnixNano != roots["commit"].EndTimeUnixNano {
		t.Error("a delivery does not begin with the commit")
	}
	connects, _ := c.of(traceThree)
	i := slices.IndexFunc(connects, func(s *tracepb.Span) bool { return s.Name == "connect" })
	if got := fmt.Sprintf("%x", connects[i].ParentSpanId); got != spanOne {
		t.Errorf("the connect is a child of %s, want that of the HTTP header", got)
	}
	if len(root.Links) != 1 || !bytes.Equal(root.Links[0].SpanId, connects[i].SpanId) {
		t.Errorf("the publish is linked to %v, want the connect", root.Links)
	}
	ids := c.traces("publish")
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != 6 || slices.Contains(ids, traceTwo) {
		t.Errorf("%d traces of publishes, want 6 without that of %s: %q", n, traceTwo, ids)
	}
	refused, names := c.of(traceTwo[1:] + "a")
	if !slices.Equal(names, []string{"acknowledge", "commit", "publish", "queue", "validate"}) {
		t.Errorf("of a refused publish: %q", names)
	}
	if i := slices.IndexFunc(refused, func(s *tracepb.Span) bool { return s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR }); i < 0 || refused[i].Status.Message != "not_found" {
		t.Error("a refused publish has no error in its trace")
	}
	w.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, secret := range []string{"the-secret", "keykeykey", password, alice, bob, "nobody", "tablet", "laptop", "phone", "collect"} {
		if bytes.Contains(c.raw, []byte(secret)) {
			t.Errorf("%q is in what was exported", secret)
		}
	}
	for _, h := range c.headers {
		if h != "/v1/traces Bearer collect" {
			t.Errorf("asked for %q", h)
		}
	}
	if len(c.faults) > 0 {
		t.Errorf("could not be read: %q", c.faults)
	}
	w.start()
}

// With a ratio of nothing only those are traced whose senders say so.
func TestTraceRatio(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	w := newWorld(t, func(w *world) { w.config.Trace = configs.Trace{Endpoint: c.URL + "/v1/traces"} })
	alice := w.user("alice")
	d := w.connect(t, login{version: 5, user: alice, id: "phone"})
	for range 20 {
		d.say("inbox/"+alice, "x")
	}
	d.publishTraced(100, "inbox/"+alice, "x", "00-"+traceOne+"-"+spanOne+"-01")
	w.stop() // sends what there is
	if ids := c.traces("publish"); !slices.Equal(ids, []string{traceOne}) {
		t.Errorf("traced %q", ids)
	}
	if ids := c.traces("connect"); len(ids) != 0 {
		t.Errorf("traced connects %q", ids)
	}
	w.start()
}

// What had to wait for its sender's rate says so in its trace, and how long; what
// only waited for the machine does not.
func TestTraceOfAThrottledPublish(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	w := newWorld(t, func(w *world) {
		w.config.Limits.PublishRate, w.config.Limits.PublishBurst = 1, 1
		w.config.Trace = configs.Trace{Endpoint: c.URL + "/v1/traces"}
	})
	alice := w.user("alice")
	d := w.connect(t, login{version: 5, user: alice, id: "phone"})
	for i, trace := range []string{traceOne, traceThree, traceTwo} { // at once
		d.publish(publication{id: uint16(i + 1), qos: 1, topic: "inbox/" + alice, body: "x", props: traced("00-" + trace + "-" + spanOne + "-01")})
	}
	for range 3 {
		d.Expect(packets.Puback)
	}
	w.stop() // sends what there is
	if _, names := c.of(traceOne); slices.Contains(names, "wait for rate") {
		t.Errorf("the first did not have to wait: %q", names)
	}
	spans, names := c.of(traceTwo)
	i := slices.IndexFunc(spans, func(s *tracepb.Span) bool { return s.Name == "wait for rate" })
	if i < 0 {
		t.Fatalf("the third had to wait: %q", names)
	}
	if s := spans[i]; s.EndTimeUnixNano <= s.StartTimeUnixNano {
		t.Errorf("it waited from %d to %d", s.StartTimeUnixNano, s.EndTimeUnixNano)
	}
	w.start()
}

// lines counts what is logged under a message.
type lines struct {
	slog.Handler

	mu  *sync.Mutex
	all map[string]int
}

func (l lines) Enabled(context.Context, slog.Level) bool { return true }

func (l lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[r.Message]++
	return nil
}

// A collector that is away, or that never answers, holds nothing up, and fills no
// log.
func TestTraceCollectorAway(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	for name, at := range map[string]net.Addr{"gone": gone.Addr(), "silent": silent.Addr()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lines{slog.DiscardHandler, new(sync.Mutex), map[string]int{}}
			w := newWorld(t, func(w *world) {
				w.log, w.config.Trace = l, configs.Trace{Endpoint: "http://" + at.String() + "/v1/traces", Ratio: 1}
			})
			alice := w.user("alice")
			c := w.connect(t, login{version: 5, user: alice, id: "phone"})
			failed := func() float64 { return value(w.scrape(t), "postbox_trace_spans_failed_total") }
			for rounds, before := 0, 0.0; rounds < 3; rounds++ {
				for range 50 {
					c.say("inbox/"+alice, "x")
				}
				await(t, "the loss of spans", func() bool { return failed() > before })
				before = failed()
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			if n := l.all["the trace collector does not take the spans: they are lost"]; n != 1 {
				t.Errorf("logged %d times: %v", n, l.all)
			}
		})
	}
}
