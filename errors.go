package postbox

import (
	"errors"
	"fmt"
)

// Code is the machine-readable name of an error of docs/spec.md §9. Each edge
// (MQTT, HTTP, command line) translates it once, and clients translate it back.
type Code string

// The codes of docs/spec.md §9.
const (
	CodeInvalid         Code = "invalid"
	CodeUnauthenticated Code = "unauthenticated"
	CodeForbidden       Code = "forbidden"
	CodeNotFound        Code = "not_found"
	CodeConflict        Code = "conflict"
	CodeTooLarge        Code = "too_large"
	CodeRateLimited     Code = "rate_limited"
	CodeEpochChanged    Code = "epoch_changed"
	CodeExpired         Code = "expired"
	CodeUnavailable     Code = "unavailable"
	CodeInternal        Code = "internal"
)

// Error is an error that a stranger may see: a code and a sentence that names
// the thing and says what to do. It carries no cause; causes belong in a log.
type Error struct {
	Code    Code
	Message string
}

// Errorf makes an Error with a formatted sentence.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string {
	if e.Message == "" {
		return string(e.Code)
	}
	return e.Message
}

// Is makes errors.Is(err, ErrForbidden) true for every Error of that code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

// Sentinels, one for each code, to be used with errors.Is.
var (
	ErrInvalid         = &Error{Code: CodeInvalid}
	ErrUnauthenticated = &Error{Code: CodeUnauthenticated}
	ErrForbidden       = &Error{Code: CodeForbidden}
	ErrNotFound        = &Error{Code: CodeNotFound}
	ErrConflict        = &Error{Code: CodeConflict}
	ErrTooLarge        = &Error{Code: CodeTooLarge}
	ErrRateLimited     = &Error{Code: CodeRateLimited}
	ErrEpochChanged    = &Error{Code: CodeEpochChanged}
	ErrExpired         = &Error{Code: CodeExpired}
	ErrUnavailable     = &Error{Code: CodeUnavailable}
	ErrInternal        = &Error{Code: CodeInternal}
)

// AsError finds the Error in err's chain. Any other error becomes ErrInternal,
// whose sentence tells a stranger nothing: the caller logs the cause.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeInternal, Message: "a fault of the server; its log has the cause"}
}
