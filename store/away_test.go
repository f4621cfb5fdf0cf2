package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"postbox"
	"postbox/store"
)

// While the database is away every method says so, in a way that tells "later"
// from "never", and works again by itself when it is back.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	wire, url := newWire(t, w.url)
	s := w.open(url)
	l := w.laneOf(s, 0)
	p := w.publish("alice", "bob", "x")
	device := w.session("alice", "phone").Device
	alice := w.ids["alice"]
	methods := map[string]func(ctx context.Context) error{
		"Ping":          func(ctx context.Context) error { return s.Ping(ctx) },
		"Own":           func(ctx context.Context) error { c, err := s.Own(ctx); return closed(c, err) },
		"Epoch":         func(ctx context.Context) error { _, err := s.Epoch(ctx); return err },
		"NewEpoch":      func(ctx context.Context) error { _, err := s.NewEpoch(ctx); return err },
		"OpenLane":      func(ctx context.Context) error { l, err := s.OpenLane(ctx, 9, errFenced); return closed(l, err) },
		"FenceLanes":    func(ctx context.Context) error { return s.FenceLanes(ctx) },
		"AddUsers":      func(ctx context.Context) error { return s.AddUsers(ctx, []postbox.User{"load"}, "") },
		"UserByName":    func(ctx context.Context) error { _, err := s.UserByName(ctx, "alice"); return err },
		"Users":         func(ctx context.Context) error { _, err := s.Users(ctx); return err },
		"SetPassword":   func(ctx context.Context) error { return s.SetPassword(ctx, "alice", "") },
		"RenewPassword": func(ctx context.Context) error { return s.RenewPassword(ctx, alice, "a", "b") },
		"SetDisabled":   func(ctx context.Context) error { return s.SetDisabled(ctx, "alice", false) },
		"SigningKeys": func(ctx context.Context) error {
			_, err := s.SigningKeys(ctx, store.SigningKey{ID: "k", Secret: []byte("s")})
			return err
		},
		"Recipients": func(ctx context.Context) error {
			_, err := s.Recipients(ctx, []postbox.RouteKey{{Sender: alice, To: "bob"}})
			return err
		},
		"MakeConversations": func(ctx context.Context) error {
			_, err := s.MakeConversations(ctx, []store.Pair{{alice, alice}})
			return err
		},
		"Head":    func(ctx context.Context) error { _, err := s.Head(ctx, alice); return err },
		"Entries": func(ctx context.Context) error { _, err := s.Entries(ctx, alice, 0, 9, 9); return err },
		"SaveCursors": func(ctx context.Context) error {
			return s.SaveCursors(ctx, []postbox.CursorSave{{User: alice, Device: device}})
		},
		"SetCursor": func(ctx context.Context) error { return s.SetCursor(ctx, device, "k3f9", 0) },
		"OpenSession": func(ctx context.Context) error {
			_, err := s.OpenSession(ctx, w.request("alice", "tablet"))
			return err
		},
		"CloseSession": func(ctx context.Context) error {
			return s.CloseSession(ctx, store.Session{Device: device}, hour, postbox.MessageID{})
		},
		"DisconnectAll": func(ctx context.Context) error { return s.DisconnectAll(ctx) },
		"ForgetExpired": func(ctx context.Context) error { return s.ForgetExpired(ctx) },
		"SaveSubscription": func(ctx context.Context) error {
			return s.SaveSubscription(ctx, device, store.Subscription{Filter: "inbox/alice"})
		},
		"DeleteSubscriptions": func(ctx context.Context) error { return s.DeleteSubscriptions(ctx, device, []string{"inbox/alice"}) },
		"SentPublish": func(ctx context.Context) error {
			_, _, err := s.SentPublish(ctx, alice, "phone", 1, postbox.MessageID{}, 0)
			return err
		},
		"OpenPublishes": func(ctx context.Context) error { _, err := s.OpenPublishes(ctx, device); return err },
		"Append": func(ctx context.Context) error {
			return l.Append(ctx, batch(w.draft(p.Message.Conversation, "alice", "bob", "y")))
		},
	}
	wire.close()
	for name, call := range methods {
		if name == "Append" {
			continue // a lane keeps the batch that it could not store: see below
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := call(ctx); !errors.Is(err, postbox.ErrUnavailable) {
			t.Errorf("%s, away: %v", name, err)
		}
		cancel()
	}
	b := batch(p)
	if err := l.Append(t.Context(), b); !errors.Is(err, postbox.ErrUnavailable) {
		t.Errorf("Append, away: %v", err)
	}
	wire.open()
	if err := w.persist(l, b); err != nil {
		t.Errorf("Append, back: %v", err)
	}
	w.agree(p)
	fence := methods["FenceLanes"] // after it the lane may append no more
	delete(methods, "FenceLanes")
	begin := methods["NewEpoch"] // after it the store may connect no more
	delete(methods, "NewEpoch")
	for name, call := range methods {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s, back: %v", name, err)
		}
	}
	if err := fence(t.Context()); err != nil {
		t.Errorf("FenceLanes, back: %v", err)
	}
	if err := l.Append(t.Context(), batch(w.publish("alice", "bob", "z"))); !errors.Is(err, errFenced) {
		t.Errorf("Append, fenced: %v", err)
	}
	if err := begin(t.Context()); err != nil {
		t.Errorf("NewEpoch, back: %v", err)
	}
	w.audit(2)
}

func closed(c interface{ Close() error }, err error) error {
	if err != nil {
		return err
	}
	return c.Close()
}
