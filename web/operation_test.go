package web_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
	"postbox/api"
	"postbox/web"
)

// A stored send is 201, the same again 200; what only reads is to be had with
// GET, too, and says the same.
func TestOperations(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	first := s.post("alice", "send", `{"to":"bob","body":"hi","idempotency_key":"k","request_id":"r"}`)
	if first.StatusCode != http.StatusCreated || first.json["request_id"] != "r" {
		t.Errorf("send: %d %s", first.StatusCode, first.text)
	}
	if again := s.post("alice", "send", `{"to":"bob","body":"hi","idempotency_key":"k"}`); again.StatusCode != http.StatusOK || again.json["duplicate"] != true {
		t.Errorf("the same again: %d %s", again.StatusCode, again.text)
	}
	for post, get := range map[string]string{
		`history {"with":"bob"}`: "history?with=bob",
		`history {"with":"bob","limit":1,"before":2,"request_id":"a b"}`: "history?with=bob&limit=1&before=2&request_id=a+b",
		`sync {"after":0,"epoch":"k3f9"}`:                                "sync?after=0&epoch=k3f9",
		`profile {"users":["alice","bob","carol"]}`:                      "profile?users=alice,bob&users=carol",
		`presence {"users":["bob"]}`:                                     "presence?users=bob",
		`conversations {}`:                                               "conversations", `me {}`: "me", `devices {}`: "devices", `blocks {}`: "blocks",
	} {
		operation, body, _ := strings.Cut(post, " ")
		posted, got := s.post("alice", operation, body), s.request("GET", "/v1/"+get, nil, "")
		if posted.StatusCode != http.StatusOK || got.StatusCode != http.StatusOK || posted.text != got.text {
			t.Errorf("POST %s: %d %s\nGET %s: %d %s", post, posted.StatusCode, posted.text, get, got.StatusCode, got.text)
		}
	}
	if head := s.request("HEAD", "/v1/me", nil, ""); head.StatusCode != http.StatusOK || head.text != "" {
		t.Errorf("HEAD: %d %q", head.StatusCode, head.text)
	}
}

// What is wrong with a request decides the status; the body is always the error
// of the contract.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	id := s.say("alice", "bob", "hi")
	s.post("bob", "block", `{"user":"carol"}`)
	s.post("alice", "send", `{"to":"bob","body":"a","idempotency_key":"k"}`)
	plain := basic("alice")
	plain.Set("Content-Type", "text/plain")
	packed := basic("alice")
	packed.Set("Content-Encoding", "gzip")
	charset := basic("alice")
	charset.Set("Content-Type", "application/json; charset=utf-8")
	for _, test := range []struct {
		method, path string
		header       http.Header
		body         string
		status       int
		code         string
	}{
		{"POST", "/v1/history", nil, `{}`, 400, "invalid"},
		{"POST", "/v1/history", nil, ``, 400, "invalid"},
		{"POST", "/v1/me?x=1", nil, `{}`, 400, "invalid"},
		{"GET", "/v1/history?with=bob&with=carol", nil, "", 400, "invalid"},
		{"GET", "/v1/history?with=bob&limit=x", nil, "", 400, "invalid"},
		{"GET", "/v1/history?with=bob&limit=01", nil, "", 400, "invalid"},
		{"GET", "/v1/history?with=%ff", nil, "", 400, "invalid"},
		{"GET", "/v1/history?with=%zz", nil, "", 400, "invalid"},
		{"GET", "/v1/history?wit=bob", nil, "", 400, "invalid"},
		{"POST", "/v1/me", plain, `{}`, 415, "invalid"},
		{"POST", "/v1/me", packed, `{}`, 415, "invalid"},
		{"POST", "/v1/me", charset, `{}`, 200, ""},
		{"POST", "/v1/me", http.Header{}, `{}`, 401, "unauthenticated"},
		{"POST", "/v1/send", basic("carol"), `{"to":"bob","body":""}`, 403, "forbidden"},
		{"POST", "/v1/edit", basic("bob"), `{"id":"` + id + `","body":""}`, 403, "forbidden"},
		{"POST", "/v1/send", nil, `{"to":"nobody","body":""}`, 404, "not_found"},
		{"POST", "/v1/nothing", nil, `{}`, 404, "not_found"},
		{"GET", "/v1/", nil, "", 404, "not_found"},
		{"GET", "/v1/me/", nil, "", 404, "not_found"},
		{"GET", "/v1//me", nil, "", 404, "not_found"},
		{"GET", "/v1/x/../me", nil, "", 404, "not_found"},
		{"GET", "/v1/history/me", nil, "", 404, "not_found"},
		{"POST", "/v1/send", nil, `{"to":"bob","body":"b","idempotency_key":"k"}`, 409, "conflict"},
		{"GET", "/v1/sync?after=7", nil, "", 410, "epoch_changed"},
		{"POST", "/v1/send", nil, `{"to":"bob","body":"` + strings.Repeat("x", 65<<10) + `"}`, 413, "too_large"},
		{"POST", "/v1/send", nil, `{"to":"bob","body":"` + strings.Repeat("x", 300<<10) + `"}`, 413, "too_large"},
		{"GET", "/v1/send?to=bob&body=x", nil, "", 405, "invalid"},
		{"DELETE", "/v1/me", nil, "", 405, "invalid"},
		{"PUT", "/v1/send", nil, "{}", 405, "invalid"},
		{"POST", "/v1/stream", nil, "{}", 405, "invalid"},
		{"POST", "/v1/openapi.json", nil, "{}", 405, "invalid"},
	} {
		got := s.request(test.method, test.path, test.header, test.body)
		if got.StatusCode != test.status || got.code() != test.code {
			t.Errorf("%s %s %.60s: %d %s, want %d %s", test.method, test.path, test.body, got.StatusCode, got.text, test.status, test.code)
		}
		if allow := got.Header.Get("Allow"); (test.status == 405) != (allow != "") {
			t.Errorf("%s %s: Allow is %q", test.method, test.path, allow)
		}
	}
	for path, want := range map[string]string{
		"/v1/me": "GET, HEAD, POST, OPTIONS", "/v1/send": "POST, OPTIONS", "/v1/stream": "GET, OPTIONS", "/v1/docs": "GET, HEAD, OPTIONS",
	} {
		if got := s.request("OPTIONS", path, http.Header{}, ""); got.StatusCode != http.StatusNoContent || got.Header.Get("Allow") != want {
			t.Errorf("OPTIONS %s: %d, Allow %q, want %q", path, got.StatusCode, got.Header.Get("Allow"), want)
		}
	}
	if s.checker.Checked() < 30 {
		t.Errorf("only %d answers were held against the document", s.checker.Checked())
	}
}

