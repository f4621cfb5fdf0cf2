package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postbox/configs"
	"postbox/internal/pgtest"
)

// exhausted fails its first accepts as a listener does that finds no free file
// descriptor.
type exhausted struct {
	net.Listener
	failures atomic.Int32
}

func (l *exhausted) Accept() (net.Conn, error) {
	if l.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// Accepting goes on after an error; Mochi's own listener would end for good.
func TestAcceptGoesOnAfterAnError(t *testing.T) {
	t.Parallel()
	c := configs.Default()
	c.Listen = configs.Listen{MQTT: "127.0.0.1:0", HTTP: "127.0.0.1:0", Private: "127.0.0.1:0"}
	s, err := New(t.Context(), Options{Config: c, DatabaseURL: pgtest.New(t), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	}()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &exhausted{Listener: inner}
	l.failures.Store(3)
	s.work.Go(func() { s.engine.door.accept(l, entrance{name: "tcp"}) })
	defer l.Close()

	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// An anonymous CONNECT of 3.1.1 is answered with 4.
	if _, err := conn.Write([]byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 1, 'x'}); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	answer := make([]byte, 4)
	if _, err := io.ReadFull(conn, answer); err != nil || answer[0] != 0x20 || answer[3] != 4 {
		t.Errorf("answered with % x, %v", answer, err)
	}
}

// A listener that was closed has no connections, though one was accepted just
// before: whoever closes it would wait for that one. Opened again it has some.
func TestClosedListenerHasNoConnections(t *testing.T) {
	t.Parallel()
	s := NewMemoryServer(t, "eve")
	defer s.stop(t)
	come := func() net.Conn {
		near, far := net.Pipe()
		t.Cleanup(func() { _ = near.Close() })
		go s.door.serve(far, entrance{name: "tcp"}, nil)
		_ = near.SetDeadline(time.Now().Add(5 * time.Second)) // a CONNECT has 10
		return near
	}
	s.door.hangUp("tcp")
	if _, err := come().Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a connection of a listener that is closed: %v, want its end", err)
	}
	s.door.open("tcp")
	conn := come()
	if _, err := conn.Write([]byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 1, 'x'}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil { // CONNACK
		t.Errorf("a connection of a listener that is open again: %v", err)
	}
}
