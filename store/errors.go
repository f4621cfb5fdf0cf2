package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/lib/pq"

	"postbox"
)

var errStandby = errors.New("the database is a read-only standby")

// unavailable marks an error as "the database is away": postbox.ErrUnavailable
// is in its chain, and the cause too.
type unavailable struct {
	doing string
	cause error
}

func (e *unavailable) Error() string   { return e.doing + ": " + e.cause.Error() }
func (e *unavailable) Unwrap() []error { return []error{postbox.ErrUnavailable, e.cause} }

// away wraps err; if it means that the database is away, so that the same can
// succeed later, the result has postbox.ErrUnavailable in its chain.
func away(doing string, err error) error {
	if err == nil {
		return nil
	}
	if isAway(err) {
		return &unavailable{doing, err}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// isAway tells errors of the connection and of the server's state from errors
// of the statement (PostgreSQL's errcodes appendix).
func isAway(err error) bool {
	var pe *pq.Error
	if errors.As(err, &pe) {
		switch pe.Code.Class() {
		case "08", // connection exception
			"53", // insufficient resources: disk full, out of memory, too many connections
			"57", // operator intervention: shutdown, crash, timeout, not yet started
			"58", // system error: I/O
			"40": // rollback: deadlock, serialization
			return true
		}
		switch pe.Code {
		case "25006", // read-only transaction: a standby after a failover
			"55P03",                   // lock not available in time
			"28000", "28P01", "3D000": // not let in, for now: passwords change, databases are restored
			return true
		}
		return pe.Severity == "FATAL" || pe.Severity == "PANIC"
	}
	var ne net.Error
	var se syscall.Errno
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, errStandby) || errors.Is(err, postbox.ErrUnavailable) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) || errors.As(err, &se)
}
