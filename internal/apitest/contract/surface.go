// Package contract holds a server against its own OpenAPI document: a transport
// that validates every response, and requests made from the document, right ones
// and wrong ones. It knows HTTP only, so it runs against a server in memory and
// against a real one.
package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Surface is a server as Generated asks it.
type Surface struct {
	URL           string
	Checker       *Checker
	Authorization string // the header of the user who asks; its rate must be off
	// Prepare sees to it, before each request of an operation, that a valid one can
	// be done, and may change it; nil: nothing does.
	Prepare func(operation string, r *http.Request)
	// Unauthenticated are the operations that may answer so: what is asked for is
	// a proof of who asks.
	Unauthenticated []string
	// Valid is a request of an operation that succeeds, now and again: at least
	// its required fields.
	Valid func(operation string) map[string]any
	// Foreign are values of fields, by their name, that exist and are none of the
	// user's business: another's message, another's device.
	Foreign map[string][]any
}

// outcome is what a generated request may be answered with.
type outcome struct {
	request []byte
	why     string // what was done to a valid one
	// sound is false when the JSON itself is broken, so that a validator cannot
	// be asked.
	sound bool
}

// Generated asks every operation of the document with at least n generated
// requests each. What the document does not allow is invalid or too_large; what
// it allows is done, or refused for what it asks; nothing is a fault of the
// server.
func Generated(t *testing.T, s Surface, seed uint64, n int) {
	client := &http.Client{Transport: s.Checker}
	for _, path := range slices.Sorted(maps.Keys(s.Checker.document.Paths)) {
		post, has := s.Checker.document.Paths[path]["post"]
		if !has {
			continue
		}
		operation := strings.TrimPrefix(path, "/v1/")
		t.Run(operation, func(t *testing.T) {
			g := &generator{
				random: rand.New(rand.NewPCG(seed, uint64(len(operation)))), surface: s,
				operation: operation, schema: post.RequestBody.Content["application/json"].Schema,
			}
			requests := g.all(n)
			codes := map[string]int{}
			for _, o := range requests {
				code, status, text := s.ask(t, client, path, o.request)
				codes[code]++
				if fault := s.judge(path, o, code, status); fault != "" {
					t.Errorf("%s (%s)\n%.300s\n%d %.300s", fault, o.why, o.request, status, text)
				}
			}
			if len(requests) < n {
				t.Errorf("only %d requests", len(requests))
			}
			if codes["invalid"] == 0 || codes[""] == 0 {
				t.Errorf("of %d requests: %v; want some that are done, and some invalid", len(requests), codes)
			}
			t.Logf("%d requests, seed %d: %v", len(requests), seed, codes)
		})
	}
}

// ask does a request and returns the code of its error, if it is one.
func (s Surface) ask(t *testing.T, client *http.Client, path string, body []byte) (code string, status int, text []byte) {
	t.Helper()
	r, err := s.newRequest(path, body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	_ = json.Unmarshal(text, &e)
	return e.Error.Code, answer.StatusCode, text
}

func (s Surface) newRequest(path string, body []byte) (*http.Request, error) {
	r, err := http.NewRequest(http.MethodPost, s.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", s.Authorization)
	if s.Prepare != nil {
		s.Prepare(strings.TrimPrefix(path, "/v1/"), r)
	}
	return r, nil
}

// statuses are the answers that a request which the document allows may have.
var statuses = map[string]int{
	"": 0, "invalid": 400, "unauthenticated": http.StatusUnauthorized, "forbidden": 403, "not_found": 404, "conflict": 409, "epoch_changed": 410, "too_large": 413,
}

// judge says what is wrong with an answer; empty: nothing.
func (s Surface) judge(path string, o outcome, code string, status int) string {
	want, allowed := statuses[code]
	switch {
	case !allowed, code == "unauthenticated" && !slices.Contains(s.Unauthenticated, strings.TrimPrefix(path, "/v1/")):
		return fmt.Sprintf("%s is no answer to this", code)
	case code == "" && status != http.StatusOK && status != http.StatusCreated, code != "" && status != want:
		return fmt.Sprintf("the status %d is not that of %q", status, code)
	}
	refused := code == "invalid" || code == "too_large"
	if !o.sound {
		if !refused {
			return "broken JSON is taken"
		}
		return ""
	}
	r, err := s.newRequest(path, o.request)
	if err != nil {
		return err.Error()
	}
	switch documented := s.Checker.AllowsRequest(r); {
	case !documented && !refused:
		return "the document does not allow it, the server does"
	case documented && refused && !stricter(o.request):
		return "the document allows it, the server does not"
	}
	return ""
}

// stricter reports whether a request holds what the server may refuse for
// reasons that a schema cannot tell: bytes are counted where a schema counts
// characters, control characters are refused in names, base64 has a form, nobody
// blocks themself, and a search by seq is one in a conversation.
func stricter(request []byte) bool {
	var o map[string]any
	if json.Unmarshal(request, &o) != nil {
		return true
	}
	if o["text"] != nil && o["with"] == nil && o["room"] == nil {
		for _, bound := range []string{"before", "after"} {
			if _, seq := o[bound].(float64); seq {
				return true
			}
		}
	}
	for name, v := range o {
		s, is := v.(string)
		if !is {
			continue
		}
		wide := strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e || r < 0x20 })
		switch name {
		case "content_type", "display_name", "title", "device", "request_id", "body", "idempotency_key", "note", "invite", "password", "old", "new", "refresh_token":
			if wide || s == "" || len(s) > 100 {
				return true
			}
		case "body_base64", "user":
			return true
		}
	}
	ref, is := o["ref"].(map[string]any)
	return is && len(fmt.Sprint(ref)) > 1000
}
