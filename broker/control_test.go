package broker_test

import (
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/auth"
	"postbox/broker"
	"postbox/internal/mqtttest"
)

// dismissals are what another process does to an account so that those who are
// logged in have to go.
func (w *world) dismissals(t *testing.T) map[string]func(postbox.User) error {
	t.Helper()
	hash, err := passwordHash()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]func(postbox.User) error{
		"disable":  func(u postbox.User) error { return w.store.SetDisabled(t.Context(), u, true) },
		"password": func(u postbox.User) error { return w.store.SetPassword(t.Context(), u, hash) },
	}
}

// What another process does to an account takes effect on its connections
// within a second, and on nobody else's.
func TestControl(t *testing.T) {
	w := sharedWorld(t)
	for name, do := range w.dismissals(t) {
		versions(t, func(t *testing.T, v byte) {
			alice, bob := w.user("alice"), w.user("bob")
			conns := []*wire{
				w.connect(t, durable(v, alice, "phone")),
				w.connect(t, login{version: v, user: alice, id: "laptop", clean: true}),
			}
			other := w.connect(t, login{version: v, user: bob, id: "phone"})
			began := time.Now()
			if err := do(postbox.User(alice)); err != nil {
				t.Fatal(err)
			}
			for _, c := range conns {
				if reason := c.Ended(); v == 5 && reason != packets.ErrAdministrativeAction.Code {
					t.Errorf("%s: ended with %#x, want 0x98", name, reason)
				}
			}
			// A second; the machine may be busy with other tests.
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%s took effect after %v", name, took)
			}
			other.Quiet()
			_, ack := w.login(t, login{version: v, user: alice, id: "phone"})
			want := byte(0)
			if name == "disable" {
				want = code(v, 5, 0x8a)
			}
			if ack.ReasonCode != want {
				t.Errorf("%s: then CONNACK %#x, want %#x", name, ack.ReasonCode, want)
			}
			if err := w.store.SetDisabled(t.Context(), postbox.User(alice), false); err != nil {
				t.Fatal(err)
			}
			w.connect(t, login{version: v, user: alice, id: "phone"})
		})
	}
}

// A user who is disabled while a CONNECT is being served is not let in, or
// ended at once.
func TestDisabledWhileConnecting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	witness := w.connect(t, login{version: 5, user: alice, id: "witness"})
	l := durable(5, alice, "phone")
	w.connect(t, l).Leave()

	// The CONNECT has checked the account, and waits for its session.
	tx, err := w.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	release := sync.OnceFunc(func() { _ = tx.Rollback() })
	t.Cleanup(release)
	if _, err := tx.Exec(`SELECT 1 FROM postbox.devices WHERE client_id = 'phone' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	c := w.dial(t)
	c.Version = 5
	c.Send(l.packet())
	w.awaitBlocked(1)
	if err := w.store.SetDisabled(t.Context(), postbox.User(alice), true); err != nil {
		t.Fatal(err)
	}
	witness.Ended() // the server has heard of it
	release()

	_ = c.Net.SetReadDeadline(time.Now().Add(3 * time.Second))
	for {
		pk, err := mqtttest.Decode(c.In, 5)
		if err != nil {
			break
		}
		if pk.FixedHeader.Type == packets.Connack && pk.ReasonCode != 0 {
			return
		}
	}
	if _, err := c.Net.Write([]byte{0xc0, 0}); err == nil {
		_ = c.Net.SetReadDeadline(time.Now().Add(time.Second))
		if pk, err := mqtttest.Decode(c.In, 5); err == nil {
			t.Errorf("a disabled user is connected, and gets a %s", packets.PacketNames[pk.FixedHeader.Type])
		}
	}
}

func (w *world) tokens(t *testing.T) *auth.Tokens {
	t.Helper()
	tokens, err := broker.OpenTokens(t.Context(), w.store)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// An access token is a password for its user, until it ends.
func TestToken(t *testing.T) {
	w := sharedWorld(t)
	tokens := w.tokens(t)
	versions(t, func(t *testing.T, v byte) {
		alice, bob := w.user("alice"), w.user("bob")
		issue := func(user string, purpose auth.Purpose, life time.Duration) string {
			t.Helper()
			token, _, err := tokens.Issue(postbox.User(user), purpose, life)
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
		good := issue(alice, auth.PurposeAccess, time.Hour)
		for name, test := range map[string]struct {
			user, token string
			three, five byte
		}{
			"with the name":  {alice, good, 0, 0},
			"another's name": {bob, good, 4, 0x86},
			"another use":    {alice, issue(alice, "refresh", time.Hour), 4, 0x86},
			"unknown user":   {"", issue("nobody", auth.PurposeAccess, time.Hour), 4, 0x86},
			"forged":         {alice, good[:len(good)-4] + "AAAA", 4, 0x86},
		} {
			_, ack := w.login(t, login{version: v, user: test.user, password: test.token, id: "phone"})
			if want := code(v, test.three, test.five); ack.ReasonCode != want {
				t.Errorf("%s: CONNACK %#x, want %#x", name, ack.ReasonCode, want)
			}
		}
		c := w.connect(t, login{version: v, password: good, id: "phone"}) // no name at all
		c.say("inbox/"+bob, "by token")
		if n := w.stored(alice, "by token"); n != 1 {
			t.Errorf("stored %d times as the token's user", n)
		}

		began := time.Now()
		c = w.connect(t, login{version: v, password: issue(alice, auth.PurposeAccess, time.Second), id: "laptop"})
		if reason := c.Ended(); v == 5 && reason != packets.ErrMaxConnectTime.Code {
			t.Errorf("ended with %#x, want 0xa0", reason)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("a token of 1 s lasted %v", took)
		}

		// A changed password ends the tokens issued before.
		hash, _ := passwordHash()
		if err := w.store.SetPassword(t.Context(), postbox.User(alice), hash); err != nil {
			t.Fatal(err)
		}
		w.exec(`UPDATE postbox.users SET tokens_valid_after = now() + interval '1 second' WHERE name = $1`, alice)
		if _, ack := w.login(t, login{version: v, password: good, id: "phone"}); ack.ReasonCode != code(v, 4, 0x86) {
			t.Errorf("an ended token: CONNACK %#x", ack.ReasonCode)
		}
	})
}
