package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"postbox"
	"postbox/web"
)

// event is one Server-Sent Event.
type event struct {
	id   string
	data map[string]any
}

// stream is a peer of /v1/stream that reads as the HTML standard says.
type stream struct {
	t      *testing.T
	body   *bufio.Reader
	cancel context.CancelFunc
	answer *http.Response
	last   string // the last event's id
}

// open opens a stream; it must be let in.
func (s *server) open(header http.Header, query, last string) *stream {
	s.t.Helper()
	st := s.try(header, query, last)
	if st.answer.StatusCode != http.StatusOK || st.answer.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("stream: %d %v", st.answer.StatusCode, st.answer.Header)
	}
	return st
}

func (s *server) try(header http.Header, query, last string) *stream {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/v1/stream"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header = header.Clone()
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	answer, err := s.Client().Do(r)
	if err != nil {
		cancel()
		s.t.Fatal(err)
	}
	st := &stream{t: s.t, body: bufio.NewReader(answer.Body), cancel: cancel, answer: answer, last: last}
	s.t.Cleanup(st.close)
	return st
}

func (st *stream) close() {
	st.cancel()
	_ = st.answer.Body.Close()
}

// next returns the next event that has data; false: the stream has ended.
func (st *stream) next() (event, bool) {
	var e event
	id := st.last
	for {
		line, err := st.body.ReadString('\n')
		if err != nil {
			return event{}, false
		}
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "id: "):
			id = line[4:]
		case strings.HasPrefix(line, "data: "):
			if err := json.Unmarshal([]byte(line[6:]), &e.data); err != nil {
				st.t.Errorf("event %q: %v", line, err)
			}
		case line == "":
			if st.last = id; e.data != nil {
				e.id = id
				return e, true
			}
		case !strings.HasPrefix(line, ":"):
			st.t.Errorf("unexpected line %q", line)
		}
	}
}

// must returns the next event, which must come.
func (st *stream) must() event {
	st.t.Helper()
	timer := time.AfterFunc(patience, st.cancel)
	defer timer.Stop()
	e, ok := st.next()
	if !ok {
		st.t.Fatal("the stream has ended, or nothing comes")
	}
	return e
}

// ended waits for the stream's end.
func (st *stream) ended() {
	st.t.Helper()
	timer := time.AfterFunc(patience, st.cancel)
	for {
		if _, ok := st.next(); !ok {
			break
		}
	}
	if !timer.Stop() {
		st.t.Error("the stream does not end")
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.say("alice", "bob", "before")
	st := s.open(basic("bob"), "", "")
	s.post("alice", "send", `{"to":"bob","body":"one","ref":{ "a":`+"\r\n"+`1 }}`)
	e := st.must()
	if e.id != "k3f9:2" || e.data["body"] != "one" || e.data["inbox_seq"] != 2.0 || e.data["type"] != "message" {
		t.Errorf("got %v", e)
	}
	if ref, _ := e.data["ref"].(map[string]any); ref["a"] != 1.0 {
		t.Errorf("a ref on two lines comes as %v", e.data["ref"])
	}
	all := s.open(basic("bob"), "?after=0", "")
	for i, want := range []string{"before", "one"} {
		if e := all.must(); e.data["body"] != want || e.id != fmt.Sprintf("k3f9:%d", i+1) {
			t.Errorf("from the beginning: %v, want %q", e, want)
		}
	}
	// The header counts more than the address, which a browser cannot change.
	later := s.open(basic("bob"), "?after=k3f9:0", "k3f9:1")
	if e := later.must(); e.data["body"] != "one" {
		t.Errorf("with Last-Event-ID: %v", e)
	}
	if e := s.open(basic("bob"), "?after=k3f9:1", "").must(); e.data["body"] != "one" {
		t.Errorf("with after: %v", e)
	}
	for _, query := range []string{"?after=", "?after=x", "?after=1&after=2", "?afte=1", "?after=-1", "?after=K:1", "?%zz"} {
		if got := s.request("GET", "/v1/stream"+query, nil, ""); got.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, got.StatusCode, got.text)
		}
	}
}

