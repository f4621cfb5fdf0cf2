package web

import (
	"net/http"
	"strconv"
	"time"

	"postbox"
	"postbox/api"
)

// statuses is docs/spec.md §9 for HTTP, the one place that has it.
var statuses = map[postbox.Code]int{
	postbox.CodeInvalid:         http.StatusBadRequest,
	postbox.CodeUnauthenticated: http.StatusUnauthorized,
	postbox.CodeForbidden:       http.StatusForbidden,
	postbox.CodeNotFound:        http.StatusNotFound,
	postbox.CodeConflict:        http.StatusConflict,
	postbox.CodeTooLarge:        http.StatusRequestEntityTooLarge,
	postbox.CodeRateLimited:     http.StatusTooManyRequests,
	postbox.CodeEpochChanged:    http.StatusGone,
	postbox.CodeExpired:         http.StatusGone,
	postbox.CodeUnavailable:     http.StatusServiceUnavailable,
	postbox.CodeInternal:        http.StatusInternalServerError,
}

// retryAfter is what a peer is told to wait for when nothing better is known.
const retryAfter = 2 * time.Second

// statusOf is the status of a code; of one that is not on the wire, that of a
// fault.
func statusOf(code postbox.Code) int {
	if status, known := statuses[code]; known {
		return status
	}
	return http.StatusInternalServerError
}

// refuse answers with an error.
func refuse(w http.ResponseWriter, r *http.Request, err *postbox.Error) {
	refuseWith(w, r, statusOf(err.Code), err)
}

// refuseWith answers with an error and a status that its code does not tell.
func refuseWith(w http.ResponseWriter, r *http.Request, status int, err *postbox.Error) {
	refuseAs(w, r, status, err, "")
}

// refuseAs repeats the request_id of the body, if there was one.
func refuseAs(w http.ResponseWriter, r *http.Request, status int, err *postbox.Error, id string) {
	if id == "" {
		id = requestID(r)
	}
	h := w.Header()
	switch status {
	case http.StatusUnauthorized:
		challenge(h, r)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if h.Get("Retry-After") == "" {
			setRetryAfter(h, retryAfter)
		}
	}
	writeJSON(w, status, api.AppendError(nil, err, id))
}

// setRetryAfter rounds up to whole seconds.
func setRetryAfter(h http.Header, d time.Duration) {
	h.Set("Retry-After", strconv.Itoa(max(int((d+time.Second-1)/time.Second), 1)))
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	// Without it the answer would go out in chunks, and the last one in a write of
	// its own.
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
