package web

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/google/uuid"

	"postbox"
)

// Headers of the contract.
const (
	headerRequestID = "X-Request-Id"
	headerKey       = "Idempotency-Key"
)

// requestIDKey is the key of a request's id in its context.
type requestIDKey struct{}

func requestID(r *http.Request) string {
	id, _ := r.Context().Value(requestIDKey{}).(string)
	return id
}

// observe gives each request an id, the peer's if it is well formed, which is
// in the answer and in the log; and makes of a panic a fault of ours.
func (a *API) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(headerRequestID)
		if !wellFormed(id) {
			id = uuid.NewString()
		}
		h := w.Header()
		h.Set(headerRequestID, id)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		r = r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
		seen := &watched{ResponseWriter: w}
		began := time.Now()
		defer func() {
			fault := recover()
			if fault == nil {
				a.o.Logger.Debug("request", "method", r.Method, "path", r.URL.Path, "status", seen.status, "took", time.Since(began), "request_id", id)
				return
			}
			if fault == http.ErrAbortHandler {
				panic(fault)
			}
			a.o.Logger.Error("a request failed", "error", fmt.Sprint(fault), "stack", string(debug.Stack()), "path", r.URL.Path, "request_id", id)
			if seen.status != 0 {
				panic(http.ErrAbortHandler) // the answer has begun: the peer must see that it is not whole
			}
			refuse(w, r, postbox.AsError(fmt.Errorf("panic: %v", fault)))
		}()
		next.ServeHTTP(seen, r)
	})
}

// wellFormed reports whether a request id may be repeated and logged.
func wellFormed(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for i := 0; i < len(id); i++ {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return true
}

// watched is a response that tells whether it has begun.
type watched struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *watched) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *watched) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }
