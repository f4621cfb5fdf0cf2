package broker

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postbox/configs"
	"postbox/store"
)

// Files that are none of a client's: listeners, PostgreSQL, the private address,
// and some connections that are still being closed.
const (
	reservedFiles = 48
	fewPlaces     = 1000 // or less is told at the start
)

// room bounds how many connections of clients there are at once, so that there is
// always a file left for PostgreSQL, for health and for metrics. The zero room has
// no bound.
type room struct {
	places int64
	files  uint64 // that the process may have open
	log    *slog.Logger
	taken  atomic.Int64

	mu      sync.Mutex // guards the fields below
	told    time.Time
	refused int // since then
}

// furnish makes room for as many as the limit of open files leaves, beside what
// the connections to PostgreSQL take: two pools and those for searches, and two for each lane.
func (r *room) furnish(files uint64, c configs.Database, log *slog.Logger) {
	r.log, r.files = log, files
	if files == 0 || files > 1<<40 { // nobody knows, or there is no limit
		return
	}
	reserved := int64(reservedFiles + 2*c.PoolSize + store.FinderConnections + 2*c.Lanes)
	if r.places = max(int64(files)-reserved, int64(files)/4, 1); r.places <= fewPlaces {
		log.Warn("the limit of open files leaves room for few connections: raise it (LimitNOFILE=, ulimit -n)",
			"files", files, "connections", r.places)
	}
}

// enter takes a place; leave must follow. False: there is none.
func (r *room) enter() bool {
	if n := r.taken.Add(1); r.places == 0 || n <= r.places {
		return true
	}
	r.leave()
	r.tell("connections are turned away: raise the limit of open files (LimitNOFILE=, ulimit -n)")
	return false
}

func (r *room) leave() { r.taken.Add(-1) }

// failed tells that a connection could not be accepted.
func (r *room) failed(err error) {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		r.tell("no file is left for another connection: raise the limit of open files (LimitNOFILE=, ulimit -n)", "error", err)
		return
	}
	r.tell("accepting a connection failed", "error", err)
}

// tellEvery is how often the log has a line about connections that are not
// accepted: a flood of them is no flood of lines.
const tellEvery = time.Minute

func (r *room) tell(message string, facts ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused++
	if now := time.Now(); r.log != nil && now.Sub(r.told) >= tellEvery {
		r.log.Warn(message, append(facts, "files", r.files, "connections", r.taken.Load(), "refused", r.refused)...)
		r.told, r.refused = now, 0
	}
}