// A peer that was cut before its first event comes back to where it began.
func TestStreamResumesBeforeItsFirstEvent(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.say("alice", "bob", "before")
	st := s.open(basic("bob"), "", "")
	// Without data: the peer learns its position and shows nothing.
	for _, want := range []string{"id: k3f9:1\n", "\n"} {
		if line, err := st.body.ReadString('\n'); err != nil || line != want {
			t.Fatalf("got %q %v, want %q", line, err, want)
		}
	}
	st.close()
	s.say("alice", "bob", "meanwhile")
	if e := s.open(basic("bob"), "", "k3f9:1").must(); e.data["body"] != "meanwhile" {
		t.Errorf("got %v", e)
	}
}

// What cannot be had is told as a gap, whose id is where it ends.
func TestStreamGaps(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for i := range 5 {
		s.say("alice", "bob", fmt.Sprint(i+1))
	}
	s.Lock()
	s.Users["bob"].Inbox[0], s.Users["bob"].Inbox[1] = nil, nil
	s.Unlock()
	for _, test := range []struct {
		from, code, id string
		next           float64
		say, then      string
	}{
		{"?after=k3f9:0", "expired", "k3f9:2", 3, "", "3"},
		{"?after=j2e8:9", "epoch_changed", "k3f9:1", 2, "", ""}, // then the other gap
		{"?after=zzzz:2", "epoch_changed", "k3f9:5", 6, "new", "new"},
		{"?after=k3f9:99", "epoch_changed", "k3f9:6", 7, "newer", "newer"},
	} {
		st := s.open(basic("bob"), test.from, "")
		e := st.must()
		if e.data["type"] != "gap" || e.data["code"] != test.code || e.id != test.id || e.data["next"] != test.next {
			t.Errorf("%s: %v, want the gap %s to %v with id %s", test.from, e, test.code, test.next, test.id)
		}
		if test.say != "" {
			s.say("bob", "bob", test.say)
		}
		if test.then != "" {
			if e := st.must(); e.data["body"] != test.then {
				t.Errorf("%s: then %v, want %s", test.from, e, test.then)
			}
		}
		st.close()
	}
	s.Lock()
	defer s.Unlock()
	if s.WasAhead != 1 {
		t.Errorf("%d clients were taken for witnesses of an older state, want 1", s.WasAhead)
	}
}

// Whatever is cut and when, each entry comes once and in its order.
func TestStreamCuts(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	const entries, cutEach = 600, 25
	st := s.open(basic("bob"), "", "")
	for st.last == "" { // until its position is known
		line, err := st.body.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "id: ") {
			st.last = strings.TrimSuffix(line[4:], "\n")
		}
	}
	var said sync.WaitGroup
	said.Go(func() {
		for i := range entries {
			s.say("alice", "bob", fmt.Sprint(i+1))
		}
	})
	defer said.Wait() // the last has come before its own answer has
	for want := 1; want <= entries; want++ {
		if e := st.must(); e.data["body"] != fmt.Sprint(want) || e.id != fmt.Sprintf("k3f9:%d", want) {
			t.Fatalf("got %v, want %d", e, want)
		}
		if want%cutEach == 0 {
			last := st.last
			st.close()
			st = s.open(basic("bob"), "", last)
		}
	}
}

// A peer that reads nothing holds up nobody, and when it reads again it gets
// everything; if it was given up meanwhile, after it has come back.
func TestStreamSlowReader(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	slow := s.open(basic("bob"), "?after=0", "")
	quick := s.open(basic("bob"), "?after=0", "")
	const entries = 300
	body := strings.Repeat("x", 60<<10) // together far more than the sockets take
	var said sync.WaitGroup
	said.Go(func() {
		for range entries {
			s.say("alice", "bob", body)
		}
	})
	defer said.Wait()
	for i := range entries {
		if e := quick.must(); e.data["inbox_seq"] != float64(i+1) {
			t.Fatalf("beside a slow one: %v, want %d", e.data["inbox_seq"], i+1)
		}
	}
	for i := range entries {
		e, ok := slow.next()
		if !ok {
			slow = s.open(basic("bob"), "?after=0", slow.last)
			e = slow.must()
		}
		if e.data["inbox_seq"] != float64(i+1) {
			t.Fatalf("the slow one: %v, want %d", e.data["inbox_seq"], i+1)
		}
	}
}

