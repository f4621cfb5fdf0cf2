package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postbox"
)

// What login keeps is closed to others, and what commands print has nothing of it.
func TestLoginKeepsSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newPerson(t, "alice")
	var all strings.Builder
	run := func(code int, stdin string, args ...string) string {
		t.Helper()
		o := p.run(stdin, args...)
		all.WriteString(o.out + o.err)
		if o.code != code {
			t.Errorf("postbox %q: exit %d, want %d\n%s%s", args, o.code, code, o.out, o.err)
		}
		return o.out
	}
	run(exitFailed, "", "conversations")
	run(exitFailed, "not it\n", "login", "--url", w.http, "alice")
	run(exitUsage, secret, "login", "--url", w.http, "No Name")
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret+"\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(exitDone, "", "login", "--url", w.http, "alice", "--password-file", file); got != "logged in as alice at "+w.http+"\n" {
		t.Errorf("login prints %q", got)
	}
	kept := filepath.Join(p.dir, "postbox", "logins", "default.json")
	before, err := loginFile{"default", kept}.load()
	if err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{kept: 0o600, filepath.Dir(kept): 0o700 | os.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, mode)
		}
	}
	run(exitDone, "", "send", "alice", "a note")
	// Logging in again, at the same server, ends the login before.
	run(exitDone, secret, "login", "alice")
	w.ends(before.AccessToken)
	now, err := loginFile{"default", kept}.load()
	if err != nil {
		t.Fatal(err)
	}
	// Several logins, under names.
	run(exitDone, secret, "login", "--url", w.http, "--profile", "bob", "bob")
	if got := run(exitDone, "", "send", "alice", "from bob", "--profile", "bob"); !strings.HasPrefix(got, "sent") {
		t.Errorf("as bob: %q", got)
	}
	if got := run(exitDone, "", "history", "--with", "bob"); !strings.Contains(got, "bob  from bob") {
		t.Errorf("as alice: %q", got)
	}
	run(exitUsage, "", "conversations", "--profile", "../bob")
	// A token goes to the server that has made it, and nowhere else.
	run(exitFailed, "", "conversations", "--url", "http://127.0.0.1:1")
	run(exitDone, "", "logout")
	if _, err := os.Stat(kept); err == nil {
		t.Error("the login is still there after logout")
	}
	run(exitFailed, "", "logout")
	w.ends(now.AccessToken)
	for _, hidden := range []string{secret, before.AccessToken, before.RefreshToken, now.AccessToken, now.RefreshToken} {
		if strings.Contains(all.String(), hidden) {
			t.Errorf("a secret was printed:\n%s", all.String())
		}
	}
}

// ends waits until a token is not good any more.
func (w *world) ends(token string) {
	w.t.Helper()
	server := newRemote(w.http, fixed("Bearer "+token))
	defer server.close()
	for range 600 {
		_, err := server.do(w.t.Context(), call{name: "me", request: struct{}{}}, nil)
		if errors.Is(err, postbox.ErrUnauthenticated) {
			return
		}
		if err != nil || pause(w.t.Context(), 50*time.Millisecond) != nil {
			w.t.Fatal(err)
		}
	}
	w.t.Error("the token is still good")
}

// Scripts say who they are by the environment, which counts before a login.
func TestCredentialsFromEnvironment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.person("alice")
	whom := func() string {
		t.Helper()
		p.ok("", "send", "carol", "who is it?")
		got := p.ok("", "history", "--with", "carol", "--limit", "1")
		return strings.Fields(got)[3]
	}
	if got := whom(); got != "alice" {
		t.Errorf("by login: %s", got)
	}
	p.env = map[string]string{"POSTBOX_USER": "bob", "POSTBOX_PASSWORD": secret}
	if got := whom(); got != "bob" {
		t.Errorf("by password: %s", got)
	}
	tokens := newPerson(t, "bob")
	tokens.env = p.env
	tokens.ok("", "login", "--url", w.http)
	saved, err := loginFile{"default", filepath.Join(tokens.dir, "postbox", "logins", "default.json")}.load()
	if err != nil {
		t.Fatal(err)
	}
	p.env = map[string]string{"POSTBOX_URL": w.http, "POSTBOX_TOKEN": saved.AccessToken}
	if got := whom(); got != "bob" {
		t.Errorf("by token: %s", got)
	}
	// Where there is no place for settings at all, as in a container.
	var out, errs bytes.Buffer
	g := p.globals("", &out, &errs)
	g.ConfigDir = func() (string, error) { return "", errors.New("there is no home") }
	if code := g.run(t.Context(), []string{"conversations"}); code != exitDone {
		t.Errorf("without a home: exit %d, %s", code, errs.String())
	}
	p.env = map[string]string{"POSTBOX_PASSWORD": secret}
	p.fails(exitUsage, "POSTBOX_USER", "conversations")
	p.env = map[string]string{"POSTBOX_USER": "bob"}
	p.fails(exitFailed, "that of alice", "conversations")
	p.env = map[string]string{"POSTBOX_PROFILE": "none"}
	p.fails(exitFailed, "not logged in", "conversations")
}

