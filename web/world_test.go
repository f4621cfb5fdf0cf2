package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"postbox"
	"postbox/api"
	"postbox/inbox"
	"postbox/internal/apitest"
	"postbox/internal/apitest/contract"
	"postbox/web"
)

// accounts knows users by their password, which is their name and "-secret",
// and by tokens.
type accounts struct {
	world *apitest.World

	mu     sync.Mutex
	tokens map[string]web.Identity
	asked  int
	fail   error
	gone   map[postbox.User]bool
}

// token makes a token of a user; it looks like one, and no more.
func (a *accounts) token(user postbox.User, ends time.Time) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	token := "eyJhbGciOiJIUzI1NiJ9.e30." + string(user)
	a.tokens[token] = web.Identity{ID: a.world.Caller(user, 0).ID, Name: user, Ends: ends}
	return token
}

// Authenticate implements web.Accounts.
func (a *accounts) Authenticate(_ context.Context, _, name string, password []byte) (web.Identity, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	wrong := postbox.Errorf(postbox.CodeUnauthenticated, "the user name or the password is wrong")
	if a.fail != nil {
		return web.Identity{}, a.fail
	}
	who, found := a.tokens[string(password)]
	if !found {
		if string(password) != name+"-secret" {
			return web.Identity{}, wrong
		}
		who = web.Identity{ID: a.world.Caller(postbox.User(name), 0).ID, Name: postbox.User(name)}
	}
	if a.gone[who.Name] || name != "" && name != string(who.Name) {
		return web.Identity{}, wrong
	}
	return who, nil
}

// Stream implements web.Accounts: a token for the stream ends in the user's name.
func (a *accounts) Stream(_ context.Context, token string) (web.Identity, error) {
	user := postbox.User(strings.TrimPrefix(token, "eyJ.e30.stream-"))
	a.mu.Lock()
	defer a.mu.Unlock()
	if string(user) == token || a.gone[user] {
		return web.Identity{}, postbox.Errorf(postbox.CodeUnauthenticated, "the token is for something else")
	}
	return web.Identity{ID: a.world.Caller(user, 0).ID, Name: user}, nil
}

// server is the operations over HTTP, on a world in memory.
type server struct {
	*httptest.Server
	*apitest.World
	t        *testing.T
	api      *web.API
	accounts *accounts
	signals  *inbox.Signals
	checker  *contract.Checker
	log      *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// serve starts a server; change may change its options.
func serve(t *testing.T, change func(*web.APIOptions)) *server {
	t.Helper()
	s := &server{t: t, World: apitest.NewWorld("alice", "bob", "carol"), log: &syncBuffer{}}
	s.signals = inbox.NewSignals(nil)
	s.accounts = &accounts{world: s.World, tokens: make(map[string]web.Identity), gone: make(map[postbox.User]bool)}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	hub, writer := s.Mail(t)
	o := s.Options()
	o.Writer, o.Logger = writer, log
	operations := api.New(o)
	operations.Start()
	t.Cleanup(func() { _ = operations.Shutdown(context.WithoutCancel(t.Context())) })
	options := web.APIOptions{
		Operations: operations, Accounts: s.accounts, Mail: hub, Signals: s.signals, Lineage: s.World, Exporter: api.Exporter{Archive: s.World, People: s.World, Devices: s.World, Now: time.Now}, Limiter: (*api.Rates)(nil), Epoch: apitest.Epoch,
		MaxRequest: 256 << 10, Held: 5, Version: "0.0.0", Logger: log,
	}
	if change != nil {
		change(&options)
	}
	s.api = web.NewAPI(options)
	s.Server = httptest.NewUnstartedServer(web.NewPublic(web.PublicOptions{API: s.api, Logger: log}))
	s.Config.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	s.Start()
	t.Cleanup(s.Close)
	t.Cleanup(s.api.Shutdown)
	s.checker = contract.NewChecker(t, s.URL, s.Client().Transport)
	s.Client().Transport = s.checker
	return s
}

// basic is the header of a user with the password.
func basic(user string) http.Header {
	r, _ := http.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth(user, user+"-secret")
	return r.Header
}

// answer is a response, read to its end.
type answer struct {
	*http.Response
	text string
	json map[string]any
}

// code is that of the error.
func (a answer) code() string {
	e, _ := a.json["error"].(map[string]any)
	code, _ := e["code"].(string)
	return code
}

// request does a request. The header is that of Basic for alice if it is nil.
func (s *server) request(method, path string, header http.Header, body string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if header == nil {
		header = basic("alice")
	}
	r.Header = header.Clone()
	if r.Header.Get("Content-Type") == "" && method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	got, err := s.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{Response: got, text: string(text)}
	_ = json.Unmarshal(text, &a.json)
	return a
}

func (s *server) post(user, operation, body string) answer {
	s.t.Helper()
	return s.request(http.MethodPost, "/v1/"+operation, basic(user), body)
}

// say sends a message and returns its id.
func (s *server) say(from, to, body string) string {
	s.t.Helper()
	text, _ := json.Marshal(map[string]string{"to": to, "body": body})
	a := s.post(from, "send", string(text))
	if a.StatusCode != http.StatusCreated {
		s.t.Fatalf("send: %d %s", a.StatusCode, a.text)
	}
	return a.json["id"].(string)
}
