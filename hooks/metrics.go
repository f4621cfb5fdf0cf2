package hooks

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/prometheus/client_golang/prometheus"

	"postbox"
)

// metrics are the facts of this edge. Labels are codes, protocols and listeners:
// never users, never client ids.
type metrics struct {
	accepted  *prometheus.CounterVec
	refused   *prometheus.CounterVec
	connect   prometheus.Histogram
	cut       *prometheus.CounterVec
	sent      prometheus.Counter
	publishes [3]prometheus.Counter // by QoS
	byQoS     *prometheus.CounterVec
	answered  prometheus.Counter
	refusals  *prometheus.CounterVec
	resends   prometheus.Counter
	paused    prometheus.Counter
	pausedFor prometheus.Counter
	held      prometheus.Counter
	wills     *prometheus.CounterVec
}

// codeProtocol is the refusal of a CONNECT that is none of MQTT's.
const codeProtocol postbox.Code = "protocol"

// connectCodes and publishCodes are the codes with which one may be refused.
var (
	connectCodes = []postbox.Code{
		postbox.CodeInvalid, postbox.CodeUnauthenticated, postbox.CodeForbidden, postbox.CodeNotFound, postbox.CodeTooLarge,
		postbox.CodeRateLimited, postbox.CodeUnavailable, errAuthMethod.Code, errCrowded.Code, codeDisabled, codeProtocol,
	}
	publishCodes = []postbox.Code{
		postbox.CodeInvalid, postbox.CodeForbidden, postbox.CodeNotFound, postbox.CodeConflict, postbox.CodeTooLarge,
		postbox.CodeRateLimited, postbox.CodeInternal,
	}
)

// Why a connection was cut by the server.
const (
	cutNotConnect   = "not_connect"
	cutConnectLarge = "connect_too_large"
	cutConnectLate  = "connect_timeout"
	cutSilent       = "keep_alive"
	cutOverflow     = "output_overflow"
	cutWrite        = "write_failed"
	cutProtocol     = "protocol_error"
	cutOther        = "other"
)

// cutReasons name the codes with which the server ends connections.
var cutReasons = map[byte]string{
	packets.ErrSessionTakenOver.Code:     "taken_over",
	packets.ErrServerShuttingDown.Code:   "shutdown",
	packets.ErrServerBusy.Code:           "unavailable",
	packets.ErrAdministrativeAction.Code: "revoked",
	packets.ErrMaxConnectTime.Code:       "token_ended",
	packets.ErrReceiveMaximum.Code:       "inflight_exceeded",
	packets.ErrMessageRateTooHigh.Code:   "flood",
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

// counters is a counter with one label, which is there from the start with each
// of its values.
func counters(name, help, label string, values ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	for _, value := range values {
		v.WithLabelValues(value)
	}
	return v
}

func newMetrics() metrics {
	reasons := []string{
		cutNotConnect, cutConnectLarge, cutConnectLate, cutSilent, cutOverflow, cutWrite, cutProtocol, cutOther,
	}
	for _, reason := range cutReasons {
		reasons = append(reasons, reason)
	}
	m := metrics{
		accepted: counters("postbox_mqtt_connects_total", "Connections that were let in, by protocol.", "protocol", "3.1", "3.1.1", "5"),
		refused: counters("postbox_mqtt_connect_refusals_total", "Connections that were refused, by code; protocol is what is no CONNECT of MQTT 3.1, 3.1.1 or 5.",
			"code", textOf(connectCodes)...),
		connect: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "postbox_mqtt_connect_seconds", Help: "Time from a CONNECT to its answer, of those that were let in.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		cut:  counters("postbox_mqtt_connections_cut_total", "Connections that the server ended, by why.", "reason", reasons...),
		sent: counter("postbox_mqtt_sent_bytes_total", "Bytes that were written to clients that were let in."),
		byQoS: counters("postbox_mqtt_publishes_total", "Publishes that were taken from clients, refused ones and re-sent ones too.",
			"qos", "0", "1", "2"),
		answered: counter("postbox_mqtt_publishes_settled_total", "Publishes and releases that were settled, and acknowledged where that is due."),
		refusals: counters("postbox_mqtt_publish_refusals_total", "Publishes that were refused, by code.", "code", textOf(publishCodes)...),
		resends:  counter("postbox_mqtt_resends_total", "Publishes that were recognised as sent before, and are stored once only."),
		paused:   counter("postbox_mqtt_rate_waits_total", "Publishes that waited because their user publishes faster than limits.publish_rate."),
		pausedFor: counter("postbox_mqtt_rate_wait_seconds_total",
			"Time that publishes waited for limits.publish_rate."),
		held: counter("postbox_mqtt_inflight_waits_total", "Times that a connection was read no further because limits.inflight of its publishes were on their way."),
		wills: counters("postbox_mqtt_wills_total", "Wills that were settled, by outcome.",
			"outcome", "sent", "duplicate", "gone", "refused"),
	}
	for qos := range m.publishes {
		m.publishes[qos] = m.byQoS.WithLabelValues(string('0' + rune(qos)))
	}
	return m
}

func textOf(codes []postbox.Code) []string {
	all := make([]string, len(codes))
	for i, c := range codes {
		all[i] = string(c)
	}
	return all
}

// refuse counts the refusal of a publish.
func (m *metrics) refuse(code postbox.Code) { m.refusals.WithLabelValues(string(code)).Inc() }

// pause counts a wait for the publish rate.
func (m *metrics) pause(d time.Duration) {
	m.paused.Inc()
	m.pausedFor.Add(d.Seconds())
}

// Metrics are what the hook tells about itself and its connections. They may be
// collected at any time; that takes the lock of each connection for a moment.
func (h *Hook) Metrics() []prometheus.Collector {
	m := &h.metrics
	return []prometheus.Collector{
		m.accepted, m.refused, m.connect, m.cut, m.sent, m.byQoS, m.answered, m.refusals, m.resends, m.paused, m.pausedFor, m.held, m.wills,
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "postbox_mqtt_received_bytes_total", Help: "Bytes of packets that were read from clients.",
		}, func() float64 { return float64(atomic.LoadInt64(&h.server.Info.BytesReceived)) }),
		connections{h},
	}
}