// A stream ends with its token, with a kick, and with the server; so does a
// request that waits, with the reason.
func TestHeldRequestsEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end    func(s *server)
		life   time.Duration
		status int
		code   string
		other  bool // other users are ended, too
	}{
		"kick":     {func(s *server) { s.api.Kick(s.Caller("bob", 0).ID) }, time.Hour, 401, "unauthenticated", false},
		"token":    {func(*server) {}, 2 * time.Second, 401, "unauthenticated", false},
		"shutdown": {func(s *server) { s.api.Shutdown() }, time.Hour, 503, "unavailable", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil)
			header := http.Header{"Authorization": {"Bearer " + s.accounts.token("bob", time.Now().Add(test.life))}}
			st, other := s.open(header, "", ""), s.open(basic("alice"), "", "")
			waiting := make(chan answer, 1)
			go func() { waiting <- s.request("GET", "/v1/sync?wait=60", header, "") }()
			s.awaitHeld("bob", 2)
			began := time.Now()
			test.end(s)
			st.ended()
			got := <-waiting
			if got.StatusCode != test.status || got.code() != test.code {
				t.Errorf("the request that waited: %d %s, want %d", got.StatusCode, got.text, test.status)
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("it took %v", took)
			}
			if test.other {
				other.ended()
				if again := s.try(basic("alice"), "", ""); again.answer.StatusCode != 503 {
					t.Errorf("a stream after the end: %d", again.answer.StatusCode)
				}
				return
			}
			s.say("carol", "alice", "still there")
			if e := other.must(); e.data["body"] != "still there" {
				t.Errorf("another user's stream: %v", e)
			}
		})
	}
}

// awaitHeld waits until a user holds n requests: one more than the bound is then
// refused.
func (s *server) awaitHeld(user string, n int) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); web.Held(s.api, s.Caller(postbox.User(user), 0).ID) != n; {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s never holds %d requests", user, n)
		}
		time.Sleep(time.Millisecond)
	}
}

// One user's streams are bounded; each that ends makes room.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	s := serve(t, func(o *web.APIOptions) { o.Held = 2 })
	one := s.open(basic("bob"), "", "")
	s.open(basic("bob"), "", "")
	for _, path := range []string{"/v1/stream", "/v1/sync?wait=1"} {
		got := s.request("GET", path, basic("bob"), "")
		if got.StatusCode != http.StatusTooManyRequests || got.code() != "rate_limited" || got.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", path, got.StatusCode, got.text)
		}
	}
	if got := s.request("GET", "/v1/sync", basic("bob"), ""); got.StatusCode != 200 {
		t.Errorf("a sync that does not wait: %d", got.StatusCode)
	}
	s.open(basic("alice"), "", "")
	one.close()
	s.awaitHeld("bob", 1)
	s.open(basic("bob"), "", "")
}

// A peer that has gone for good is noticed, and leaves nothing behind.
func TestStreamPeerGone(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "GET /v1/stream HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", basic("bob").Get("Authorization")); err != nil {
		t.Fatal(err)
	}
	s.awaitHeld("bob", 1)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	s.awaitHeld("bob", 0)
}

// A sync that waits is answered with the first entry.
func TestLongPoll(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	after := 0.0
	for i := range 5 {
		done := make(chan answer, 1)
		go func() {
			done <- s.post("bob", "sync", fmt.Sprintf(`{"after":%v,"epoch":"k3f9","wait":60}`, after))
		}()
		s.awaitHeld("bob", 1)
		s.say("alice", "bob", fmt.Sprint(i))
		got := <-done
		entries, _ := got.json["entries"].([]any)
		if len(entries) != 1 || entries[0].(map[string]any)["body"] != fmt.Sprint(i) {
			t.Fatalf("%d: %s", i, got.text)
		}
		after = got.json["next"].(float64)
		s.awaitHeld("bob", 0)
	}
}
