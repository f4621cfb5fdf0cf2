package broker_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"postbox/internal/apitest/contract"
)

// callers ask the server's operations over HTTP. Every response is held against
// the server's own document.
type callers struct {
	t      *testing.T
	url    string
	client *http.Client
	// from is where requests come from, to a server that trusts us as a proxy.
	from string
}

func (w *world) overHTTP(t *testing.T) *callers {
	t.Helper()
	url := "http://" + w.at.HTTP
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &callers{t: t, url: url, client: &http.Client{Transport: contract.NewChecker(t, url, transport)}}
}

// ask asks for an operation. The reply is nil if there was none.
func (c *callers) ask(user, operation, request string) (status int, reply map[string]any) {
	c.t.Helper()
	return c.askAs(basic(user, password), operation, request)
}

// basic and bearer are what the header Authorization says.
func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func bearer(token any) string { return fmt.Sprint("Bearer ", token) }

// askAs asks with what the header Authorization is to say, if it is not empty.
func (c *callers) askAs(authorization, operation, request string) (status int, reply map[string]any) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/"+operation, strings.NewReader(request))
	if err != nil {
		c.t.Error(err)
		return 0, nil
	}
	c.prepare(r, authorization)
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.client.Do(r)
	if err != nil {
		c.t.Errorf("%s: %v", operation, err)
		return 0, nil
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil {
		err = json.Unmarshal(text, &reply)
	}
	if err != nil {
		c.t.Errorf("%s: %d %.200q: %v", operation, answer.StatusCode, text, err)
	}
	return answer.StatusCode, reply
}

func (c *callers) prepare(r *http.Request, authorization string) {
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	if c.from != "" {
		r.Header.Set("X-Forwarded-For", c.from)
	}
}

// must asks for what is not refused.
func (c *callers) must(user, operation, request string) map[string]any {
	c.t.Helper()
	return c.mustAs(basic(user, password), operation, request)
}

func (c *callers) mustAs(authorization, operation, request string) map[string]any {
	c.t.Helper()
	status, reply := c.askAs(authorization, operation, request)
	if status != http.StatusOK && status != http.StatusCreated {
		c.t.Fatalf("%s %s: %d %v", operation, request, status, reply)
	}
	return reply
}

// events is an open stream of a user's inbox.
type events struct {
	t      *testing.T
	in     *bufio.Reader
	cancel context.CancelFunc
}

// stream opens one, at the end of the inbox.
func (c *callers) stream(user string) *events {
	c.t.Helper()
	return c.streamAs(basic(user, password), "")
}

// streamAs opens one with what the header Authorization is to say, and with
// parameters.
func (c *callers) streamAs(authorization, query string) *events {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/v1/stream"+query, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.prepare(r, authorization)
	answer, err := c.client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.StatusCode != http.StatusOK {
		c.t.Fatalf("the stream: %d", answer.StatusCode)
	}
	return &events{c.t, bufio.NewReader(answer.Body), cancel}
}

// next is the next event; false when the stream has ended.
func (s *events) next() (e envelope, ok bool) {
	s.t.Helper()
	late := time.AfterFunc(patience, s.cancel)
	for {
		line, err := s.in.ReadString('\n')
		data, is := strings.CutPrefix(line, "data: ")
		switch {
		case err != nil && !late.Stop():
			s.t.Fatal("nothing comes by the stream, and it does not end")
		case err != nil:
			return envelope{}, false
		case is:
			late.Stop()
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				s.t.Fatalf("event %.200q: %v", data, err)
			}
			return e, true
		}
	}
}

// until reads up to the message with this body, and returns what came before it.
func (s *events) until(body string) (before []envelope) {
	s.t.Helper()
	for {
		e, ok := s.next()
		if !ok {
			s.t.Fatalf("the stream has ended before %q came", body)
		}
		if e.body() == body {
			return before
		}
		before = append(before, e)
	}
}

// toEnvelope is an entry of a reply as a device would get it.
func toEnvelope(t testing.TB, entry any) (e envelope) {
	t.Helper()
	text, err := json.Marshal(entry)
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	if err != nil {
		t.Fatalf("entry %v: %v", entry, err)
	}
	return e
}
