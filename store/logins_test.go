package store_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"postbox"
	"postbox/auth"
	"postbox/store"
)

// login begins one of a user.
func (w *world) login(user postbox.User, device string) (auth.RefreshToken, store.Begun) {
	w.t.Helper()
	token, begun, err := w.tryLogin(user, w.user(user).PasswordHash, device)
	if err != nil {
		w.t.Fatal(err)
	}
	return token, begun
}

func (w *world) tryLogin(user postbox.User, hash, device string) (auth.RefreshToken, store.Begun, error) {
	token := auth.NewRefreshToken()
	begun, err := w.store.BeginLogin(w.t.Context(), w.ids[user], hash, store.NewLogin{
		Family: token.Family(), TokenHash: token.Hash(), Device: device, Life: time.Hour,
	})
	return token, begun, err
}

func (w *world) renew(token auth.RefreshToken) (store.Renewed, error) {
	salt := auth.NewSalt()
	return w.store.RenewLogin(w.t.Context(), store.Renewal{
		Family: token.Family(), Hash: token.Hash(), Salt: salt, Next: token.Next(salt).Hash(), Life: time.Hour,
	})
}

// Who logs in, or renews tokens, while the password is being changed waits for that,
// and is then refused: nothing of the old password is younger than the change.
func TestLoginWaitsForAChangeOfThePassword(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(*world, auth.RefreshToken) error{
		"login":   func(w *world, _ auth.RefreshToken) error { _, _, err := w.tryLogin("alice", "old", ""); return err },
		"renewal": func(w *world, token auth.RefreshToken) error { _, err := w.renew(token); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "alice")
			w.exec(`UPDATE postbox.users SET password_hash = 'old'`)
			token, _ := w.login("alice", "")
			// The change stands still behind its lock of the user's row: it waits for a
			// row that it deletes.
			tx, err := w.store.DB().BeginTxx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback() }()
			if _, err := tx.ExecContext(t.Context(), `SELECT 1 FROM postbox.logins FOR KEY SHARE`); err != nil {
				t.Fatal(err)
			}
			changed, acted := make(chan error, 1), make(chan error, 1)
			go func() { changed <- w.store.SetPassword(context.WithoutCancel(t.Context()), "alice", "new") }()
			w.awaitWaiting(1)
			go func() { acted <- act(w, token) }()
			w.awaitWaiting(2)
			_ = tx.Rollback()
			if err := <-changed; err != nil {
				t.Fatal(err)
			}
			if err := <-acted; !errors.Is(err, postbox.ErrUnauthenticated) {
				t.Errorf("then %v, want unauthenticated", err)
			}
			if n := w.number(`SELECT count(*) FROM postbox.logins`); n != 0 {
				t.Errorf("%d logins live on", n)
			}
		})
	}
}

// awaitWaiting waits until n connections wait for a lock.
func (w *world) awaitWaiting(n int) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if w.number(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) >= n {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("waited in vain for %d connections that wait for a lock", n)
		}
	}
}

// A user has so many logins: with one more the one longest unused ends, and the servers
// are told which.
func TestLoginsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice", "bob")
	w.login("bob", "his")
	first, begun := w.login("alice", "first")
	w.exec(`INSERT INTO postbox.logins (user_id, family, token_hash, expires_at)
		SELECT $1, uuid_send(gen_random_uuid()), '', now() + interval '1 hour' FROM generate_series(2, $2)`, w.ids["alice"], store.MaxLogins)
	second, _ := w.login("alice", "last")
	if _, err := w.renew(first); !errors.Is(err, postbox.ErrUnauthenticated) {
		t.Errorf("the oldest login: %v", err)
	}
	if _, err := w.renew(second); err != nil {
		t.Errorf("the newest login: %v", err)
	}
	all, err := w.store.Logins(t.Context(), w.ids["alice"])
	if err != nil || len(all) != store.MaxLogins || all[0].Device != "last" {
		t.Errorf("%d logins, %v", len(all), err)
	}
	if n := w.number(`SELECT count(*) FROM postbox.control WHERE kind = 'login' AND user_id = $1 AND subject = $2::text`, w.ids["alice"], begun.Login); n != 1 {
		t.Errorf("the servers are told %d times", n)
	}
	if n := w.number(`SELECT count(*) FROM postbox.logins WHERE user_id = $1`, w.ids["bob"]); n != 1 {
		t.Errorf("bob has %d logins", n)
	}
}

// Nothing that is kept of a login or an invitation lets anybody in.
func TestNothingKeptIsASecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "alice")
	first, _ := w.login("alice", "")
	d, err := w.renew(first)
	if err != nil {
		t.Fatal(err)
	}
	code := auth.NewInviteCode()
	if _, err := w.store.AddInvite(t.Context(), auth.InviteHash(code), "", 1, time.Hour); err != nil {
		t.Fatal(err)
	}
	var kept string
	const all = `SELECT string_agg(t, ' ') FROM (SELECT l::text AS t FROM postbox.logins l UNION ALL SELECT i::text FROM postbox.invites i) x`
	if err := w.store.DB().Get(&kept, all); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]auth.RefreshToken{"spent": first, "next": first.Next(d.Salt)} {
		secret := token.Secret()
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(secret, "pbr_"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(kept, secret[len(secret)-20:]) || strings.Contains(kept, hex.EncodeToString(raw[len(raw)-16:])) {
			t.Errorf("the %s token is kept as it is", name)
		}
	}
	if strings.Contains(kept, code) {
		t.Error("the code of an invitation is kept as it is")
	}
}
