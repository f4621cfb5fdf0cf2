package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"postbox"
)

// refused is an answer that says no, with the server's code and sentence.
type refused struct {
	why   *postbox.Error
	after time.Duration // what the server asks to be waited for; zero: it does not
}

func (e refused) Error() string {
	return printable(string(e.why.Code)+": "+e.why.Message, false)
}

func (e refused) Unwrap() error { return e.why }

// unanswered is a request that no answer came to.
type unanswered struct {
	base string
	why  error
}

func (e unanswered) Error() string {
	if e.unsent() {
		return fmt.Sprintf("no server answers at %s (%v): start it, or name another by --url", e.base, e.why)
	}
	return fmt.Sprintf("the answer of %s did not arrive: %v", e.base, e.why)
}

func (e unanswered) Unwrap() error { return e.why }

// unsent reports whether the server cannot have seen the request.
func (e unanswered) unsent() bool {
	var op *net.OpError
	return errors.As(e.why, &op) && op.Op == "dial"
}

// passes reports whether an error is one that passes, and how long the server
// asks to be waited for.
func passes(err error, again bool) (after time.Duration, passing bool) {
	var no refused
	var lost unanswered
	switch {
	case errors.As(err, &no):
		return no.after, errors.Is(err, postbox.ErrRateLimited) || errors.Is(err, postbox.ErrUnavailable)
	case errors.As(err, &lost):
		return 0, again && !lost.unsent() && !errors.Is(err, context.Canceled)
	}
	return 0, false
}

// refusalOf reads an answer that is an error (docs/spec.md §9). What is not in
// the API's form comes from something else than Postbox.
func refusalOf(base string, answer *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	var body struct {
		Error struct {
			Code    postbox.Code `json:"code"`
			Message string       `json:"message"`
		} `json:"error"`
	}
	seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
	after := time.Duration(max(seconds, 0)) * time.Second
	err := json.Unmarshal(text, &body)
	switch to := answer.Header.Get("Location"); {
	case err == nil && body.Error.Code != "":
		return refused{postbox.Errorf(body.Error.Code, "%s", body.Error.Message), after}
	case answer.StatusCode == http.StatusBadGateway, answer.StatusCode == http.StatusServiceUnavailable, answer.StatusCode == http.StatusGatewayTimeout:
		return refused{postbox.Errorf(postbox.CodeUnavailable, "%s answers %s: the server behind it is away", base, answer.Status), after}
	case to != "":
		return fmt.Errorf("%s sends elsewhere, to %s: name that address by --url if you trust it", base, printable(to, false))
	}
	return fmt.Errorf("%s answers %s and is no Postbox server: check the address", base, printable(answer.Status, false))
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// encode is JSON that leaves <, > and & as they are.
func encode(v any) ([]byte, error) {
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(text.String(), "\n")), nil
}
