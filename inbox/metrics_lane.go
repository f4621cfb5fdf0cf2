package inbox

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// laneMetrics are the facts of one lane. What it has at hand anyway is read
// when somebody asks (Metrics); the rest are counters, one addition each, most
// of them once for a group.
type laneMetrics struct {
	waits      prometheus.Counter
	batch      prometheus.Histogram
	commit     prometheus.Histogram
	retries    prometheus.Counter
	stored     prometheus.Counter
	duplicates prometheus.Counter
}

func newLaneMetrics() laneMetrics {
	return laneMetrics{
		waits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postbox_inbox_queue_waits_total", Help: "Publishes that waited for room in the lane's queue.",
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "postbox_inbox_batch_drafts", Help: "Publishes and releases that were committed together.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, maxBatch},
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "postbox_inbox_commit_seconds", Help: "Time from taking a group off the queue to its commit, waiting for an absent database included.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postbox_inbox_commit_retries_total", Help: "Tries to reach the database for a commit that found it away.",
		}),
		stored: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postbox_inbox_messages_stored_total", Help: "Messages that were committed, each once.",
		}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postbox_inbox_duplicates_total", Help: "Publishes that were answered with a message stored before: re-sent, or with its idempotency key.",
		}),
	}
}

// Metrics are what the lane tells about itself. A server registers them once,
// with a label for each of its lanes. They may be collected at any time.
func (l *Lane) Metrics() []prometheus.Collector {
	m := &l.metrics
	return []prometheus.Collector{
		m.waits, m.batch, m.commit, m.retries, m.stored, m.duplicates,
		gauge("postbox_inbox_queue_drafts", "Publishes and releases that wait for the lane.", func() float64 {
			l.mu.Lock()
			defer l.mu.Unlock()
			return float64(len(l.queue) + len(l.crowded))
		}),
		gauge("postbox_inbox_queue_bytes", "Bytes that wait for the lane.", func() float64 {
			l.mu.Lock()
			defer l.mu.Unlock()
			return float64(l.bytes)
		}),
		gauge("postbox_inbox_queue_limit_bytes", "Bytes that may wait for the lane: at this bound nobody is read from any more.",
			func() float64 { return limitBytes }),
		gauge("postbox_inbox_settle_queue_groups", "Committed groups that wait to be answered and delivered.",
			func() float64 { return float64(len(l.commits[0].groups) + len(l.commits[1].groups)) }),
		gauge("postbox_inbox_settle_queue_limit_groups", "Committed groups that may wait: at this bound the next commit waits for them.",
			func() float64 { return float64(cap(l.commits[0].groups) + cap(l.commits[1].groups)) }),
		gauge("postbox_inbox_routes", "Remembered pairs of a sender and a destination.", func() float64 {
			l.routes.mu.Lock()
			defer l.routes.mu.Unlock()
			return float64(len(l.routes.known))
		}),
		gauge("postbox_inbox_routes_limit", "Pairs that are remembered before all are forgotten.", func() float64 { return maxRoutes }),
	}
}

// gauge is a metric that is read when somebody asks.
func gauge(name, help string, read func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read)
}

// committed counts a group that was, and tells those who watch.
func (l *Lane) committed(group []*Draft, began time.Time) {
	now := time.Now()
	var stored, duplicates int
	for _, d := range group {
		if d.Watch != nil {
			d.Watch.Committed(now)
		}
		switch {
		case d.Action != Append || d.Refusal != nil:
		case d.Duplicate:
			duplicates++
		default:
			stored++
		}
	}
	m := &l.metrics
	m.batch.Observe(float64(len(group)))
	m.commit.Observe(now.Sub(began).Seconds())
	m.stored.Add(float64(stored))
	m.duplicates.Add(float64(duplicates))
}
