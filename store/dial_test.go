package store_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"postbox"
	"postbox/store"
)

// Who does not wait any more for a connection to a database that accepts it and
// says nothing is let go at once, and the connection with it.
func TestStartOfAConnectionIsAbandoned(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s, err := store.Open(store.Options{URL: "postgres://postbox@" + listener.Addr().String() + "/postbox?sslmode=disable&connect_timeout=60&statement_timeout=60000"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Ping(ctx) }()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err != nil { // its greeting has come
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, postbox.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want that the database is away, and why nobody waited", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it still waits")
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for buffer := make([]byte, 1<<10); err == nil; {
		_, err = conn.Read(buffer)
	}
	if isTimeout(err) {
		t.Error("the connection stays")
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
