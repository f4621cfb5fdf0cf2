package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Both documents name every operation; the OpenAPI document is validated by
// each test that makes a server.
func TestDocuments(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, path := range []string{"/v1/openapi.json", "/v1/asyncapi.json", "/v1/docs"} {
		got := s.request("GET", path, http.Header{}, "")
		if got.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d", path, got.StatusCode)
		}
		for _, name := range []string{
			"send", "history", "sync", "conversations", "read", "edit", "retract", "presence", "block", "unblock", "blocks",
			"devices", "device.revoke", "me", "me.update", "profile",
		} {
			if !strings.Contains(got.text, "v1/"+name) {
				t.Errorf("%s does not have %s", path, name)
			}
		}
		tag := http.Header{"If-None-Match": {got.Header.Get("ETag")}}
		if again := s.request("GET", path, tag, ""); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s with its tag: %d", path, again.StatusCode)
		}
	}
}

// A schema says what an object holds: only what is the app's own is open.
func TestNoBareObjects(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, path := range []string{"/v1/openapi.json", "/v1/asyncapi.json"} {
		var document map[string]any
		if err := json.Unmarshal([]byte(s.request("GET", path, nil, "").text), &document); err != nil {
			t.Fatal(err)
		}
		objects := 0
		var walk func(at string, v any)
		walk = func(at string, v any) {
			switch v := v.(type) {
			case []any:
				for i, item := range v {
					walk(fmt.Sprintf("%s/%d", at, i), item)
				}
			case map[string]any:
				if v["type"] == "object" {
					objects++
					open := strings.HasSuffix(at, "/ref") || strings.HasSuffix(at, "/Ref") ||
						strings.Contains(at, ".json/get/") || strings.HasSuffix(at, "/body/headers")
					if closed := v["additionalProperties"] == false && v["properties"] != nil; !closed && !open {
						t.Errorf("%s: the object at %s is open", path, at)
					}
				}
				if len(v) == 0 && !strings.HasSuffix(at, "/properties") {
					t.Errorf("%s: an empty object at %s", path, at)
				}
				for name, item := range v {
					walk(at+"/"+name, item)
				}
			}
		}
		walk("", document)
		if objects < 30 {
			t.Errorf("%s: only %d objects", path, objects)
		}
	}
}

// The schema of the AsyncAPI initiative says whether the document is one.
func TestAsyncAPI(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	text := s.request("GET", "/v1/asyncapi.json", nil, "").text
	validate := func(text string) ([]byte, error) {
		c := exec.CommandContext(t.Context(), "node", "../internal/proof/js/asyncapi.mjs")
		c.Stdin = strings.NewReader(text)
		return c.CombinedOutput()
	}
	if out, err := validate(text); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for name, wrong := range map[string]string{
		"another action":                 strings.Replace(text, `"action": "receive"`, `"action": "take"`, 1),
		"what it refers to is not there": strings.Replace(text, `"$ref": "#/channels/`, `"$ref": "#/channel/`, 1),
	} {
		if out, err := validate(wrong); err == nil {
			t.Errorf("%s: valid\n%s", name, out)
		}
	}
}

// The page needs nothing from elsewhere, and could not get it.
func TestDocsPage(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	got := s.request("GET", "/v1/docs", http.Header{}, "")
	policy := got.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "style-src 'sha256-", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("Content-Security-Policy %q is without %q", policy, part)
		}
	}
	if found := regexp.MustCompile(`(?i)(src|href)="(https?:)?//|<script|<link|\sstyle=|@import|url\(`).FindAllString(got.text, -1); found != nil {
		t.Errorf("from elsewhere, or not allowed: %q", found)
	}
	anchors := regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(got.text, -1)
	if len(anchors) < 17 || !slices.ContainsFunc(anchors, func(a []string) bool { return a[1] == "device.revoke" }) {
		t.Errorf("%d links into the page", len(anchors))
	}
	for _, a := range anchors {
		if !strings.Contains(got.text, `id="`+a[1]+`"`) {
			t.Errorf("#%s leads nowhere", a[1])
		}
	}
}
