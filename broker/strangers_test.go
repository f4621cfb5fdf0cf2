package broker_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"postbox/configs"
)

// behindUs trusts requests of this machine to say where they come from.
func behindUs(w *world) {
	w.config.Proxy.Trusted, w.config.Proxy.MQTTHeader = []string{"127.0.0.1"}, configs.MQTTHeaderNone
}

// Nobody can tell by the time that it takes whether there is a user.
func TestUnknownUsersTakeAsLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, behindUs)
	h := w.overHTTP(t)
	took := map[string][]time.Duration{}
	alice := w.user("alice")
	disabled, none := w.user("disabled"), w.user("none")
	w.exec(`UPDATE postbox.users SET disabled_at = now() WHERE name = $1`, disabled)
	w.exec(`UPDATE postbox.users SET password_hash = '' WHERE name = $1`, none)
	for n := range 13 {
		for name, user := range map[string]string{"known": alice, "unknown": "nobody", "disabled": disabled, "without a password": none} {
			h.from = fmt.Sprintf("10.0.%d.%d", len(took[name]), n) // wrong passwords of one would be slowed
			began := time.Now()
			status, reply := h.askAs("", "login", jsonOf(map[string]any{"user": user, "password": fmt.Sprint("wrong", n)}))
			took[name] = append(took[name], time.Since(began))
			if e, _ := reply["error"].(map[string]any); status != http.StatusUnauthorized || e["message"] != "the user name or the password is wrong" {
				t.Fatalf("%s: %d %v", name, status, reply)
			}
		}
	}
	median := func(name string) time.Duration { slices.Sort(took[name]); return took[name][len(took[name])/2] }
	known := median("known")
	for name := range took {
		if m := median(name); m > 4*known || m < known/4 { // without the hash it would be a twentieth
			t.Errorf("%s takes %v, a known user %v", name, m, known)
		}
	}
}

// Who guesses at Bob's password from one address is slowed there, and keeps Bob out
// from nowhere; the same for those who guess at tokens that stand in an address.
func TestGuessingKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, behindUs)
	h := w.overHTTP(t)
	bob := w.user("bob")
	h.from = "192.0.2.1"
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	stop := make(chan struct{})
	enough := sync.OnceFunc(func() { close(stop) })
	for n := range 30 {
		wg.Go(func() {
			for {
				status, _ := h.askAs("", "login", jsonOf(map[string]any{"user": bob, "password": fmt.Sprint("guess", n)}))
				mu.Lock()
				statuses[status]++
				mu.Unlock()
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	defer wg.Wait()
	defer enough()
	await(t, "guesses that are refused", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return statuses[http.StatusTooManyRequests] > 5
	})
	bobs := *h
	bobs.from = "192.0.2.2"
	began := time.Now()
	bobs.login(bob, "")
	if took := time.Since(began); took > atOnce {
		t.Errorf("bob is let in after %v", took)
	}
	enough()
	wg.Wait()
	delete(statuses, http.StatusServiceUnavailable) // on a busy machine some wait for their turn in vain
	if statuses[http.StatusUnauthorized] > 30 || len(statuses) > 2 {
		t.Errorf("the guesses were answered with %v", statuses)
	}
	// Where the guesses come from, too, once his password is known to the server.
	began = time.Now()
	h.login(bob, "")
	if took := time.Since(began); took > atOnce {
		t.Errorf("from the address of the guesses, after %v", took)
	}
}

// Requests without authentication count for their address.
func TestStrangersAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, behindUs, func(w *world) { w.config.Limits.ConnectRate = 2 })
	h := w.overHTTP(t)
	refused := func(from string) (n int) {
		t.Helper()
		h.from = from
		for range 30 {
			status, reply := h.askAs("", "refresh", `{"refresh_token":"x"}`)
			switch {
			case status == http.StatusTooManyRequests && codeOf(reply) == "rate_limited":
				n++
			case status != http.StatusUnauthorized:
				t.Fatalf("%d %v", status, reply)
			}
		}
		return n
	}
	if n := refused("192.0.2.1"); n == 0 || n > 10 {
		t.Errorf("%d of 30 were refused, want about 10: 20 at once", n)
	}
	if n := refused("192.0.2.2"); n > 10 {
		t.Errorf("%d of another address's were refused", n)
	}
}
