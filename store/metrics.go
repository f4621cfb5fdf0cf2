package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/lib/pq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// classConnection stands for errors without a SQLSTATE.
const classConnection = "connection"

// statementErrors counts for the whole process: an error is sorted where it is
// wrapped, which may be far from any Store. It is registered with each.
var statementErrors = func() *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postbox_store_errors_total",
		Help: "Errors of the database, by the class of their SQLSTATE; connection is one that never came to an answer.",
	}, []string{"class"})
	// There from the start, so that a first error is an increase: what a
	// connection, resources, an operator and a fault of the system are.
	for _, class := range []string{classConnection, "08", "53", "57", "58", "XX"} {
		v.WithLabelValues(class)
	}
	return v
}()

// countError counts an error of the database. That nobody waits any more, or
// that there is no such row, is none.
func countError(err error) {
	var counted *unavailable
	if err == nil || errors.As(err, &counted) || errors.Is(err, sql.ErrNoRows) || errors.Is(err, context.Canceled) {
		return
	}
	class := classConnection
	var pe *pq.Error
	if errors.As(err, &pe) && len(pe.Code) == 5 {
		class = string(pe.Code.Class())
	}
	statementErrors.WithLabelValues(class).Inc()
}

// Metrics are what the store tells about its pool and about errors. They may be
// collected at any time, also while the database is away.
func (s *Store) Metrics() []prometheus.Collector {
	return []prometheus.Collector{statementErrors, collectors.NewDBStatsCollector(s.db.DB, "postbox")}
}

// laneMetrics count what is rare.
type laneMetrics struct {
	unknown, fences, behind prometheus.Counter
}

func newLaneMetrics() laneMetrics {
	return laneMetrics{
		unknown: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postbox_store_unknown_outcomes_total", Help: "Commits whose outcome was not known at first, because the connection was lost.",
		}),
		behind: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postbox_store_behind_total", Help: "Batches and changes that were refused once and tried again, because somebody else had written to one of their logs.",
		}),
		fences: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postbox_store_lane_fences_total", Help: "Times that the lane was fenced to find out whether a commit had happened.",
		}),
	}
}

// Metrics are what the lane's database side tells about itself. A server
// registers them once, with a label for each of its lanes.
func (l *Lane) Metrics() []prometheus.Collector {
	return []prometheus.Collector{l.metrics.unknown, l.metrics.fences, l.metrics.behind}
}

// CountSessions counts the devices that have a session, and how many of them are
// connected. It reads the whole table: not for the path of a message.
func (s *Store) CountSessions(ctx context.Context) (all, connected int, err error) {
	const count = `SELECT count(*), count(*) FILTER (WHERE disconnected_at IS NULL) FROM postbox.devices`
	if err := s.db.QueryRowContext(ctx, count).Scan(&all, &connected); err != nil {
		return 0, 0, away("count sessions", err)
	}
	return all, connected, nil
}
