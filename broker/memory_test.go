package broker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"postbox"
	"postbox/hooks"
	"postbox/inbox"
	"postbox/store"
)

// memory is what the database does for connections, in memory and in no time:
// for tests that go through so many of them that a database would be most of the
// work. Everybody may write to themselves only.
type memory struct {
	mu       sync.Mutex // guards the fields below
	users    map[string]postbox.UserID
	names    map[postbox.UserID]string
	sessions map[string]*store.Session
	last     postbox.DeviceID
	logs     map[postbox.UserID][]*postbox.Entry
	keys     map[string]postbox.Stored
	sent     map[string]postbox.SentPublish
	faults   []string // what must not happen
}

func newMemory(users ...string) *memory {
	m := &memory{users: make(map[string]postbox.UserID), names: make(map[postbox.UserID]string)}
	for i, name := range users {
		m.users[name], m.names[postbox.UserID(i+1)] = postbox.UserID(i+1), name
	}
	m.forget()
	return m
}

// forget begins anew, with the same users, and returns what went wrong.
func (m *memory) forget() (faults []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	faults, m.faults = m.faults, nil
	m.sessions = make(map[string]*store.Session)
	m.logs = make(map[postbox.UserID][]*postbox.Entry)
	m.keys = make(map[string]postbox.Stored)
	m.sent = make(map[string]postbox.SentPublish)
	return faults
}

func (m *memory) fault(format string, args ...any) {
	m.faults = append(m.faults, fmt.Sprintf(format, args...))
}

// Authenticate implements hooks.Accounts.
func (m *memory) Authenticate(_ context.Context, c hooks.Credentials) (hooks.Identity, error) {
	id, known := m.users[c.User]
	if !known || string(c.Password) != memoryPassword {
		return hooks.Identity{}, postbox.ErrUnauthenticated
	}
	return hooks.Identity{ID: id, Name: postbox.User(c.User)}, nil
}

const memoryPassword = "correct horse"

// MayWrite is hooks.Options.MayWrite.
func (m *memory) MayWrite(_ context.Context, to postbox.RouteKey) error {
	if m.users[string(to.To)] != to.Sender {
		return postbox.ErrForbidden
	}
	return nil
}

// silence are hooks.Signals that nobody hears.
type silence struct{}

// Signal implements hooks.Signals.
func (silence) Signal(context.Context, *postbox.Signal) error { return nil }

// Listen implements hooks.Signals.
func (silence) Listen(postbox.UserID, inbox.Listener) {}

// Leave implements hooks.Signals.
func (silence) Leave(postbox.UserID, inbox.Listener) {}

func sessionKey(user postbox.UserID, device string) string { return fmt.Sprint(user, " ", device) }

// OpenSession implements hooks.Sessions.
func (m *memory) OpenSession(_ context.Context, r store.SessionRequest) (store.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := r.Will; w != nil && m.users[string(w.To)] != r.User {
		m.fault("a will of %s to %s", m.names[r.User], w.To)
	}
	k := sessionKey(r.User, r.ClientID)
	old := m.sessions[k]
	if r.Clean {
		delete(m.sessions, k)
		old = nil
	}
	if old != nil {
		s := *old
		s.Present, s.Open = true, true
		return s, nil
	}
	if r.Life == 0 {
		return store.Session{Cursor: -1}, nil
	}
	m.last++
	s := &store.Session{Device: m.last, Cursor: -1, Epoch: r.Epoch}
	m.sessions[k] = s
	return *s, nil
}

func (m *memory) session(d postbox.DeviceID, change func(*store.Session)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sessions {
		if s.Device == d {
			change(s)
		}
	}
}

// CloseSession implements hooks.Sessions.
func (m *memory) CloseSession(_ context.Context, closed store.Session, life time.Duration, known postbox.MessageID) error {
	d := closed.Device
	m.session(d, func(s *store.Session) { s.Known = known })
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, s := range m.sessions {
		if s.Device == d && life == 0 {
			delete(m.sessions, k)
		}
	}
	return nil
}

// SaveSubscription implements hooks.Sessions.
func (m *memory) SaveSubscription(_ context.Context, d postbox.DeviceID, sub store.Subscription) error {
	_ = m.DeleteSubscriptions(context.Background(), d, []string{sub.Filter})
	m.session(d, func(s *store.Session) { s.Subscriptions = append(s.Subscriptions, sub) })
	return nil
}

// DeleteSubscriptions implements hooks.Sessions.
func (m *memory) DeleteSubscriptions(_ context.Context, d postbox.DeviceID, filters []string) error {
	m.session(d, func(s *store.Session) {
		var kept []store.Subscription
		for _, sub := range s.Subscriptions {
			gone := false
			for _, f := range filters {
				gone = gone || f == sub.Filter
			}
			if !gone {
				kept = append(kept, sub)
			}
		}
		s.Subscriptions = kept
	})
	return nil
}

// SetCursor implements hooks.Sessions.
func (m *memory) SetCursor(_ context.Context, d postbox.DeviceID, epoch postbox.Epoch, at postbox.InboxSeq) error {
	m.session(d, func(s *store.Session) { s.Epoch, s.Cursor = epoch, at })
	return nil
}

// SentPublish implements hooks.Records.
func (m *memory) SentPublish(_ context.Context, user postbox.UserID, device string, id uint16, _ postbox.MessageID, _ postbox.InboxSeq,
) (*postbox.SentPublish, postbox.InboxSeq, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p, ok := m.sent[fmt.Sprint(sessionKey(user, device), " ", id)]; ok {
		return &p, 0, nil
	}
	return nil, 0, nil
}

// OpenPublishes implements hooks.Records: none is open after its connection.
func (m *memory) OpenPublishes(context.Context, postbox.DeviceID) ([]postbox.SentPublish, error) {
	return nil, nil
}

// DueWills implements hooks.Wills: none is ever due.
func (m *memory) DueWills(context.Context, store.Will, int) ([]store.Will, error) { return nil, nil }

// ReleaseWill implements hooks.Wills.
func (m *memory) ReleaseWill(context.Context, postbox.MessageID, time.Duration) error { return nil }

// DropWill implements hooks.Wills.
func (m *memory) DropWill(context.Context, postbox.MessageID) error { return nil }

// PositionSince implements hooks.Lineage: there is one epoch only.
func (m *memory) PositionSince(context.Context, postbox.UserID, postbox.Position) (postbox.InboxSeq, bool, error) {
	return 0, false, nil
}

// Ahead implements hooks.Lineage.
func (m *memory) Ahead(context.Context) {}
