package hooks

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"postbox"
)

// sight notes what it is asked.
type sight struct {
	asked []postbox.UserID // Viewers of whom
	away  error            // of Viewers
	seen  []postbox.UserID
}

func (s *sight) Visible(context.Context, postbox.UserID, []postbox.User) ([]postbox.PresenceState, error) {
	return nil, nil
}

func (s *sight) Viewers(_ context.Context, user postbox.UserID) ([]postbox.UserID, error) {
	s.asked = append(s.asked, user)
	return nil, s.away
}

func (s *sight) NoteSeen(_ context.Context, users []postbox.UserID) error {
	s.seen = append(s.seen, users...)
	return nil
}

// A user who comes back within the grace was never away; one who stays away is
// seen to go once.
func TestPresenceHasAGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &sight{}
		h := &Hook{o: Options{Sight: s, Logger: slog.New(slog.DiscardHandler), AwaySince: func() time.Time { return time.Time{} }}}
		h.registry.init()
		h.presence.init(presenceGrace)
		h.registry.watch(watchesAll, &client{who: Identity{ID: 9}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			h.KeepPresence(ctx)
		}()
		step := func(what string, d time.Duration, online bool, told int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if h.Online("alice") != online || len(s.asked) != told {
				t.Errorf("%s: online %v, told %d times; want %v, %d", what, h.Online("alice"), len(s.asked), online, told)
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
		if !slices.Contains(s.seen, 1) {
			t.Error("it was not noted when she was seen")
		}
		cancel()
		<-ended
	})
}

// Who came while the database was away is told when it is back.
func TestPresenceIsToldAfterAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &sight{away: postbox.ErrUnavailable}
		h := &Hook{o: Options{Sight: s, Logger: slog.New(slog.DiscardHandler), AwaySince: func() time.Time { return time.Time{} }}}
		h.registry.init()
		h.presence.init(presenceGrace)
		h.registry.watch(watchesAll, &client{who: Identity{ID: 9}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			h.KeepPresence(ctx)
		}()
		h.Arrived(1, "alice")
		time.Sleep(time.Minute)
		synctest.Wait()
		before := len(s.asked)
		s.away = nil
		time.Sleep(time.Minute)
		synctest.Wait()
		told := len(s.asked)
		time.Sleep(time.Minute)
		synctest.Wait()
		if told != before+1 || len(s.asked) != told {
			t.Errorf("asked %d times while it was away, then %d and %d more: want 1 and 0", before, told-before, len(s.asked)-told)
		}
		cancel()
		<-ended
	})
}
