package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
	"postbox/api"
)

func TestSend(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.ask("alice", "send", `{"to":"bob","body":"hi\u0000","ref":{"a" : 1},"content_type":"text/x","idempotency_key":"k","expires_in":60,"request_id":"r1"}`)
	if first["seq"] != 1.0 || first["inbox_seq"] != 1.0 || first["duplicate"] != false || first["request_id"] != "r1" {
		t.Errorf("got %v", first)
	}
	again := h.ask("alice", "send", `{"to":"bob","body_base64":"aGkA","ref":{"a" : 1},"content_type":"text/x","idempotency_key":"k","expires_in":60}`)
	first["duplicate"] = true
	delete(first, "request_id")
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("sent again: -want +got:\n%s", diff)
	}
	for name, request := range map[string]string{
		"another user": `{"to":"carol","body":"hi\u0000","ref":{"a" : 1},"content_type":"text/x","idempotency_key":"k","expires_in":60}`,
		"another body": `{"to":"bob","body":"hi","ref":{"a" : 1},"content_type":"text/x","idempotency_key":"k","expires_in":60}`,
		"another ref":  `{"to":"bob","body":"hi\u0000","ref":{"a" : 2},"content_type":"text/x","idempotency_key":"k","expires_in":60}`,
		"no expiry":    `{"to":"bob","body":"hi\u0000","ref":{"a" : 1},"content_type":"text/x","idempotency_key":"k"}`,
		"the room":     `{"room":"dev","body":"hi\u0000","ref":{"a" : 1},"content_type":"text/x","idempotency_key":"k","expires_in":60}`,
	} {
		if err := h.refused("alice", "send", request); err.Code != postbox.CodeConflict || err.Message == "" {
			t.Errorf("the key again with %s: %v", name, err)
		}
	}
	h.Lock()
	m := h.Users["bob"].Inbox[0].Message
	h.Unlock()
	if string(m.Body) != "hi\x00" || m.Ref != `{"a" : 1}` || m.From != "alice" || !m.ExpiresAt.Equal(m.SentAt.Add(time.Minute)) {
		t.Errorf("stored %+v", m)
	}
	for request, want := range map[string]postbox.Code{
		`{"to":"nobody","body":""}`: postbox.CodeNotFound, `{"room":"attic","body":""}`: postbox.CodeNotFound,
	} {
		if err := h.refused("alice", "send", request); err.Code != want {
			t.Errorf("%s: %s, want %s", request, err.Code, want)
		}
	}
	h.ask("bob", "block", `{"user":"alice"}`)
	if err := h.refused("alice", "send", `{"to":"bob","body":""}`); err.Code != postbox.CodeForbidden {
		t.Errorf("to one who blocks: %s", err.Code)
	}
}

