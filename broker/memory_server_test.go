package broker

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"postbox"
	"postbox/configs"
	"postbox/hooks"
	"postbox/inbox"
)

// MemoryServer, for the tests of both packages, is a server as New makes it, with Mochi, the hook, the door, the
// hub and a lane, on a memory in the place of a database.
type MemoryServer struct {
	*memory
	mochi *mqtt.Server
	hook  *hooks.Hook
	hub   *inbox.Hub
	lane  *inbox.Lane
	door  *door
	lines lines
}

// lines keeps what a server logs as errors.
type lines struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// take returns what was logged since the last call.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// NewMemoryServer starts one, with these users.
func NewMemoryServer(tb testing.TB, users ...string) *MemoryServer {
	tb.Helper()
	s := &MemoryServer{memory: newMemory(users...)}
	log := slog.New(slog.NewTextHandler(&s.lines, &slog.HandlerOptions{Level: slog.LevelError}))
	c := configs.Default()
	c.Limits.PublishRate, c.Limits.PacketRate, c.Limits.ConnectRate = 0, 0, 0
	limits := limitsOf(c)
	const epoch = postbox.Epoch("only")
	s.hub = inbox.NewHub(s, epoch, log)
	s.lane = inbox.NewLane(inbox.LaneOptions{Appender: s, Router: s, Hub: s.hub, Logger: log})
	s.mochi = newMochi(c, log)
	s.hook = hooks.New(s.mochi, hooks.Options{
		Accounts: s, Sessions: s, Records: s, Mail: s.hub, Wills: s, Epoch: epoch, Lineage: s, Operations: s, Sight: s, Signals: silence{}, Limits: limits, Logger: log,
		MayWrite: s.MayWrite, AwaySince: func() time.Time { return time.Time{} },
		LaneOf: func(postbox.UserID) hooks.Lane { return s.lane },
	})
	if err := s.mochi.AddHook(s.hook, nil); err != nil {
		tb.Fatal(err)
	}
	s.door = newDoor(s.mochi, s.hook, c.Limits, log)
	s.hook.Admit(true)
	s.hub.Start()
	s.lane.Start(context.Background())
	if err := s.mochi.Serve(); err != nil {
		tb.Fatal(err)
	}
	return s
}

// stop ends the server, which must not take long.
func (s *MemoryServer) stop(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for i, end := range []func(context.Context) error{s.door.close, s.lane.Shutdown, s.hub.Shutdown} {
		if err := end(ctx); err != nil {
			tb.Errorf("end of the %s: %v", []string{"door", "lane", "hub"}[i], err)
		}
	}
	_ = s.mochi.Close()
}

// Listen serves what comes by TCP until the end of the test.
func (s *MemoryServer) Listen(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() { s.door.accept(l, entrance{name: "tcp"}) })
	t.Cleanup(func() {
		_ = l.Close()
		work.Wait()
		s.stop(t)
	})
	return l.Addr().String()
}

// Logged is what was logged as errors since the last call.
func (s *MemoryServer) Logged() string { return s.lines.take() }

// Faults are what the memory was asked for that it should not have been.
func (s *MemoryServer) Faults() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// Leftovers says what is left of connections that have all ended.
func (s *MemoryServer) Leftovers() []string { return leftovers(s.door, s.mochi, s.hook, s.hub) }

// PacketsRead is how many packets Mochi has read.
func (s *MemoryServer) PacketsRead() int64 { return s.mochi.Info.Clone().PacketsReceived }
