package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"postbox/broker"
)

// scrape reads /metrics as Prometheus does.
func (w *world) scrape(t testing.TB) map[string]*dto.MetricFamily {
	t.Helper()
	status, text := w.status(t, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics: %d %.200s", status, text)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("/metrics: %v", err)
	}
	return families
}

// value adds up the series of a family that have these labels, name and value
// in turn. Of a histogram it is the number of observations.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) (sum float64) {
	for _, m := range families[name].GetMetric() {
		has := func(name, value string) bool {
			return slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == name && l.GetValue() == value })
		}
		matches := true
		for i := 0; i < len(labels); i += 2 {
			matches = matches && has(labels[i], labels[i+1])
		}
		if matches {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// awaitGreeting waits until n connections are counted that have not sent their CONNECT:
// one more before that could take the place of one that is still on its way.
func (w *world) awaitGreeting(t testing.TB, n int) {
	t.Helper()
	await(t, fmt.Sprint(n, " connections without a CONNECT"), func() bool {
		return value(w.scrape(t), "postbox_connections_greeting") == float64(n)
	})
}

// Each fact is counted once, where it happens; and no label says who.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.PublishRate, w.config.Limits.PublishBurst = 20, 1 })
	alice, bob := w.user("alice"), w.user("bob")
	w.connect(t, durable(4, bob, "tablet")).Leave() // has a session, and no cursor yet
	c := w.connect(t, durable(5, bob, "phone"))
	c.listen(bob)
	c.Leave()

	three, four, page := w.connect(t, login{version: 3, user: alice, id: "three"}), w.connect(t, login{user: alice, id: "four"}), w.overWebSocket(t)
	page.login(login{version: 5, user: alice, id: "page"})
	_, _ = w.login(t, login{user: alice, id: "x", password: "wrong"})
	_, _ = w.login(t, login{version: 5, user: alice, id: "x", password: "wrong"})
	w.login(t, login{user: alice}) // no id and no clean start: Mochi refuses it
	strange := w.dial(t)
	strange.Write([]byte("GET / HTTP/1.1\r\n"))
	strange.Ended()
	for id := uint16(1); id <= 3; id++ {
		four.publish(publication{id: id, qos: 1, topic: "inbox/" + bob, body: "hello"})
	}
	for range 3 {
		four.Expect(packets.Puback)
	}
	page.publish(publication{id: 9, qos: 1, topic: "inbox/" + bob + "/key", body: "once"})
	page.Expect(packets.Puback)
	page.publish(publication{id: 9, qos: 1, dup: true, topic: "inbox/" + bob + "/key", body: "once"})
	page.Expect(packets.Puback)
	page.publish(publication{id: 10, qos: 1, topic: "inbox/nobody", body: "x"})
	page.Expect(packets.Puback)
	// Read now, and stored before what is published after it.
	three.publish(publication{qos: 0, topic: "inbox/" + bob, body: "zero"})
	three.Flush()
	page.publish(publication{id: 11, qos: 2, topic: "inbox/" + bob, body: "two"})
	page.Expect(packets.Pubrec)
	page.pubrel(11)
	page.Expect(packets.Pubcomp)

	phone := w.connect(t, durable(5, bob, "phone"))
	for range 5 {
		phone.receive()
	}
	phone.Expect(packets.Publish) // and says nothing to it
	phone.Quiet()
	taken := w.connect(t, login{version: 5, user: alice, id: "page"})
	page.Ended()
	taken.Quiet()

	var families map[string]*dto.MetricFamily
	await(t, "the end of a connection", func() bool {
		families = w.scrape(t)
		return value(families, "postbox_mqtt_connections") == 4 && value(families, "postbox_mqtt_connections_cut_total") == 2 &&
			value(families, "postbox_http_requests_total", "code", "101") == 1
	})
	for _, want := range []struct {
		value  float64
		name   string
		labels []string
	}{
		{1, "postbox_mqtt_connections", []string{"protocol", "3.1", "listener", "tcp"}},
		{1, "postbox_mqtt_connections", []string{"protocol", "3.1.1", "listener", "tcp"}},
		{2, "postbox_mqtt_connections", []string{"protocol", "5", "listener", "tcp"}},
		{4, "postbox_mqtt_connects_total", []string{"protocol", "5"}},
		{2, "postbox_mqtt_connect_refusals_total", []string{"code", "unauthenticated"}},
		{1, "postbox_mqtt_connections_cut_total", []string{"reason", "not_connect"}},
		{1, "postbox_mqtt_connections_cut_total", []string{"reason", "taken_over"}},
		{0, "postbox_mqtt_connections_cut_total", []string{"reason", "keep_alive"}},
		{1, "postbox_mqtt_publishes_total", []string{"qos", "0"}},
		{6, "postbox_mqtt_publishes_total", []string{"qos", "1"}},
		{1, "postbox_mqtt_publishes_total", []string{"qos", "2"}},
		{1, "postbox_mqtt_publish_refusals_total", []string{"code", "not_found"}},
		{1, "postbox_mqtt_publish_refusals_total", nil},
		{1, "postbox_mqtt_resends_total", nil},
		{9, "postbox_mqtt_publishes_settled_total", nil},
		{6, "postbox_inbox_messages_stored_total", nil},
		{1, "postbox_inbox_duplicates_total", nil},
		{0, "postbox_inbox_queue_drafts", nil},
		{6, "postbox_inbox_deliveries_total", []string{"source", "database"}},
		{5, "postbox_inbox_acknowledgements_total", nil},
		{1, "postbox_inbox_window_deliveries", nil},
		{1, "postbox_inbox_subscriptions", nil},
		{6, "postbox_inbox_catchup_entries_total", nil},
		{1, "postbox_http_requests_total", []string{"route", "GET /mqtt", "code", "101"}},
		{0, "postbox_database_away", nil},
		{1, "postbox_build_info", []string{"version", "1.2.3"}},
	} {
		if got := value(families, want.name, want.labels...); got != want.value {
			t.Errorf("%s%q is %v, want %v", want.name, want.labels, got, want.value)
		}
	}
	for _, name := range []string{
		"postbox_mqtt_rate_waits_total", "postbox_mqtt_rate_wait_seconds_total", "postbox_mqtt_sent_bytes_total", "postbox_mqtt_received_bytes_total",
		"postbox_inbox_batch_drafts", "postbox_inbox_commit_seconds", "postbox_inbox_queue_limit_bytes", "go_goroutines", "process_open_fds", "go_sql_max_open_connections",
	} {
		if value(families, name) <= 0 {
			t.Errorf("%s is %v", name, value(families, name))
		}
	}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				for _, who := range []string{alice, bob, "three", "four", "page", "phone", "key", "nobody"} {
					if strings.Contains(l.GetValue(), who) {
						t.Errorf("%s: label %s=%q says who", name, l.GetName(), l.GetValue())
					}
				}
			}
		}
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
	}
}

