package broker_test

import (
	"bufio"
	"context"
	"encoding/json"
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
}

func (w *world) overHTTP(t *testing.T) *callers {
	t.Helper()
	url := "http://" + w.at.HTTP
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &callers{t, url, &http.Client{Transport: contract.NewChecker(t, url, transport)}}
}

// ask asks for an operation. The reply is nil if there was none.
func (c *callers) ask(user, operation, request string) (status int, reply map[string]any) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/"+operation, strings.NewReader(request))
	if err != nil {
		c.t.Error(err)
		return 0, nil
	}
	r.SetBasicAuth(user, password)
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

// must asks for what is not refused.
func (c *callers) must(user, operation, request string) map[string]any {
	c.t.Helper()
	status, reply := c.ask(user, operation, request)
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
	ctx, cancel := context.WithCancel(context.Background())
	c.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/v1/stream", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.SetBasicAuth(user, password)
	answer, err := c.client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.StatusCode != http.StatusOK {
		c.t.Fatalf("the stream of %s: %d", user, answer.StatusCode)
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
