package bench

import (
	"fmt"
	"time"
)

// Processes are the server and the postmaster whose processor time a run is
// charged with; zero: not known.
type Processes struct{ Server, Database int }

// Spent is processor time, which a busy machine does not blur as it does a rate.
// Zero: not known.
type Spent struct {
	Server    time.Duration
	Database  time.Duration // the postmaster and all its backends
	Generator time.Duration
}

// since is what was used after an earlier moment, for each of n pieces of work.
func (s Spent) since(before Spent, n uint64) Each {
	each := func(d time.Duration) float64 {
		if n == 0 {
			return 0
		}
		return d.Seconds() * 1000 / float64(n)
	}
	return Each{
		Server: each(s.Server - before.Server), Database: each(s.Database - before.Database), Generator: each(s.Generator - before.Generator),
	}
}

// Each is the processor time for one piece of work, in milliseconds. Zero: not
// known.
type Each struct {
	Server    float64 `json:"server"`
	Database  float64 `json:"database"`
	Generator float64 `json:"generator"`
}

// String is for people.
func (e Each) String() string {
	return fmt.Sprintf("cpu %.3f server, %.3f database, %.3f generator (ms)", e.Server, e.Database, e.Generator)
}
