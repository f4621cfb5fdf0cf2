package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postbox"
	"postbox/api"
)

func TestHistory(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var ids []string
	for i := range 9 {
		ids = append(ids, h.say("alice", "bob", fmt.Sprint(i+1)))
	}
	// The world's clock goes on by a second with each message.
	for _, test := range []struct {
		request       string
		want          []any
		before, after bool
	}{
		{`{"with":"alice","limit":2}`, []any{8.0, 9.0}, true, false},
		{`{"with":"alice"}`, []any{1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0}, false, false},
		{`{"with":"alice","before":3}`, []any{1.0, 2.0}, false, true},
		{`{"with":"alice","after":7}`, []any{8.0, 9.0}, true, false},
		{`{"with":"alice","after":2,"before":6,"limit":2}`, []any{3.0, 4.0}, true, true},
		{`{"with":"alice","around":5,"limit":3}`, []any{4.0, 5.0, 6.0}, true, true},
		{`{"with":"alice","before":"` + ids[1] + `"}`, []any{1.0}, false, true},
		{`{"with":"alice","after":"2026-11-22T15:04:12Z"}`, []any{8.0, 9.0}, true, false},
		{`{"with":"alice","after":"2026-11-22t16:04:12.000+01:00"}`, []any{8.0, 9.0}, true, false},
		{`{"with":"carol"}`, nil, false, false},
	} {
		page := h.ask("bob", "history", test.request)
		got := column(page["messages"], "seq")
		if diff := cmp.Diff(test.want, got); diff != "" || page["has_before"] != test.before || page["has_after"] != test.after {
			t.Errorf("%s: has_before %v, has_after %v, -want +got:\n%s", test.request, page["has_before"], page["has_after"], diff)
		}
	}
	for request, want := range map[string]postbox.Code{
		`{"with":"nobody"}`: postbox.CodeNotFound, `{"room":"attic"}`: postbox.CodeNotFound,
		`{"with":"alice","after":"0198c1d2-0000-7000-8000-000000000000"}`: postbox.CodeNotFound,
	} {
		if err := h.refused("bob", "history", request); err.Code != want {
			t.Errorf("%s: %s, want %s", request, err.Code, want)
		}
	}
}

// What is only the sender's is shown to the sender only.
func TestHistoryOwn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.ask("alice", "send", `{"to":"bob","body":"hi","idempotency_key":"k"}`)
	for user, want := range map[postbox.User]any{"alice": "k", "bob": nil} {
		with := map[postbox.User]string{"alice": "bob", "bob": "alice"}[user]
		if got := column(h.ask(user, "history", `{"with":"`+with+`"}`)["messages"], "idempotency_key")[0]; got != want {
			t.Errorf("%s sees the key %v, want %v", user, got, want)
		}
	}
}

// A reply is never larger than what the caller takes: it holds fewer messages,
// those nearest to where the page begins, and says that there are more.
func TestHistoryFits(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range 20 {
		h.say("alice", "bob", fmt.Sprint(i+1)+strings.Repeat("\n", 100))
	}
	c := h.Caller("bob", api.EdgeMQTT)
	for request, anchor := range map[string]float64{
		`{"with":"alice","request_id":"` + strings.Repeat(`\u0000`, 128) + `"}`: 20,
		`{"with":"alice","before":15}`:                                          14, `{"with":"alice","after":3}`: 4,
		`{"with":"alice","after":3,"before":18}`: 4, `{"with":"alice","around":10}`: 10, `{"with":"alice","around":1}`: 1,
		`{"with":"alice","around":"2026-11-22T15:04:15Z"}`: 10, `{"with":"alice","around":99}`: 20,
	} {
		whole := h.askAs(c, "history", request)
		sizes := map[int]bool{}
		for c.MaxReply = 1600; c.MaxReply < 9000; c.MaxReply += 97 {
			reply, err := h.api.Call(t.Context(), c, "history", []byte(request))
			if err != nil {
				t.Fatalf("%s in %d bytes: %v", request, c.MaxReply, err)
			}
			if len(reply) > c.MaxReply {
				t.Errorf("%s: %d bytes in %d", request, len(reply), c.MaxReply)
			}
			var page object
			if err := json.Unmarshal(reply, &page); err != nil {
				t.Fatal(err)
			}
			seqs := column(page["messages"], "seq")
			sizes[len(seqs)] = true
			first, last := seqs[0].(float64), seqs[len(seqs)-1].(float64)
			all := column(whole["messages"], "seq")
			if int(last-first) != len(seqs)-1 || anchor < first || anchor > last {
				t.Errorf("%s in %d bytes: %v, want a run with %v", request, c.MaxReply, seqs, anchor)
			}
			if before := whole["has_before"] == true || first > all[0].(float64); page["has_before"] != before {
				t.Errorf("%s in %d bytes: has_before %v of %v", request, c.MaxReply, page["has_before"], seqs)
			}
			if after := whole["has_after"] == true || last < all[len(all)-1].(float64); page["has_after"] != after {
				t.Errorf("%s in %d bytes: has_after %v of %v", request, c.MaxReply, page["has_after"], seqs)
			}
		}
		c.MaxReply = 0
		if len(sizes) < 5 {
			t.Errorf("%s: pages of %v only", request, sizes)
		}
	}
	// One that is larger than all there is room for goes without its body.
	c.MaxReply = 600
	m := h.askAs(c, "history", `{"with":"alice"}`)["messages"].([]any)[0].(object)
	if m["seq"] != 20.0 || m["body"] != nil || m["too_large"] == nil {
		t.Errorf("in 600 bytes: %v", m)
	}
	c.MaxReply = 100
	if _, err := h.api.Call(t.Context(), c, "history", []byte(`{"with":"alice"}`)); err == nil || err.Code != postbox.CodeTooLarge {
		t.Errorf("in 100 bytes: %v, want too_large", err)
	}
}

// A page costs a handful of allocations, however many messages it has.
func TestHistoryIsCheap(t *testing.T) {
	h := newHouse(t)
	for i := range 200 {
		h.say("alice", "bob", fmt.Sprint(i))
	}
	c, ctx := h.Caller("bob", api.EdgeHTTP), t.Context()
	measure := func(limit int) float64 {
		request := fmt.Appendf(nil, `{"with":"alice","limit":%d}`, limit)
		return testing.AllocsPerRun(20, func() { _, _ = h.api.Call(ctx, c, "history", request) })
	}
	if few, many := measure(10), measure(200); many > few+16 {
		t.Errorf("%v allocations for 10 messages, %v for 200", few, many)
	}
}