// A send that the MQTT edge stores by itself is the same as that of HTTP, and
// as a publish: one key is good for all.
func TestParseSend(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.Caller("alice", api.EdgeMQTT)
	c.Device = "phone"
	s, err := h.api.ParseSend(c, []byte(`{"to":"bob","body":"hi","idempotency_key":"k","request_id":"r","reply":"p/1"}`))
	if err != nil {
		t.Fatal(err)
	}
	m := s.Publish.Message
	if s.RequestID != "r" || s.Reply != "p/1" || s.To.Key != "k" || m.Device != "phone" || m.Key != "k" || m.Sender != c.ID {
		t.Errorf("got %+v of %+v", s, m)
	}
	if want := postbox.DigestOf("inbox/bob", "", "", 0, []byte("hi")); s.Publish.Digest != want {
		t.Error("the digest is not that of the same publish")
	}
	if _, err := h.api.ParseSend(c, []byte(`{"to":"bob"}`)); err == nil || err.Code != postbox.CodeInvalid {
		t.Errorf("without a body: %v", err)
	}
	stored := postbox.Stored{ID: m.ID, Seq: 7, InboxSeq: 9, SentAt: time.Unix(0, 0)}
	want := `{"id":"` + m.ID.String() + `","seq":7,"inbox_seq":9,"sent_at":"1970-01-01T00:00:00.000Z","duplicate":true,"request_id":"r"}`
	if got := string(api.AppendSent(nil, stored, true, "r")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A key may come beside the request, but not another one than in it.
func TestKeyBeside(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.Caller("alice", api.EdgeHTTP)
	key := "k"
	c.Key = &key
	id := h.askAs(c, "send", `{"to":"bob","body":"hi"}`)["id"]
	if again := h.ask("alice", "send", `{"to":"bob","body":"hi","idempotency_key":"k"}`); again["id"] != id {
		t.Errorf("the key beside and inside made %v and %v", id, again["id"])
	}
	h.askAs(c, "send", `{"to":"bob","body":"hi","idempotency_key":"k"}`)
	_, err := h.api.Call(t.Context(), c, "send", []byte(`{"to":"bob","body":"hi","idempotency_key":"l"}`))
	if err == nil || err.Code != postbox.CodeInvalid || !strings.Contains(err.Message, "Idempotency-Key") {
		t.Errorf("two keys: %v", err)
	}
	for _, key := range []string{"", "a b", strings.Repeat("k", 129)} {
		c.Key = &key
		if _, err := h.api.Call(t.Context(), c, "send", []byte(`{"to":"bob","body":"hi"}`)); err == nil || err.Code != postbox.CodeInvalid {
			t.Errorf("the key %q: %v", key, err)
		}
	}
	h.askAs(c, "me", `{}`) // has no use for a key
}

func TestChange(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.say("alice", "bob", "hello")
	edited := h.ask("alice", "edit", `{"id":"`+id+`","body":"hello!","idempotency_key":"e"}`)
	entry := edited["entry"].(object)
	delete(entry, "id")
	delete(entry, "sent_at")
	want := object{
		"inbox_seq": 2.0, "epoch": "k3f9", "type": "edit", "from": "alice", "to": "bob", "seq": 1.0,
		"ref": object{"id": id}, "idempotency_key": "e", "body": "hello!",
	}
	if diff := cmp.Diff(want, entry); diff != "" || edited["duplicate"] != false {
		t.Errorf("edit: -want +got:\n%s", diff)
	}
	if again := h.ask("alice", "edit", `{"id":"`+id+`","body":"hello!","idempotency_key":"e"}`); again["duplicate"] != true || again["entry"].(object)["inbox_seq"] != 2.0 {
		t.Errorf("the same again: %v", again)
	}
	for _, test := range []struct {
		user               postbox.User
		operation, request string
		want               postbox.Code
	}{
		{"alice", "edit", `{"id":"` + id + `","body":"other","idempotency_key":"e"}`, postbox.CodeConflict},
		{"alice", "retract", `{"id":"` + id + `","idempotency_key":"e"}`, postbox.CodeConflict},
		{"bob", "edit", `{"id":"` + id + `","body":"x"}`, postbox.CodeForbidden},
		{"bob", "retract", `{"id":"` + id + `"}`, postbox.CodeForbidden},
		{"carol", "edit", `{"id":"` + id + `","body":"x"}`, postbox.CodeNotFound},
		{"carol", "retract", `{"id":"0198c1d2-0000-7000-8000-000000000000"}`, postbox.CodeNotFound},
	} {
		if err := h.refused(test.user, test.operation, test.request); err.Code != test.want {
			t.Errorf("%s %s: %s, want %s", test.operation, test.request, err.Code, test.want)
		}
	}
	h.ask("alice", "retract", `{"id":"`+id+`"}`)
	m := h.ask("bob", "history", `{"with":"alice"}`)["messages"].([]any)[0].(object)
	if m["retracted"] != true || m["body"] != nil || m["id"] != id {
		t.Errorf("after retract: %v", m)
	}
}