// A body that announces no length is bounded as well, and one that never ends
// holds nothing.
func TestBodyIsBounded(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/v1/send", io.LimitReader(endless{}, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = basic("alice")
	r.Header.Set("Content-Type", "application/json")
	got, err := s.Client().Do(r)
	if err != nil {
		return // cut off while it was still sending, which is as well
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", got.StatusCode)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("x"), len(p))), nil }

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	header := basic("alice")
	header.Set("Idempotency-Key", "k")
	first := s.request("POST", "/v1/send", header, `{"to":"bob","body":"hi"}`)
	if first.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", first.StatusCode, first.text)
	}
	for body, want := range map[string]int{
		`{"to":"bob","body":"hi"}`: 200, `{"to":"bob","body":"hi","idempotency_key":"k"}`: 200,
		`{"to":"bob","body":"ho"}`: 409, `{"to":"bob","body":"hi","idempotency_key":"l"}`: 400,
	} {
		if got := s.request("POST", "/v1/send", header, body); got.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", body, got.StatusCode, got.text, want)
		}
	}
	header.Add("Idempotency-Key", "l")
	if got := s.request("POST", "/v1/send", header, `{"to":"bob","body":"hi"}`); got.StatusCode != 400 {
		t.Errorf("two keys: %d", got.StatusCode)
	}
	header.Set("Idempotency-Key", "")
	if got := s.request("POST", "/v1/send", header, `{"to":"bob","body":"hi"}`); got.StatusCode != 400 {
		t.Errorf("an empty key: %d", got.StatusCode)
	}
	header.Set("Idempotency-Key", "e")
	id := first.json["id"].(string)
	one := s.request("POST", "/v1/edit", header, `{"id":"`+id+`","body":"x"}`)
	two := s.request("POST", "/v1/edit", header, `{"id":"`+id+`","body":"x"}`)
	if one.json["duplicate"] != false || two.json["duplicate"] != true || !cmp.Equal(one.json["entry"], two.json["entry"]) {
		t.Errorf("edit: %s\nagain: %s", one.text, two.text)
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	token := s.accounts.token("alice", time.Now().Add(time.Hour))
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	withToken, wrongName := basic("alice"), basic("bob")
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth("alice", token)
	withToken.Set("Authorization", r.Header.Get("Authorization"))
	r.SetBasicAuth("bob", token)
	wrongName.Set("Authorization", r.Header.Get("Authorization"))
	twice := basic("alice")
	twice.Add("Authorization", "Bearer "+token)
	for name, test := range map[string]struct {
		header http.Header
		status int
	}{
		"password": {basic("alice"), 200}, "token": {bearer(token), 200}, "lower case": {http.Header{"Authorization": {"bearer  " + token}}, 200},
		"token as password": {withToken, 200}, "another's name": {wrongName, 401}, "nothing": {http.Header{}, 401},
		"no such user": {basic("nobody"), 401}, "no token": {bearer("alice-secret"), 401}, "forged": {bearer(token + "x"), 401},
		"twice": {twice, 401}, "another scheme": {http.Header{"Authorization": {"Digest x"}}, 401}, "a cookie": {http.Header{"Cookie": {"token=" + token}}, 401},
	} {
		if name == "no such user" {
			test.header.Set("Authorization", "Basic bm9ib2R5Ong=")
		}
		for _, path := range []string{"/v1/me", "/v1/stream?after=x"} {
			got := s.request("GET", path, test.header, "")
			want := test.status
			if path != "/v1/me" && want == 200 {
				want = 400
			}
			if got.StatusCode != want || want == 401 && got.code() != "unauthenticated" {
				t.Errorf("%s: %s: %d %s, want %d", name, path, got.StatusCode, got.text, want)
			}
			challenges := strings.Join(got.Header.Values("WWW-Authenticate"), "; ")
			if (want == 401) != (challenges == `Bearer realm="postbox"; Basic realm="postbox", charset="UTF-8"`) {
				t.Errorf("%s: WWW-Authenticate: %q", name, challenges)
			}
		}
	}
	script := http.Header{"Sec-Fetch-Mode": {"cors"}}
	if got := s.request("GET", "/v1/me", script, "").Header.Values("WWW-Authenticate"); !cmp.Equal(got, []string{`Bearer realm="postbox"`}) {
		t.Errorf("a page's script is challenged with %q", got)
	}
	s.accounts.mu.Lock()
	s.accounts.fail = &postbox.Error{Code: "disabled", Message: "the account is disabled"}
	s.accounts.mu.Unlock()
	if got := s.request("GET", "/v1/me", basic("carol"), ""); got.StatusCode != http.StatusUnauthorized || got.code() != "unauthenticated" {
		t.Errorf("a disabled account: %d %s", got.StatusCode, got.text)
	}
	s.accounts.mu.Lock()
	s.accounts.fail = fmt.Errorf("connection refused: %w", postbox.ErrUnavailable)
	s.accounts.mu.Unlock()
	got := s.request("GET", "/v1/me", basic("bob"), "")
	if got.StatusCode != http.StatusServiceUnavailable || got.code() != "unavailable" || got.Header.Get("Retry-After") == "" {
		t.Errorf("while accounts are away: %d %s, Retry-After %q", got.StatusCode, got.text, got.Header.Get("Retry-After"))
	}
}

