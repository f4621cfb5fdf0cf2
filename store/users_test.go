package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
	"postbox/store"
)

func (w *world) user(name postbox.User) store.User {
	w.t.Helper()
	u, err := w.store.UserByName(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

func TestUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "bob")
	id, err := w.store.AddUser(t.Context(), "alice", "hash", true)
	if err != nil {
		t.Fatal(err)
	}
	u := w.user("alice")
	if u.ID != id || u.Name != "alice" || u.PasswordHash != "hash" || !u.Admin || u.DisabledAt.Valid || u.ErasedAt.Valid || time.Since(u.CreatedAt) > time.Minute {
		t.Errorf("%+v", u)
	}
	if _, err := w.store.AddUser(t.Context(), "alice", "other", false); !errors.Is(err, postbox.ErrConflict) {
		t.Errorf("twice: %v", err)
	}
	if _, err := w.store.AddUser(t.Context(), "Not A Name", "", false); err == nil || errors.Is(err, postbox.ErrUnavailable) {
		t.Errorf("a bad name: %v", err)
	}
	if _, err := w.store.UserByName(t.Context(), "carol"); !errors.Is(err, postbox.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	if err := w.store.AddUsers(t.Context(), []postbox.User{"load1", "alice", "load2", "load1"}, "shared"); err != nil {
		t.Fatal(err)
	}
	if w.user("alice").PasswordHash != "hash" || w.user("load2").PasswordHash != "shared" {
		t.Error("existing users must stay as they are, new ones have the password")
	}
	// An erased account keeps its name, and is not listed.
	w.exec(`UPDATE postbox.users SET erased_at = now() WHERE name = 'load1'`)
	if _, err := w.store.AddUser(t.Context(), "load1", "", false); !errors.Is(err, postbox.ErrConflict) {
		t.Errorf("an erased one's name: %v", err)
	}
	if !w.user("load1").ErasedAt.Valid {
		t.Error("not shown as erased")
	}
	all, err := w.store.Users(t.Context())
	var names []postbox.User
	for _, u := range all {
		names = append(names, u.Name)
	}
	if diff := cmp.Diff([]postbox.User{"alice", "bob", "load2"}, names); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	if n := w.number(`SELECT count(*) FROM postbox.users u JOIN postbox.heads l ON l.id = u.id AND l.head = 0`); n != 4 {
		t.Errorf("%d users have an inbox", n)
	}
}

func TestSetPasswordEndsTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice")
	if age := w.user("alice").TokensValidAfter.Unix(); age != 0 {
		t.Errorf("at first tokens are valid after %d", age)
	}
	if err := w.store.SetPassword(t.Context(), "alice", "new"); err != nil {
		t.Fatal(err)
	}
	u := w.user("alice")
	if since := time.Since(u.TokensValidAfter); u.PasswordHash != "new" || since < 0 || since > time.Minute {
		t.Errorf("%+v", u)
	}
	// A renewed hash is of the same password: tokens stay, and a password that
	// was changed meanwhile too.
	if err := w.store.RenewPassword(t.Context(), u.ID, "new", "stronger"); err != nil {
		t.Fatal(err)
	}
	if err := w.store.RenewPassword(t.Context(), u.ID, "new", "stale"); err != nil {
		t.Fatal(err)
	}
	if again := w.user("alice"); again.PasswordHash != "stronger" || !again.TokensValidAfter.Equal(u.TokensValidAfter) {
		t.Errorf("%+v", again)
	}
}

func TestSetDisabled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice")
	w.disable("alice", true)
	first := w.user("alice").DisabledAt
	w.disable("alice", true)
	if again := w.user("alice").DisabledAt; !first.Valid || again != first {
		t.Errorf("disabled at %v, then %v", first, again)
	}
	w.disable("alice", false)
	if at := w.user("alice").DisabledAt; at.Valid {
		t.Errorf("still disabled, %v", at)
	}
	w.exec(`UPDATE postbox.users SET erased_at = now()`)
	for _, name := range []postbox.User{"nobody", "alice"} {
		if err := w.store.SetDisabled(t.Context(), name, true); !errors.Is(err, postbox.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.store.SetPassword(t.Context(), name, "x"); !errors.Is(err, postbox.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := w.number(`SELECT count(*) FROM postbox.control`); n != 3 {
		t.Errorf("%d events of 3 changes", n)
	}
}
