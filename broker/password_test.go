package broker_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
)

const renewedPassword = "battery staple"

// changed is the request that changes the common password.
func changed() string { return jsonOf(map[string]any{"old": password, "new": renewedPassword}) }

// everything is what a user has open, by each way, with the old password and with
// tokens that it gave.
type everything struct {
	t       *testing.T
	h       *callers
	conns   []*wire
	streams []*events
	waits   chan int
	pairs   []tokenPair
	tokens  []string
}

func (w *world) openEverything(t *testing.T, h *callers, user string) *everything {
	t.Helper()
	e := &everything{t: t, h: h, waits: make(chan int, 1), pairs: []tokenPair{h.login(user, "app"), h.login(user, "")}}
	issued, _, err := w.tokens(t).Issue(postbox.User(user), "access", time.Hour) // as the command line does
	if err != nil {
		t.Fatal(err)
	}
	e.tokens = []string{e.pairs[0].access, e.pairs[1].access, issued}
	for i, token := range append([]string{password}, e.tokens...) {
		for _, v := range []byte{4, 5} {
			e.conns = append(e.conns, w.connect(t, login{version: v, user: user, id: fmt.Sprint("device", i, v), password: token}))
		}
		header := basic(user, password)
		if i > 0 {
			header = bearer(token)
		}
		e.streams = append(e.streams, h.streamAs(header, ""))
		token := h.mustAs(header, "stream_token", `{}`)["token"]
		e.streams = append(e.streams, h.streamAs("", fmt.Sprint("?token=", token)))
	}
	ws := w.overWebSocket(t)
	if ack := ws.login(login{version: 5, user: user, id: "page"}); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	e.conns = append(e.conns, ws)
	go func() {
		status, _ := h.ask(user, "sync", `{"after":0,"wait":60}`)
		e.waits <- status
	}()
	return e
}

// mustEnd waits until all of it has ended, for the reason 0x98; began is when the
// change was made.
func (e *everything) mustEnd(began time.Time) {
	e.t.Helper()
	for _, c := range e.conns {
		if reason := c.Ended(); c.Version == 5 && reason != packets.ErrAdministrativeAction.Code {
			e.t.Errorf("a connection ended with %#x, want 0x98", reason)
		}
	}
	for _, s := range e.streams {
		if entry, ok := s.next(); ok {
			e.t.Errorf("a stream goes on with %+v", entry)
		}
	}
	if status := <-e.waits; status != http.StatusUnauthorized {
		e.t.Errorf("the request that waited has %d", status)
	}
	if took := time.Since(began); took > atOnce {
		e.t.Errorf("it took effect after %v", took)
	}
	e.mustBeOver()
}

// mustBeOver checks that no token counts.
func (e *everything) mustBeOver() {
	e.t.Helper()
	for _, p := range e.pairs {
		if _, status := e.h.refresh(p.refresh); status != http.StatusUnauthorized {
			e.t.Errorf("a refresh token: %d", status)
		}
	}
	for _, token := range e.tokens {
		if status, _ := e.h.askAs(bearer(token), "me", `{}`); status != http.StatusUnauthorized {
			e.t.Errorf("an access token: %d", status)
		}
	}
}

