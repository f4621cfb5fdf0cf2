package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postbox"
)

// guess checks a wrong password and reports whether it was checked at all.
func guess(t *testing.T, v *Verifier, from Origin) bool {
	t.Helper()
	got, err := v.CheckFrom(t.Context(), from, cheapHash("right"), "wrong")
	switch {
	case errors.Is(err, postbox.ErrRateLimited):
		return false
	case err != nil || got.OK:
		t.Fatalf("CheckFrom = %+v, %v", got, err)
	}
	return true
}

// However many wrong passwords come at once, few are computed; nobody from
// elsewhere notices, nor who is remembered, and nobody is locked out.
func TestGuessesAreSlowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := NewVerifier(VerifierOptions{})
		computed := countComputations(v)
		mallory := Origin{User: "bob", Address: "192.0.2.1"}
		if got, err := v.CheckFrom(t.Context(), mallory, cheapHash("kept"), "kept"); err != nil || !got.OK {
			t.Fatalf("CheckFrom = %+v, %v", got, err)
		}
		began := time.Now()
		var guesses sync.WaitGroup
		for range 1000 {
			guesses.Go(func() { guess(t, v, mallory) })
		}
		guesses.Wait()
		if n, took := computed.Load()-1, time.Since(began); n < userBurst || n > userBurst+4 || took > 2*guessPatience {
			t.Errorf("%d of 1000 guesses were computed in %v, want %d and what %v gives", n, took, userBurst, guessPatience)
		}
		for range 20 { // the queue is as long as it may be
			_ = guess(t, v, mallory)
		}
		before := computed.Load()
		for name, from := range map[string]Origin{
			"another user of the address": {User: "carol", Address: "192.0.2.1"},
			"the user from elsewhere":     {User: "bob", Address: "192.0.2.2"},
		} {
			began := time.Now()
			if !guess(t, v, from) || time.Since(began) > time.Second {
				t.Errorf("%s waits %v", name, time.Since(began))
			}
		}
		began = time.Now()
		if got, err := v.CheckFrom(t.Context(), mallory, cheapHash("kept"), "kept"); err != nil || !got.OK || time.Since(began) > 0 {
			t.Errorf("a remembered password: %+v, %v after %v", got, err, time.Since(began))
		}
		if n := computed.Load() - before; n != 2 {
			t.Errorf("%d computations, want 2", n)
		}
		time.Sleep(userPause) // she is quiet for a moment: bob is let in from her address
		if got, err := v.CheckFrom(t.Context(), mallory, cheapHash("right"), "right"); err != nil || !got.OK {
			t.Errorf("the right password after the flood: %+v, %v", got, err)
		}
	})
}

// An address that tries one password on many users is slowed too; so is a /64.
func TestGuessesForManyUsers(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(n int) string{
		"IPv4":       func(int) string { return "192.0.2.1" },
		"IPv6, a 64": func(n int) string { return fmt.Sprintf("2001:db8::%x", n+1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				v := NewVerifier(VerifierOptions{})
				began := time.Now()
				for n := range 2 * addressBurst {
					if !guess(t, v, Origin{User: fmt.Sprint("user", n), Address: address(n)}) {
						t.Fatal("refused although nothing waits")
					}
				}
				if took, want := time.Since(began), addressBurst*addressPause; took < want || took > want+time.Second {
					t.Errorf("%d guesses took %v, want %v", 2*addressBurst, took, want)
				}
			})
		})
	}
}

// The devices of an office that come back all at once with right passwords wait
// for their turns only.
func TestRightPasswordsAreNotSlowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := NewVerifier(VerifierOptions{Remember: -1})
		began := time.Now()
		var devices sync.WaitGroup
		for n := range 500 {
			devices.Go(func() {
				from := Origin{User: fmt.Sprint("user", n%20), Address: "192.0.2.1"}
				if got, err := v.CheckFrom(context.Background(), from, cheapHash("right"), "right"); err != nil || !got.OK {
					t.Errorf("CheckFrom = %+v, %v", got, err)
				}
			})
		}
		devices.Wait()
		if took := time.Since(began); took > 0 {
			t.Errorf("they waited %v", took)
		}
	})
}

// What is remembered of guessers is bounded.
func TestGuessersAreForgotten(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	g := wrongPasswords(func() time.Time { return now })
	for n := range 2 * maxGuessers {
		g.failed(Origin{User: "bob", Address: fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)})
		if n == maxGuessers {
			now = now.Add(time.Hour)
		}
	}
	if n := len(g.all); n > maxGuessers {
		t.Errorf("%d origins are remembered, want at most %d", n, maxGuessers)
	}
}

// Of the accounts that are made from one address at once only so many are, and the
// others are told to come again; other addresses notice nothing.
func TestRegistrationsAreSlowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := NewVerifier(VerifierOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nothing is computed
		made := func(address string) bool {
			t.Helper()
			_, err := v.HashFrom(ctx, address, "long enough")
			if limited := errors.Is(err, postbox.ErrRateLimited); !limited && !errors.Is(err, postbox.ErrUnavailable) {
				t.Fatalf("HashFrom: %v", err)
			}
			return !errors.Is(err, postbox.ErrRateLimited)
		}
		n := 0
		for range 200 {
			if made("2001:db8::1") {
				n++
			}
		}
		if n != registerBurst || made("2001:db8::2") {
			t.Errorf("%d of 200 were made, want %d and none from the same network", n, registerBurst)
		}
		if !made("192.0.2.1") {
			t.Error("another address has to wait, too")
		}
		time.Sleep(registerPause)
		if !made("2001:db8::1") || made("2001:db8::1") {
			t.Errorf("not exactly one more after %v", registerPause)
		}
	})
}