// connections tells about all connections together, counted when somebody asks.
type connections struct{ hook *Hook }

var (
	descConnections = prometheus.NewDesc("postbox_mqtt_connections", "Connections of clients, by protocol and listener.",
		[]string{"protocol", "listener"}, nil)
	descInflight      = prometheus.NewDesc("postbox_mqtt_inflight_publishes", "Publishes and releases of clients that are on their way to the database.", nil, nil)
	descInflightLimit = prometheus.NewDesc("postbox_mqtt_inflight_limit_publishes", "Publishes of one connection that may be on their way.", nil, nil)
	descUnsent        = prometheus.NewDesc("postbox_mqtt_unsent_bytes", "Bytes that wait to be written to clients.", nil, nil)
	descUnsentLimit   = prometheus.NewDesc("postbox_mqtt_unsent_limit_bytes", "Bytes that may wait for one client: above that it is cut, and catches up when it returns.", nil, nil)
	descNotes         = prometheus.NewDesc("postbox_mqtt_will_notes", "Ends of wills that the database is still to be told.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c connections) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descConnections, descInflight, descInflightLimit, descUnsent, descUnsentLimit, descNotes} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c connections) Collect(ch chan<- prometheus.Metric) {
	type kind struct{ protocol, listener string }
	kinds := make(map[kind]int)
	var inflight, unsent int
	for _, cl := range c.hook.registry.all() {
		kinds[kind{protocolOf(cl.protocol), cl.cl.Net.Listener}]++
		cl.mu.Lock()
		inflight += cl.inflight
		cl.mu.Unlock()
		cl.conn.mu.Lock()
		unsent += cl.conn.unsent
		cl.conn.mu.Unlock()
	}
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	for k, n := range kinds {
		gauge(descConnections, n, k.protocol, k.listener)
	}
	gauge(descInflight, inflight)
	gauge(descInflightLimit, c.hook.o.Limits.Inflight)
	gauge(descUnsent, unsent)
	gauge(descUnsentLimit, maxBuffered)
	w := &c.hook.wills
	w.mu.Lock()
	notes := len(w.notes)
	w.mu.Unlock()
	gauge(descNotes, notes)
}

// protocolOf is the name of a protocol level (OASIS MQTT 5 §3.1.2.2).
func protocolOf(level byte) string {
	switch level {
	case 3:
		return "3.1"
	case 4:
		return "3.1.1"
	}
	return "5"
}

// cutFor notes why the server ends the connection. The first reason counts.
func (c *Conn) cutFor(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutLocked(reason)
}

func (c *Conn) cutLocked(reason string) {
	if c.cut == "" {
		c.cut = reason
	}
}

// greetingFault and lateness name why a connection ends before its CONNECT, or
// because its client is silent.
func greetingFault(err error) string {
	if errors.Is(err, ErrConnectLarge) {
		return cutConnectLarge
	}
	return cutNotConnect
}

func (c *Conn) lateness() string {
	if c.offered == nil {
		return cutConnectLate
	}
	return cutSilent
}

// countSent counts bytes that went out; not those of refusals.
func (c *Conn) countSent(n int) {
	if cl := c.client.Load(); cl != nil {
		cl.hook.metrics.sent.Add(float64(n))
	}
}

// countCut counts a connection that has ended, if the server has ended it.
func (h *Hook) countCut(conn *Conn) {
	conn.mu.Lock()
	reason := conn.cut
	conn.mu.Unlock()
	if reason != "" {
		h.metrics.cut.WithLabelValues(reason).Inc()
	}
}

// reasonOf names the code with which the server ends a connection.
func reasonOf(code packets.Code) string {
	if reason, ok := cutReasons[code.Code]; ok {
		return reason
	}
	return cutOther
}

// isProtocolError reports whether Mochi has ended a connection for what its
// client sent.
func isProtocolError(err error) bool {
	var code packets.Code
	return errors.As(err, &code) && code.Code >= packets.ErrUnspecifiedError.Code
}
