package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// sessionsEvery is how often sessions are counted: that reads a whole table.
const sessionsEvery = time.Minute

// register makes every part tell about itself in the registry, which belongs to
// one server.
func (e *Engine) register() error {
	r := e.o.Registry
	var faults []error
	register := func(r prometheus.Registerer, all ...prometheus.Collector) {
		for _, c := range all {
			faults = append(faults, r.Register(c))
		}
	}
	register(r, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, part := range []interface{ Metrics() []prometheus.Collector }{e.store, e.indexer, e.hub, e.signals, e.hook, e.door, e.tracing} {
		register(r, part.Metrics()...)
	}
	for i, l := range e.lanes {
		one := prometheus.WrapRegistererWith(prometheus.Labels{"lane": strconv.Itoa(i)}, r)
		register(one, l.Metrics()...)
		register(one, e.inner[i].Metrics()...)
		many := prometheus.WrapRegistererWith(prometheus.Labels{"lane": strconv.Itoa(i) + "-rooms"}, r)
		register(many, e.crowds[i].Metrics()...)
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "postbox_build_info", Help: "Always 1; what runs is in the labels.",
		ConstLabels: prometheus.Labels{"version": e.o.Version, "go": runtime.Version()},
	})
	info.Set(1)
	register(r, info,
		readGauge("postbox_sessions", "Devices that have a session, counted every minute.", e.sessions.all.Load),
		readGauge("postbox_sessions_connected", "Devices that have a session and were connected when they were counted.", e.sessions.connected.Load),
		readCounter("postbox_epoch_restarts_total", "Times that this process began again because the database was replaced.",
			func() float64 { return float64(e.o.Restarts) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "postbox_database_away", Help: "1 while messages cannot be stored, because of the database; else 0.",
		}, func() float64 {
			if e.awaySince().IsZero() {
				return 0
			}
			return 1
		}),
		readCounter("postbox_database_away_seconds_total", "Time for which messages could not be stored, because of the database.",
			func() float64 { return e.away.seconds(e.awaySince(), time.Now()) }),
	)
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("register metrics: each server needs a registry of its own: %w", err)
	}
	return nil
}

// scrape answers for /metrics.
func (e *Engine) scrape() http.Handler {
	return promhttp.HandlerFor(e.o.Registry, promhttp.HandlerOpts{Registry: e.o.Registry})
}

func readGauge(name, help string, read func() int64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(read()) })
}

func readCounter(name, help string, read func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read)
}

// Metrics are what the listeners tell about connections before their CONNECT.
func (d *door) Metrics() []prometheus.Collector {
	count := func(name, help string, n *atomic.Int64) prometheus.Collector {
		return readCounter(name, help, func() float64 { return float64(n.Load()) })
	}
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "postbox_connections_greeting", Help: "Connections that have not sent their CONNECT yet.",
		}, func() float64 {
			d.mu.Lock()
			defer d.mu.Unlock()
			n := 0
			for _, waiting := range d.waiting {
				n += waiting
			}
			return float64(n)
		}),
		readGauge("postbox_connections_greeting_limit", "Connections of one address that may not have sent their CONNECT yet.",
			func() int64 { return int64(d.perHost) }),
		count("postbox_connections_turned_away_total", "Connections that were closed because there were too many such ones of their address, or no files for more.", &d.turnedAway),
		count("postbox_accept_failures_total", "Failures to accept a connection, as without a free file descriptor.", &d.acceptFailures),
		count("postbox_connection_panics_total", "Connections that ended in a panic of the program: a fault of it.", &d.panics),
	}
}

// awayTime adds up for how long the database was away.
type awayTime struct {
	mu    sync.Mutex // guards the fields below
	total time.Duration
	upTo  time.Time // has been added
}

// seconds adds what has passed since it was asked last, if the database is away
// since then or a later moment, and returns the sum. It must be asked now and
// then: an absence between two questions is not seen.
func (a *awayTime) seconds(since, now time.Time) float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !since.IsZero() {
		if since.Before(a.upTo) {
			since = a.upTo
		}
		a.total += max(0, now.Sub(since))
		a.upTo = now
	}
	return a.total.Seconds()
}

// sessionCount is what was counted last.
type sessionCount struct{ all, connected atomic.Int64 }

// countSessions counts the sessions now and then.
func (e *Engine) countSessions(ctx context.Context) {
	tick := time.NewTicker(sessionsEvery)
	defer tick.Stop()
	for {
		if all, connected, err := e.store.CountSessions(ctx); err == nil {
			e.sessions.all.Store(int64(all))
			e.sessions.connected.Store(int64(connected))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
