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
	"github.com/lib/pq/pqerror"

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
	countError(err)
	if isAway(err) {
		return &unavailable{doing, err}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// isAway tells errors of the connection and of the server's state from errors
// that would come again with the same data.
func isAway(err error) bool {
	var pe *pq.Error
	if errors.As(err, &pe) {
		return pe.Severity == "FATAL" || pe.Severity == "PANIC" || !ofTheData(pe.Code)
	}
	var ne net.Error
	var se syscall.Errno
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, errStandby) || errors.Is(err, postbox.ErrUnavailable) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) || errors.As(err, &se)
}

// ofTheData reports whether an error is of what was to be stored, by its class
// in PostgreSQL's errcodes appendix. All others say something of the server, of
// its disk, its rights, its schema: a message must wait until that is mended,
// and not be refused. An exceeded quota is an "internal error" (XX000).
func ofTheData(code pqerror.Code) bool {
	switch code.Class() {
	case "21", // cardinality
		"22", // data
		"23", // integrity constraint
		"54", // program limit, as of an index row
		"P0", // raised by a function or trigger
		"PB": // raised by ours
		return true
	}
	return false
}

// Passes reports whether the error of a database that cannot be used may go
// away by itself: it starts, recovers, has no connection free. Not so when it
// does not let us in, or is not the one that was meant.
func Passes(err error) bool {
	var pe *pq.Error
	if errors.As(err, &pe) {
		switch pe.Code.Class() {
		case "28", "3D", "3F", "42", "0A", "0P":
			return false
		}
	}
	return isAway(err)
}