// A user who changes the password is asked for the old one, and ends by that all that
// it has opened, but the MQTT connection that asks. What is answered lets in again.
func TestPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.StreamsPerUser = 20 })
	h := w.overHTTP(t)
	for _, by := range []string{"HTTP", "MQTT", "MQTT by token"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			alice, bob := w.user("alice"), w.user("bob")
			h := *h
			h.t = t
			open := w.openEverything(t, &h, alice)
			other := w.connect(t, login{version: 5, user: bob, id: "phone", clean: true})
			own := login{version: 5, user: alice, id: "own", clean: true}
			if by == "MQTT by token" {
				own.password = h.login(alice, "own").access
			}
			c := w.connect(t, own)
			ask := func(request string) map[string]any {
				t.Helper()
				if by == "HTTP" {
					_, reply := h.ask(alice, "password", request)
					return reply
				}
				return c.call(alice, "password", request)
			}
			for request, want := range map[string]string{
				`{"old":"wrong","new":"long enough"}`:                                "forbidden",
				jsonOf(map[string]any{"old": password, "new": "short"}):              "invalid",
				jsonOf(map[string]any{"old": password}):                              "invalid",
				jsonOf(map[string]any{"old": password, "new": "12345678", "x": "y"}): "invalid",
			} {
				if reply := ask(request); codeOf(reply) != want {
					t.Errorf("%s: %v, want %s", request, reply, want)
				}
			}
			for _, c := range open.conns {
				c.Quiet()
			}
			if by == "HTTP" {
				open.conns = append(open.conns, c)
			}
			pair := pairOf(t, ask(changed()))
			open.mustEnd(time.Now())
			if by != "HTTP" {
				c.Quiet()
				if reply := c.call(alice, "me", `{}`); reply["user"] != alice {
					t.Errorf("the connection that asked: %v", reply)
				}
			}
			other.Quiet()
			if status, _ := h.ask(alice, "me", `{}`); status != http.StatusUnauthorized {
				t.Errorf("the old password: %d", status)
			}
			h.mustAs(basic(alice, renewedPassword), "me", `{}`)
			h.mustAs(bearer(pair.access), "me", `{}`)
			w.connect(t, login{version: 4, password: pair.access, id: "app"})
			if _, status := h.refresh(pair.refresh); status != http.StatusOK {
				t.Errorf("the new refresh token: %d", status)
			}
		})
	}
}

// While a password is changed, nobody gets by with the old one what lives on: what was
// let in before ends, and what comes later is refused.
func TestPasswordChangedWhileLoggingIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.RequestRate = 0 })
	h := w.overHTTP(t)
	alice := w.user("alice")
	h.must(alice, "me", `{}`) // the password is remembered: no login waits for argon2
	var mu sync.Mutex
	var pairs []tokenPair
	var streams []string
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				status, reply := h.askAs("", "login", jsonOf(map[string]any{"user": alice, "password": password}))
				if status != http.StatusOK {
					return
				}
				p := tokenPair{fmt.Sprint(reply["access_token"]), fmt.Sprint(reply["refresh_token"])}
				next, _ := h.refresh(p.refresh)
				_, byPassword := h.ask(alice, "stream_token", `{}`)
				_, byToken := h.askAs(bearer(p.access), "stream_token", `{}`)
				mu.Lock()
				pairs = append(pairs, p)
				if next.access != "" {
					pairs = append(pairs, next)
				}
				for _, reply := range []map[string]any{byPassword, byToken} {
					if token, is := reply["token"].(string); is {
						streams = append(streams, token)
					}
				}
				mu.Unlock()
			}
		})
	}
	await(t, "some logins", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(pairs) > 20
	})
	last := pairOf(t, h.must(alice, "password", changed()))
	wg.Wait()
	close(stop)
	status := func(query string) int {
		t.Helper()
		answer, err := http.Get(h.url + "/v1/stream" + query)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	await(t, "the end of the last ones", func() bool {
		for _, p := range pairs {
			if status, _ := h.askAs(bearer(p.access), "me", `{}`); status != http.StatusUnauthorized {
				return false
			}
		}
		for _, token := range streams {
			if status("?token="+token) != http.StatusUnauthorized {
				return false
			}
		}
		return true
	})
	for _, p := range pairs {
		if _, status := h.refresh(p.refresh); status != http.StatusUnauthorized {
			t.Errorf("a refresh token of the old password: %d", status)
		}
	}
	h.mustAs(bearer(last.access), "me", `{}`)
	t.Logf("%d pairs and %d stream tokens of the old password", len(pairs), len(streams))
}