// While the database is away that is told, and for how long it was.
func TestMetricsWhileAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	c := w.connect(t, login{user: alice, id: "phone"})
	c.say("inbox/"+alice, "before")
	before := w.scrape(t)
	back := w.databaseAway()
	c.publish(publication{id: 100, qos: 1, topic: "inbox/" + alice, body: "x"})
	var families map[string]*dto.MetricFamily
	await(t, "the news that the database is away", func() bool {
		families = w.scrape(t)
		return value(families, "postbox_database_away") == 1 && value(families, "postbox_database_away_seconds_total") > 0 &&
			value(families, "postbox_inbox_commit_retries_total") > 0 && value(families, "postbox_mqtt_inflight_publishes") == 1
	})
	if errors := value(families, "postbox_store_errors_total") - value(before, "postbox_store_errors_total"); errors <= 0 {
		t.Errorf("%v errors counted", errors)
	}
	back()
	c.Expect(packets.Puback)
	await(t, "the end of that", func() bool { return value(w.scrape(t), "postbox_database_away") == 0 })
}

// Two servers of one process, beside each other or one after the other, have
// nothing to do with each other; in one registry they are refused.
func TestTwoServersInOneProcess(t *testing.T) {
	t.Parallel()
	one, two := newWorld(t), newWorld(t)
	alice := one.user("alice")
	one.connect(t, login{user: alice, id: "phone"}).say("inbox/"+alice, "x")
	if n := value(one.scrape(t), "postbox_inbox_messages_stored_total"); n != 1 {
		t.Errorf("the one has stored %v", n)
	}
	if n := value(two.scrape(t), "postbox_inbox_messages_stored_total"); n != 0 {
		t.Errorf("the other has stored %v", n)
	}
	one.restart()
	if n := value(one.scrape(t), "postbox_inbox_messages_stored_total"); n != 0 {
		t.Errorf("after a restart it has stored %v", n)
	}
	await(t, "the count of sessions", func() bool { return value(one.scrape(t), "postbox_sessions") == 1 })
	registry := prometheus.NewRegistry()
	third := newWorld(t, func(w *world) { w.registry = registry })
	third.stop()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := broker.New(ctx, broker.Options{Config: third.config, DatabaseURL: third.url, Logger: slog.New(third.log), Registry: registry})
	if already := (prometheus.AlreadyRegisteredError{}); err == nil || !errors.As(err, &already) {
		t.Errorf("a registry for two servers: %v", err)
	}
	third.registry = nil
	third.start()
}

// What is private is nowhere to be had at the public address, whatever the
// method and the spelling.
func TestPrivateIsNotPublic(t *testing.T) {
	w := sharedWorld(t)
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{
		"/metrics", "/metrics/", "//metrics", "/mqtt/../metrics", "/healthz", "/readyz", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1",
		"/debug/pprof/cmdline", "/debug/pprof/symbol", "/debug/pprof/trace?seconds=1", "/debug/vars",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			r, err := http.NewRequest(method, "http://"+w.at.HTTP+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusNotFound && answer.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s at the public address: %d", method, path, answer.StatusCode)
			}
		}
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/", "/debug/pprof/goroutine?debug=1"} {
		if status, _ := w.status(t, path); status != http.StatusOK {
			t.Errorf("%s at the private address: %d", path, status)
		}
	}
}
