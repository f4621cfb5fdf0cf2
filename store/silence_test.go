package store_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postbox"
	"postbox/store"
)

// mute is a network before PostgreSQL that can stop carrying answers.
type mute struct {
	on   atomic.Bool
	work sync.WaitGroup
}

// newMute starts a mute network and returns it with the URL behind it.
func newMute(t *testing.T, address, query string) (*mute, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	network, target := "tcp", u.Host
	if host := q.Get("host"); host != "" {
		network, target = "unix", filepath.Join(host, ".s.PGSQL."+q.Get("port"))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mute{}
	m.work.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, target)
			if err != nil {
				_ = client.Close()
				continue
			}
			m.work.Go(func() {
				_, _ = io.Copy(server, client)
				_ = server.Close()
			})
			m.work.Go(func() {
				_, _ = io.Copy(m.filter(client), server)
				_ = client.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		m.work.Wait()
	})
	q.Del("host")
	q.Del("port")
	q.Set("sslmode", "disable")
	u.Host, u.RawQuery = listener.Addr().String(), q.Encode()+query
	return m, u.String()
}

// filter drops what comes while the network is mute.
func (m *mute) filter(w io.Writer) io.Writer { return muted{m, w} }

type muted struct {
	m *mute
	w io.Writer
}

func (f muted) Write(p []byte) (int, error) {
	if f.m.on.Load() {
		return len(p), nil
	}
	return f.w.Write(p)
}

// Whoever has a deadline is told in time, though the database says nothing, not
// even that it has gone; and it goes on when the network does.
func TestSilence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice")
	// Without its deadline a statement would wait for 30 seconds.
	m, address := newMute(t, w.url, "&statement_timeout=20000&connect_timeout=2")
	s, err := store.Open(store.Options{URL: address})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.on.Store(true)
	// First on the connection that is there, then on new ones.
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		began := time.Now()
		_, err := s.UserByName(ctx, "alice")
		if took := time.Since(began); !errors.Is(err, postbox.ErrUnavailable) || took > 15*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		cancel()
	}
	m.on.Store(false)
	if _, err := s.UserByName(t.Context(), "alice"); err != nil {
		t.Errorf("after the silence: %v", err)
	}
}
