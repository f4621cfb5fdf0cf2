package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
)

// Checker is an http.RoundTripper that holds every response of the operations
// against the server's own OpenAPI document, by a validator that others wrote.
type Checker struct {
	*contract
	t       testing.TB
	next    http.RoundTripper
	checked atomic.Int64
}

// contract is a document that has been read, for all servers that serve it.
type contract struct {
	document document

	mu        sync.Mutex // whether a validator may be shared is nowhere promised
	validator validator.Validator
}

// contracts are those of this process, by their text: reading one takes longer
// than most tests, above all beside the race detector.
var contracts struct {
	sync.Mutex
	read map[string]*contract
}

// document is what of an OpenAPI document is looked at here.
type document struct {
	Paths map[string]map[string]struct {
		RequestBody struct {
			Content map[string]struct {
				Schema map[string]any `json:"schema"`
			} `json:"content"`
		} `json:"requestBody"`
		Responses map[string]any `json:"responses"`
	} `json:"paths"`
}

// NewChecker reads the document of the server at url, which must itself be valid.
func NewChecker(t testing.TB, url string, next http.RoundTripper) *Checker {
	t.Helper()
	r, err := (&http.Client{Transport: next}).Get(url + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	contracts.Lock()
	defer contracts.Unlock()
	c := contracts.read[string(text)]
	if c == nil {
		c = readContract(t, text)
		if contracts.read == nil {
			contracts.read = map[string]*contract{}
		}
		contracts.read[string(text)] = c
	}
	return &Checker{contract: c, t: t, next: next}
}

func readContract(t testing.TB, text []byte) *contract {
	t.Helper()
	c := new(contract)
	if err := json.Unmarshal(text, &c.document); err != nil {
		t.Fatal(err)
	}
	doc, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatalf("the OpenAPI document cannot be read: %v", err)
	}
	v, errs := validator.NewValidator(doc, config.WithFormatAssertions())
	if len(errs) > 0 {
		t.Fatalf("the OpenAPI document cannot be used: %v", errs)
	}
	if ok, faults := v.ValidateDocument(); !ok {
		for _, f := range faults {
			t.Errorf("the OpenAPI document is not valid: %v", f)
			for _, s := range f.SchemaValidationErrors {
				t.Errorf("  %s at %s", s.Reason, s.FieldPath)
			}
		}
		t.FailNow()
	}
	c.validator = v
	return c
}

// Checked is how many responses were held against the document.
func (c *Checker) Checked() int { return int(c.checked.Load()) }

// RoundTrip implements http.RoundTripper. What is not as the document says fails
// the test.
func (c *Checker) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.next.RoundTrip(r)
	if err != nil || !strings.HasPrefix(r.URL.Path, "/v1/") {
		return answer, err
	}
	if answer.Header.Get("X-Request-Id") == "" {
		c.t.Errorf("%s %s: %d without X-Request-Id", r.Method, r.URL.Path, answer.StatusCode)
	}
	if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") && answer.StatusCode == http.StatusOK ||
		r.Method == http.MethodHead || answer.StatusCode == http.StatusNoContent || answer.StatusCode == http.StatusNotModified {
		return answer, nil // no body, or none that ends
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return answer, nil
	}
	if fault := c.fault(r, answer, body); fault != "" {
		c.t.Errorf("%s %s: %d: %s\n%.2000s", r.Method, r.URL, answer.StatusCode, fault, body)
	}
	c.checked.Add(1)
	return answer, nil
}

// fault says what is wrong with a response; empty: nothing.
func (c *Checker) fault(r *http.Request, answer *http.Response, body []byte) string {
	methods, known := c.document.Paths[r.URL.Path]
	_, has := methods[strings.ToLower(r.Method)]
	if !known || !has {
		return errorFault(answer, body) // of nothing that the document could have
	}
	if _, told := methods[strings.ToLower(r.Method)].Responses[fmt.Sprint(answer.StatusCode)]; !told {
		return "the document does not have this status"
	}
	if answer.Header.Get("Content-Type") == "application/jsonl" {
		return linesFault(body) // for the validator it is one JSON value
	}
	seen := *answer
	seen.Body = io.NopCloser(bytes.NewReader(body))
	c.mu.Lock()
	defer c.mu.Unlock()
	ok, faults := c.validator.ValidateHttpResponse(r, &seen)
	if ok {
		return ""
	}
	var all []string
	for _, f := range faults {
		all = append(all, f.Error())
		for _, s := range f.SchemaValidationErrors {
			all = append(all, s.Reason+" at "+s.FieldPath)
		}
	}
	return strings.Join(all, "; ")
}

// linesFault says what is wrong with JSON Lines.
func linesFault(body []byte) string {
	n := 0
	for line := range bytes.Lines(body) {
		n++
		var o map[string]json.RawMessage
		if err := json.Unmarshal(line, &o); err != nil || line[len(line)-1] != '\n' || o["type"] == nil {
			return fmt.Sprintf("line %d is no object with a type: %v", n, err)
		}
	}
	return ""
}

// errorFault says what is wrong with an error that belongs to no operation.
func errorFault(answer *http.Response, body []byte) string {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var e struct {
		Error     struct{ Code, Message string } `json:"error"`
		RequestID string                         `json:"request_id"`
	}
	switch err := d.Decode(&e); {
	case err != nil:
		return "not an error as the documents have it: " + err.Error()
	case e.Error.Code == "" || e.Error.Message == "" || e.RequestID == "":
		return "an error without code, message or request_id"
	case answer.StatusCode < 400:
		return "an error with a status of success"
	}
	return ""
}

// AllowsRequest tells whether the document has a request as its client makes it.
func (c *Checker) AllowsRequest(r *http.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ok, _ := c.validator.ValidateHttpRequestSync(r)
	return ok
}