// A client that asks often is not looked up each time; once it is kicked, it is.
func TestIdentityIsRemembered(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	alice := s.Caller("alice", 0).ID
	for range 20 {
		s.request("GET", "/v1/me", nil, "")
	}
	s.accounts.mu.Lock()
	if s.accounts.asked > 3 { // the machine may be slow
		t.Errorf("20 requests asked %d times", s.accounts.asked)
	}
	s.accounts.gone["alice"] = true
	s.accounts.mu.Unlock()
	s.api.Kick(alice)
	if got := s.request("GET", "/v1/me", nil, ""); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("after a kick: %d", got.StatusCode)
	}
	// A token that has ended is not remembered beyond its end.
	token := s.accounts.token("bob", time.Now().Add(50*time.Millisecond))
	header := http.Header{"Authorization": {"Bearer " + token}}
	s.request("GET", "/v1/me", header, "")
	s.accounts.mu.Lock()
	delete(s.accounts.tokens, token)
	s.accounts.mu.Unlock()
	for deadline := time.Now().Add(patience); ; {
		if s.request("GET", "/v1/me", header, "").StatusCode == http.StatusUnauthorized {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a token is good after its end")
		}
	}
}

// Each answer has an id, the peer's if it can be repeated, and so have errors
// and the log.
func TestRequestIDs(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for given, kept := range map[string]bool{
		"r-1": true, strings.Repeat("x", 128): true, "": false, "a b": false, strings.Repeat("x", 129): false, "é": false,
	} {
		header := basic("alice")
		header.Set("X-Request-Id", given)
		got := s.request("GET", "/v1/nothing", header, "")
		id := got.Header.Get("X-Request-Id")
		if id == "" || (id == given) != kept || got.json["request_id"] != id {
			t.Errorf("%q: header %q, error %v", given, id, got.json["request_id"])
		}
	}
	if got := s.post("alice", "history", `{"request_id":"mine","limit":0}`); got.json["request_id"] != "mine" {
		t.Errorf("the request's own id comes back as %v", got.json["request_id"])
	}
	s.Lock()
	s.Fail = func() error { return errors.New("s3cret cause") }
	s.Unlock()
	header := basic("alice")
	header.Set("X-Request-Id", "r-17")
	got := s.request("GET", "/v1/me", header, "")
	if got.StatusCode != 500 || got.code() != "internal" || strings.Contains(got.text, "s3cret") || got.json["request_id"] != "r-17" {
		t.Errorf("a fault: %d %s", got.StatusCode, got.text)
	}
	if log := s.log.String(); !strings.Contains(log, "s3cret cause") || !strings.Contains(log, "request_id=r-17") {
		t.Errorf("the log: %s", log)
	}
	s.Lock()
	s.Fail = func() error { panic("s3cret panic") }
	s.Unlock()
	header.Set("X-Request-Id", "r-18")
	got = s.request("GET", "/v1/me", header, "")
	if got.StatusCode != 500 || got.code() != "internal" || strings.Contains(got.text, "s3cret") {
		t.Errorf("a panic: %d %s", got.StatusCode, got.text)
	}
	if log := s.log.String(); !strings.Contains(log, "s3cret panic") || !strings.Contains(log, "request_id=r-18") {
		t.Errorf("the log: %s", log)
	}
	s.Lock()
	s.Fail = func() error { return postbox.ErrUnavailable }
	s.Unlock()
	if got := s.request("GET", "/v1/me", nil, ""); got.StatusCode != 503 || got.Header.Get("Retry-After") == "" {
		t.Errorf("away: %d %s", got.StatusCode, got.text)
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	s := serve(t, func(o *web.APIOptions) { o.Limiter = api.NewRates(3) })
	limited := 0
	for range 50 {
		got := s.request("GET", "/v1/me", nil, "")
		if got.StatusCode == http.StatusTooManyRequests {
			limited++
			if got.code() != "rate_limited" || got.Header.Get("Retry-After") != "1" {
				t.Errorf("%s, Retry-After %q", got.text, got.Header.Get("Retry-After"))
			}
		}
	}
	if limited == 0 {
		t.Error("50 requests at once were all let through")
	}
	if got := s.request("GET", "/v1/me", basic("bob"), ""); got.StatusCode != 200 {
		t.Errorf("another user: %d", got.StatusCode)
	}
}

// Answers are compressed for those who take it.
func TestGzip(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.say("alice", "bob", strings.Repeat("hello ", 1000))
	header := basic("alice")
	header.Set("Accept-Encoding", "gzip")
	for _, path := range []string{"/v1/history?with=bob", "/v1/openapi.json", "/v1/docs"} {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL+path, nil)
		r.Header = header
		got, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if got.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: encoded as %q", path, got.Header.Get("Content-Encoding"))
			continue
		}
		z, err := gzip.NewReader(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		_ = got.Body.Close()
		if plain := s.request("GET", path, nil, ""); err != nil || string(text) != plain.text {
			t.Errorf("%s: %v, %d bytes, without gzip %d", path, err, len(text), len(plain.text))
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// A page of another origin is told nothing unless it is listed.
func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	off := serve(t, nil)
	on := serve(t, func(o *web.APIOptions) { o.Origins = []string{"https://chat.example.org"} })
	for _, test := range []struct {
		s      *server
		origin string
		want   string
	}{
		{off, "https://chat.example.org", ""}, {on, "https://chat.example.org", "https://chat.example.org"}, {on, "https://evil.example", ""}, {on, "null", ""},
	} {
		header := basic("alice")
		header.Set("Origin", test.origin)
		got := test.s.request("GET", "/v1/me", header, "")
		if allowed := got.Header.Get("Access-Control-Allow-Origin"); got.StatusCode != 200 || allowed != test.want {
			t.Errorf("%s: %d, allowed %q, want %q", test.origin, got.StatusCode, allowed, test.want)
		}
		if got.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: credentials are allowed", test.origin)
		}
		pre := http.Header{"Origin": {test.origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization,content-type,idempotency-key"}}
		got = test.s.request("OPTIONS", "/v1/send", pre, "")
		if allowed := got.Header.Get("Access-Control-Allow-Origin"); got.StatusCode != 204 || allowed != test.want {
			t.Errorf("preflight of %s: %d, allowed %q, want %q", test.origin, got.StatusCode, allowed, test.want)
		}
	}
}
