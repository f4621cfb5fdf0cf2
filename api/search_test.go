package api_test

import (
	"fmt"
	"strings"
	"testing"

	"postbox"
	"postbox/api"
)

// A seq counts within a conversation; a text needs something to look for; a page
// is cut to what the client takes, and its first message at least to its bones.
func TestSearch(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.say("alice", "bob", "found one")
	h.say("bob", "alice", "found "+strings.Repeat("x", 3000))
	for _, request := range []string{
		`{}`, `{"text":""}`, `{"text":"…"}`, `{"text":"found","before":3}`, `{"text":"found","after":3}`,
		`{"text":"found","with":"bob","room":"dev"}`, `{"text":"found","limit":0}`, fmt.Sprintf(`{"text":"%s"}`, strings.Repeat("x", 1025)),
	} {
		if e := h.refused("alice", "search", request); e == nil || e.Code != postbox.CodeInvalid {
			t.Errorf("%.60s: %v", request, e)
		}
	}
	if e := h.refused("alice", "search", `{"text":"found","from":"nobody"}`); e == nil || e.Code != postbox.CodeNotFound {
		t.Errorf("a sender whom nobody knows: %v", e)
	}
	if got := h.ask("alice", "search", `{"text":"found","with":"bob","before":2}`)["messages"].([]any); len(got) != 1 {
		t.Errorf("before a seq: %v", got)
	}
	c := h.Caller("alice", api.EdgeMQTT)
	c.MaxReply = 1000
	reply := h.askAs(c, "search", `{"text":"found"}`)
	messages := reply["messages"].([]any)
	if len(messages) != 1 || reply["has_more"] != true || messages[0].(map[string]any)["too_large"] == nil {
		t.Errorf("of a page that is too large: %v", reply)
	}
}
