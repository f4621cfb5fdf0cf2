package inbox

import (
	"github.com/prometheus/client_golang/prometheus"

	"postbox"
)

// hubMetrics are the facts of delivery.
type hubMetrics struct {
	fromMemory   prometheus.Counter
	fromDatabase prometheus.Counter
	deliveries   *prometheus.CounterVec
	acks         prometheus.Counter
	spared       prometheus.Counter
	gaps         *prometheus.CounterVec
	pages        prometheus.Counter
	pageEntries  prometheus.Counter
	readFailures prometheus.Counter
	rests        prometheus.Counter
	saves        prometheus.Counter
	saveFailures prometheus.Counter
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func newHubMetrics() hubMetrics {
	m := hubMetrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postbox_inbox_deliveries_total", Help: "Entries that were handed to devices, by where they were read.",
		}, []string{"source"}),
		acks:   counter("postbox_inbox_acknowledgements_total", "Deliveries that devices have acknowledged."),
		spared: counter("postbox_inbox_spared_total", "Entries that a device was spared: expired, its own with No Local, or larger than it takes."),
		gaps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postbox_inbox_gaps_total", Help: "Gaps that devices were told of, by why.",
		}, []string{"code"}),
		pages:        counter("postbox_inbox_catchup_pages_total", "Pages that were read from the database for devices that are behind."),
		pageEntries:  counter("postbox_inbox_catchup_entries_total", "Entries in pages that were read for devices that are behind."),
		readFailures: counter("postbox_inbox_catchup_failures_total", "Pages that could not be read; each is tried again."),
		rests:        counter("postbox_inbox_catchup_rests_total", "Pauses after a page that was read, for the sake of those who send."),
		saves:        counter("postbox_inbox_cursors_saved_total", "Cursors that were saved, many at once."),
		saveFailures: counter("postbox_inbox_cursor_save_failures_total", "Saves of cursors that failed; their cursors are saved with the next."),
	}
	m.fromMemory, m.fromDatabase = m.deliveries.WithLabelValues("memory"), m.deliveries.WithLabelValues("database")
	for _, code := range []postbox.Code{postbox.CodeExpired, postbox.CodeEpochChanged} {
		m.gaps.WithLabelValues(string(code))
	}
	return m
}

// Metrics are what the hub tells about itself and all mailboxes. They may be
// collected at any time; that takes the lock of each mailbox for a moment.
func (h *Hub) Metrics() []prometheus.Collector {
	m := &h.metrics
	return []prometheus.Collector{
		m.deliveries, m.acks, m.spared, m.gaps, m.pages, m.pageEntries, m.readFailures, m.rests, m.saves, m.saveFailures,
		gauge("postbox_inbox_catchup_reads", "Pages that are being read.", func() float64 { return float64(len(h.reads)) }),
		gauge("postbox_inbox_catchup_reads_limit", "Pages that may be read at once; other devices wait for their turn.",
			func() float64 { return float64(cap(h.reads)) }),
		gauge("postbox_inbox_held_bytes", "Bytes of entries in memory for devices that do not have them yet.",
			func() float64 { return float64(h.held.Load()) }),
		gauge("postbox_inbox_held_limit_bytes", "Bytes of entries that may be in memory: above it devices are served from the database.",
			func() float64 { return heldBudget }),
		gauge("postbox_inbox_cursors_unsaved", "Devices whose progress waits to be saved, or could not be.", func() float64 {
			h.saver.mu.Lock()
			defer h.saver.mu.Unlock()
			return float64(len(h.saver.moved) + len(h.saver.failed))
		}),
		mailboxes{h},
	}
}

// mailboxes tells about all mailboxes together, counted when somebody asks, so
// that nothing is counted on the path of a message.
type mailboxes struct{ hub *Hub }

func describe(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }

var (
	descMailboxes     = describe("postbox_inbox_mailboxes", "Users who have a device with a subscription to the inbox.")
	descSubscriptions = describe("postbox_inbox_subscriptions", "Devices that are subscribed to their inbox.")
	descCatchingUp    = describe("postbox_inbox_catchup_devices", "Devices that are behind and read from the database.")
	descWindow        = describe("postbox_inbox_window_deliveries", "Deliveries that devices have not acknowledged yet.")
	descWindowLimit   = describe("postbox_inbox_window_limit_deliveries", "Deliveries that may be unacknowledged, all windows together.")
	descWindowsFull   = describe("postbox_inbox_windows_full", "Devices whose window is full: they get no more before they acknowledge.")
	descTail          = describe("postbox_inbox_tail_entries", "Newest entries in memory, all mailboxes together.")
	descEarly         = describe("postbox_inbox_early_entries", "Entries in memory that wait for one below them.")
	descEarlyLimit    = describe("postbox_inbox_early_limit_entries", "Entries of one mailbox that may wait for one below them; others are read from the database later.")
)

// Describe implements prometheus.Collector.
func (m mailboxes) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m mailboxes) Collect(ch chan<- prometheus.Metric) {
	var subs, behind, window, limit, full, tail, early int
	boxes := m.hub.all()
	for _, b := range boxes {
		b.mu.Lock()
		tail, early = tail+len(b.tail), early+len(b.early)
		for _, s := range b.subs {
			subs++
			if s.ahead.reading {
				behind++
			}
			if s.device.QoS == 0 {
				continue
			}
			window, limit = window+s.unacked, limit+s.device.Window
			if s.unacked >= s.device.Window {
				full++
			}
		}
		b.mu.Unlock()
	}
	for desc, n := range map[*prometheus.Desc]int{
		descMailboxes: len(boxes), descSubscriptions: subs, descCatchingUp: behind, descWindow: window, descWindowLimit: limit,
		descWindowsFull: full, descTail: tail, descEarly: early, descEarlyLimit: maxEarly,
	} {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n))
	}
}
