package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"postbox"
)

const (
	// requestTimeout is how long one answer may take.
	requestTimeout = 90 * time.Second
	// refusalPatience is how long a command asks again when the server says that
	// it cannot answer now.
	refusalPatience = 30 * time.Second
	// maxAnswer bounds an answer: 500 messages of the largest size, escaped.
	maxAnswer = 256 << 20
)

// credentials are what requests are let in with.
type credentials interface {
	// authorization is the value of the header Authorization.
	authorization(ctx context.Context) (string, error)
	// renew replaces what was refused, and reports whether it is worth another
	// attempt.
	renew(ctx context.Context, refused string) (bool, error)
}

// remote speaks to a server over its HTTP API (docs/spec.md §7). It is for one
// goroutine.
type remote struct {
	base  string // the address without a slash at its end
	creds credentials
	http  *http.Client
}

func newRemote(base string, creds credentials) *remote {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	transport.ResponseHeaderTimeout = requestTimeout
	return &remote{base, creds, &http.Client{
		Transport: transport,
		// A password or a token goes to the address that was given, and no further.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (r *remote) close() { r.http.CloseIdleConnections() }

// call is one operation.
type call struct {
	name    string
	request any
	// again says that nothing becomes of it twice, so that it may be repeated when
	// its answer was lost.
	again bool
}

// do does an operation and returns the answer as it came, decoded into reply too
// unless that is nil. A server that cannot answer now, or not so fast, is asked
// again for a while.
func (r *remote) do(ctx context.Context, c call, reply any) ([]byte, error) {
	body, err := encode(c.request)
	if err != nil {
		return nil, err
	}
	var answer []byte
	limit := time.Now().Add(refusalPatience)
	for wait := 100 * time.Millisecond; ; wait *= 2 {
		answer, err = r.authorized(ctx, func(authorization string) ([]byte, error) {
			return r.post(ctx, c.name, authorization, body)
		})
		after, passing := passes(err, c.again)
		if err == nil || !passing || time.Now().Add(max(after, wait)).After(limit) {
			break
		}
		if err := pause(ctx, max(after, wait)); err != nil {
			return nil, err
		}
	}
	if err != nil || reply == nil {
		return answer, err
	}
	if err := json.Unmarshal(answer, reply); err != nil {
		return nil, fmt.Errorf("%s answers what this program does not understand: %w", r.base, err)
	}
	return answer, nil
}

// authorized does something with the credentials, and once more if they had to be
// renewed for it.
func (r *remote) authorized(ctx context.Context, ask func(authorization string) ([]byte, error)) ([]byte, error) {
	if r.creds == nil {
		return ask("")
	}
	given, err := r.creds.authorization(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := ask(given)
	if errors.Is(err, postbox.ErrUnauthenticated) {
		if renewed, cause := r.creds.renew(ctx, given); cause != nil {
			return nil, cause
		} else if !renewed {
			return nil, err
		}
		if given, err = r.creds.authorization(ctx); err != nil {
			return nil, err
		}
		return ask(given)
	}
	return answer, err
}

// post asks once.
func (r *remote) post(ctx context.Context, name, authorization string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base+"/v1/"+name, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := r.send(request, authorization)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, unanswered{r.base, err}
	}
	return text, nil
}

// send sends a request and turns every answer but a good one into an error.
func (r *remote) send(request *http.Request, authorization string) (*http.Response, error) {
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	answer, err := r.http.Do(request)
	if err != nil {
		var wrapped *url.Error // which repeats the address, and would show one in it
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, unanswered{r.base, err}
	}
	if answer.StatusCode < 300 {
		return answer, nil
	}
	defer answer.Body.Close()
	return nil, refusalOf(r.base, answer)
}