// Where a password may go, and where not.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"http://127.0.0.1:8080/":          "http://127.0.0.1:8080",
		"http://localhost:8080":           "http://localhost:8080",
		"http://[::1]:8080":               "http://[::1]:8080",
		"localhost:8080":                  "http://localhost:8080",
		"chat.example.org":                "https://chat.example.org",
		"https://chat.example.org/postb/": "https://chat.example.org/postb",
		"http://chat.example.org":         "",
		"http://127.0.0.1.example.org":    "",
		"http://192.168.1.5:8080":         "",
		"https://alice:x@example.org":     "",
		"ftp://example.org":               "",
		"https://example.org?x=1":         "",
		"https://":                        "",
	} {
		got, err := baseOf(address, false)
		var usage usageError
		if got != want || (want == "") != errors.As(err, &usage) {
			t.Errorf("%s: %q, %v; want %q", address, got, err, want)
		}
		if strings.HasPrefix(address, "http://") {
			if _, err := baseOf(address, true); err != nil {
				t.Errorf("%s with --insecure: %v", address, err)
			}
		}
	}
}

// A server that sends elsewhere gets no further, and neither does what it is no
// Postbox.
func TestStrangeServers(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer other.Close()
	answers := map[string]http.HandlerFunc{
		"sends elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		},
		"is no Postbox": http.NotFound,
		"does not understand": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<html>"))
		},
		`refused: \x1b[2J`: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"error":{"code":"refused","message":"\u001b[2J"}}`))
		},
	}
	for want, answer := range answers {
		server := httptest.NewServer(answer)
		defer server.Close()
		p := newPerson(t, "alice")
		p.env = map[string]string{"POSTBOX_URL": server.URL, "POSTBOX_TOKEN": "a.b.c"}
		p.fails(exitFailed, want, "conversations")
	}
	if asked.Load() > 0 {
		t.Error("the token went to another server")
	}
	p := newPerson(t, "alice")
	p.env = map[string]string{"POSTBOX_URL": "http://127.0.0.1:1", "POSTBOX_TOKEN": "a.b.c"}
	p.fails(exitFailed, "no server answers at http://127.0.0.1:1", "tail")
	p.fails(exitFailed, "no server answers at http://127.0.0.1:1", "send", "bob", "x")
}

// A server that has no time is asked again when it says so.
func TestAskedAgain(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	keys := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			Key string `json:"idempotency_key"`
		}
		_ = json.NewDecoder(r.Body).Decode(&request)
		keys <- request.Key
		switch asked.Add(1) {
		case 1:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(`{"error":{"code":"rate_limited","message":"slowly"}}`))
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			panic(http.ErrAbortHandler) // the answer is lost
		default:
			_, _ = w.Write([]byte(`{"id":"x","seq":1}`))
		}
	}))
	defer server.Close()
	p := newPerson(t, "alice")
	p.env = map[string]string{"POSTBOX_URL": server.URL, "POSTBOX_TOKEN": "a.b.c"}
	began := time.Now()
	if got := p.ok("", "send", "bob", "x"); got != "sent: #1 x\n" {
		t.Error(got)
	}
	if took := time.Since(began); asked.Load() != 4 || took < time.Second {
		t.Errorf("asked %d times in %v, want 4 in a second at least", asked.Load(), took)
	}
	first := <-keys
	for range 3 {
		if key := <-keys; key != first || key == "" {
			t.Errorf("asked again with the key %q, before with %q", key, first)
		}
	}
	asked.Store(2)
	p.fails(exitFailed, "did not arrive", "rooms", "join", "dev") // which may have happened
}

// Processes that renew the same login at the same time do not end it: each of them
// goes on with what any of them has got.
func TestRenewedByMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := newPerson(t, "alice")
	alice.ok(secret+"\n", "login", "--url", slowRefreshes(t, w.http), "alice")
	file := loginFile{"default", filepath.Join(alice.dir, "postbox", "logins", "default.json")}
	first, err := file.load()
	if err != nil {
		t.Fatal(err)
	}
	// Each of these opens the file and its lock by itself, as a process does.
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 8 {
				saved, err := file.load()
				if err != nil {
					t.Error(err)
					return
				}
				server := file.open(saved)
				again, err := server.creds.renew(t.Context(), "Bearer "+saved.AccessToken)
				if err == nil {
					_, err = server.do(t.Context(), call{name: "me", request: struct{}{}}, nil)
				}
				server.close()
				if err != nil || !again {
					t.Errorf("renewed %v: %v", again, err)
					return
				}
			}
		})
	}
	group.Wait()
	last, err := file.load()
	if err != nil || last.RefreshToken == first.RefreshToken {
		t.Errorf("nothing was renewed: %v", err)
	}

	// Real ones, all of which find a token that has to be renewed.
	last.RenewAt = time.Now().Add(-time.Minute)
	if err := file.save(last); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		group.Go(func() {
			var out, errs bytes.Buffer
			cmd := alice.process("rooms", "--json")
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Run(); err != nil {
				t.Errorf("%v\n%s", err, errs.String())
			}
		})
	}
	group.Wait()
	if now, err := file.load(); err != nil || now.RefreshToken == last.RefreshToken || time.Until(now.RenewAt) < time.Minute {
		t.Errorf("the processes have not renewed it: %v", err)
	}
	alice.ok("", "conversations")
}

// slowRefreshes is the server by a way on which every other answer with new tokens is
// late: it arrives when others have been given, if there are any. Who keeps such tokens
// in the place of theirs has lost the login.
func slowRefreshes(t *testing.T, to string) string {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	var asked, answered atomic.Int64
	way := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/refresh" {
			proxy.ServeHTTP(w, r)
			return
		}
		late := asked.Add(1)%2 == 0
		answer := httptest.NewRecorder()
		proxy.ServeHTTP(answer, r)
		enough := answered.Add(1) + 5
		for range 15 {
			if !late || answered.Load() >= enough || pause(r.Context(), 10*time.Millisecond) != nil {
				break
			}
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	t.Cleanup(way.Close)
	return way.URL
}

// A login that was ended elsewhere says so.
func TestLoginEndedElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.person("alice")
	if err := w.store.EndTokens(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	alice.fails(exitFailed, "log in again", "conversations")
	alice.ok("", "logout")
}

// Who logs in elsewhere, or as somebody else, under the name of a login that a command
// still uses ends that command: no token goes to a server that has not made it, and
// nobody reads on in another inbox.
func TestLoginReplacedMeanwhile(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	file := loginFile{"default", filepath.Join(t.TempDir(), "default.json")}
	mine := savedLogin{URL: server.URL, User: "alice", AccessToken: "a", RefreshToken: "r"}
	for want, other := range map[string]savedLogin{
		"alice at http://127.0.0.1:1,": {URL: "http://127.0.0.1:1", User: "alice", AccessToken: "b", RefreshToken: "s", RenewAt: time.Now().Add(time.Hour)},
		"bob at " + server.URL + ",":   {URL: server.URL, User: "bob", AccessToken: "b", RefreshToken: "s"},
	} {
		remote := file.open(mine)
		if err := file.save(other); err != nil {
			t.Fatal(err)
		}
		if again, err := remote.creds.renew(t.Context(), "Bearer a"); again || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("renewed %v, %v; want an error with %q", again, err, want)
		}
		// RenewAt of mine is long ago: a request renews first.
		if _, err := remote.do(t.Context(), call{name: "me", request: struct{}{}}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("asked: %v; want an error with %q", err, want)
		}
		remote.close()
	}
	if asked.Load() > 0 {
		t.Error("a token went to the server")
	}
}

// Ctrl-C in the middle of a renewal does not lose the new tokens, and a completion
// renews nothing.
func TestRenewalIsKept(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var renewed atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v1/refresh":
			renewed.Add(1)
			interrupt()
			_, _ = w.Write([]byte(`{"user":"alice","access_token":"b","expires_in":3600,"refresh_token":"s"}`))
		case r.Header.Get("Authorization") != "Bearer b":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":{"code":"unauthenticated","message":"the token has ended"}}`))
		}
	}))
	defer server.Close()
	p := newPerson(t, "alice")
	file, err := serverFlags{}.kept(p.globals("", nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file.path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := file.save(savedLogin{URL: server.URL, User: "alice", AccessToken: "a", RefreshToken: "r"}); err != nil {
		t.Fatal(err)
	}
	if got := p.ok("", "__complete", "--", "send", ""); renewed.Load() > 0 {
		t.Errorf("a completion has renewed the login, and gives %q", got)
	}
	if code := p.globals("", io.Discard, io.Discard).run(ctx, []string{"conversations"}); code != exitFailed || ctx.Err() == nil {
		t.Errorf("exit %d of what was interrupted", code)
	}
	if saved, err := file.load(); err != nil || saved.RefreshToken != "s" {
		t.Errorf("kept is %q, %v; want the new refresh token", saved.RefreshToken, err)
	}
	// Without anybody who waits it ends all the same.
	short, done := outlasting(ctx, time.Millisecond)
	defer done()
	select {
	case <-short.Done():
	case <-time.After(patience):
		t.Error("what outlasts its context does not end")
	}
}
