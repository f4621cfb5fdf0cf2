package hooks

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postbox"
)

// sight notes what it is asked. It locks: synctest.Wait orders what came before
// it for the race detector, and a Sleep orders nothing after it.
type sight struct {
	mu    sync.Mutex
	asked []postbox.UserID // Viewers of whom
	away  error            // of Viewers
	seen  []postbox.UserID
}

func (s *sight) Visible(context.Context, postbox.UserID, []postbox.User) ([]postbox.PresenceState, error) {
	return nil, nil
}

func (s *sight) Viewers(_ context.Context, user postbox.UserID) ([]postbox.UserID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, user)
	return nil, s.away
}

func (s *sight) NoteSeen(_ context.Context, users []postbox.UserID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, users...)
	return nil
}

// told returns how often it was asked for viewers.
func (s *sight) told() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// comeBack ends the outage.
func (s *sight) comeBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = nil
}

// keepPresence runs a hook, with one device that watches all, until end.
func keepPresence(t *testing.T, s *sight) (h *Hook, end func()) {
	h = &Hook{o: Options{Sight: s, Logger: slog.New(slog.DiscardHandler), AwaySince: func() time.Time { return time.Time{} }}}
	h.registry.init()
	h.presence.init(presenceGrace)
	h.registry.watch(watchesAll, &client{who: Identity{ID: 9}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.KeepPresence(ctx)
	}()
	return h, func() {
		cancel()
		<-ended
	}
}

// A user who comes back within the grace was never away; one who stays away is
// seen to go once.
func TestPresenceHasAGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &sight{}
		h, end := keepPresence(t, s)
		step := func(what string, d time.Duration, online bool, told int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if h.Online("alice") != online || s.told() != told {
				t.Errorf("%s: online %v, told %d times; want %v, %d", what, h.Online("alice"), s.told(), online, told)
			}
		}
		step("before", 0, false, 0)
		h.Arrived(1, "alice")
		step("phone arrives", 0, true, 1)
		h.Arrived(1, "alice")
		h.Left("alice")
		step("laptop comes and goes", time.Hour, true, 1)
		h.Left("alice")
		step("phone is gone", presenceGrace-time.Millisecond, true, 1)
		h.Arrived(1, "alice")
		step("and back", time.Hour, true, 1)
		h.Left("alice")
		step("for good", presenceGrace, false, 2)
		end()
		if !slices.Contains(s.seen, 1) {
			t.Error("it was not noted when she was seen")
		}
	})
}

// Who came while the database was away is told when it is back.
func TestPresenceIsToldAfterAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &sight{away: postbox.ErrUnavailable}
		h, end := keepPresence(t, s)
		h.Arrived(1, "alice")
		time.Sleep(time.Minute)
		synctest.Wait()
		before := s.told()
		s.comeBack()
		time.Sleep(time.Minute)
		synctest.Wait()
		told := s.told()
		time.Sleep(time.Minute)
		synctest.Wait()
		if told != before+1 || s.told() != told {
			t.Errorf("asked %d times while it was away, then %d and %d more: want 1 and 0", before, told-before, s.told()-told)
		}
		end()
	})
}
