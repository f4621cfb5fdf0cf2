package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"postbox"
	"postbox/web"
)

func get(t *testing.T, s *httptest.Server, path string) (int, string) {
	t.Helper()
	r, err := s.Client().Get(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

// Health is of the process, readiness of what it needs; strangers learn no
// more than that.
func TestPrivate(t *testing.T) {
	t.Parallel()
	var fault atomic.Pointer[error]
	s := httptest.NewServer(web.NewPrivate(web.PrivateOptions{Ready: func(ctx context.Context) error {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("the question to the database is not bounded")
		}
		if err := fault.Load(); err != nil {
			return *err
		}
		return nil
	}}))
	defer s.Close()
	for range 2 {
		if status, body := get(t, s, "/readyz"); status != http.StatusOK || body != "ready\n" {
			t.Errorf("/readyz: %d %q", status, body)
		}
		err := errors.New("dial postgres://app:s3cret@db: refused")
		fault.Store(&err)
		if status, body := get(t, s, "/readyz"); status != http.StatusServiceUnavailable || body != "the database is away\n" {
			t.Errorf("/readyz while it is away: %d %q", status, body)
		}
		if status, body := get(t, s, "/healthz"); status != http.StatusOK || body != "ok\n" {
			t.Errorf("/healthz: %d %q", status, body)
		}
		told := error(fmt.Errorf("look: %w", postbox.Errorf(postbox.CodeUnavailable, "the server is shutting down")))
		fault.Store(&told)
		if status, body := get(t, s, "/readyz"); status != http.StatusServiceUnavailable || body != "the server is shutting down\n" {
			t.Errorf("/readyz with a reason: %d %q", status, body)
		}
		fault.Store(nil)
	}
	for path, want := range map[string]int{
		"/debug/pprof/": 200, "/debug/pprof/goroutine?debug=1": 200, "/debug/pprof/cmdline": 200, "/mqtt": 404, "/": 404,
	} {
		if status, _ := get(t, s, path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
}

// A database that does not answer makes the server unready, not the question
// endless.
func TestReadyIsBounded(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(web.NewPrivate(web.PrivateOptions{Ready: func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}}))
	defer s.Close()
	began := time.Now()
	if status, _ := get(t, s, "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("status %d", status)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A server has bounds for those who send their header slowly, or too much.
func TestServerBounds(t *testing.T) {
	t.Parallel()
	s := web.NewServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if s.ReadHeaderTimeout <= 0 || s.IdleTimeout <= 0 {
		t.Errorf("header timeout %v, idle timeout %v", s.ReadHeaderTimeout, s.IdleTimeout)
	}
	s.ReadHeaderTimeout = 100 * time.Millisecond // the mechanism, not its length
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = s.Serve(l); close(done) }()
	defer func() { _ = s.Close(); <-done }()
	slow, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := io.WriteString(slow, "GET / HTTP/1.1\r\nHost:"); err != nil {
		t.Fatal(err)
	}
	_ = slow.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(slow); err != nil {
		t.Errorf("a slow header: %v, want the end", err)
	}
}
