package web

import (
	"log/slog"
	"net/http"
	"time"
)

// NewServer wraps a handler in a server with timeouts: a peer that sends its
// header slowly, or is silent, does not hold a connection.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
