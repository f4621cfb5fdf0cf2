package api_test

import (
	"strings"
	"testing"

	"postbox"
	"postbox/api"
)

// A request that is not right is refused with a sentence that names what is
// wrong with it.
func TestDecode(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	long := strings.Repeat("x", 64<<10+1)
	for _, test := range []struct {
		operation, request, want string
		code                     postbox.Code
	}{
		{"history", ``, "the request is empty: send a JSON object, {} if there is nothing to say", ""},
		{"history", `null`, "the request must be a JSON object", ""},
		{"history", `[]`, "the request must be a JSON object", ""},
		{"history", `{"with":"bob"`, "the request is not JSON: ", ""},
		{"history", `{"with":"bob"} {}`, "something follows the request's JSON object", ""},
		{"history", `{"with":"bob",}`, "the request is not JSON: ", ""},
		{"history", `{"with":"bob","with":"carol"}`, `the field "with" is given twice`, ""},
		{"history", `{"with":"bob","limmit":1}`, `unknown field "limmit": history takes with, room, before, after, around, limit, request_id`, ""},
		{"history", `{"With":"bob"}`, `unknown field "With": `, ""},
		{"history", `{"with":"bob","reply":"r"}`, `unknown field "reply": `, ""},
		{"history", `{}`, "give one of with and room", ""},
		{"history", `{"with":"bob","room":"dev"}`, "give one of with and room", ""},
		{"history", `{"with":"bob","around":1,"after":1}`, "give only one of around and after", ""},
		{"history", `{"with":"Bob"}`, `with: the user name "Bob" is not allowed: `, ""},
		{"history", `{"with":7}`, "with must be a string, not a number", ""},
		{"history", `{"with":null}`, "with must be a string, not null: leave it out instead", ""},
		{"history", "{\"with\":\"b\xff\"}", "the request is not JSON: invalid UTF-8", ""},
		{"history", `{"with":"\ud800"}`, "the request is not JSON: ", ""},
		{"history", `{"with":"bob","limit":"5"}`, "limit must be an integer, not a string", ""},
		{"history", `{"with":"bob","limit":0}`, "limit must be an integer from 1 to 500, not 0", ""},
		{"history", `{"with":"bob","limit":501}`, "limit must be an integer from 1 to 500, not 501", ""},
		{"history", `{"with":"bob","limit":1.5}`, "limit must be an integer from 1 to 500, not 1.5", ""},
		{"history", `{"with":"bob","limit":1e400}`, "limit must be an integer from 1 to 500, not 1e400", ""},
		{"history", `{"with":"bob","limit":99999999999999999999999}`, "limit must be an integer from 1 to 500, not 99999999999999999999999", ""},
		{"history", `{"with":"bob","before":"yesterday"}`, `before must be a seq (an integer), an id (a UUID) or a time (RFC 3339), not "yesterday"`, ""},
		{"history", `{"with":"bob","before":"17"}`, `before must be a seq (an integer), `, ""},
		{"history", `{"with":"bob","before":-1}`, "before is not a seq: -1", ""},
		{"history", `{"with":"bob","before":true}`, "before must be a seq (an integer), an id (a UUID) or a time (RFC 3339), not true", ""},
		{"sync", `{"epoch":"K3 f9"}`, `epoch: "K3 f9" is no epoch: `, ""},
		{"sync", `{"wait":61}`, "wait must be an integer from 0 to 60, not 61", ""},
		{"send", `{"to":"bob"}`, "give one of body and body_base64", ""},
		{"send", `{"body":"x"}`, "give one of to and room", ""},
		{"send", `{"to":"bob","body":"` + long + `"}`, "body has 65537 bytes; at most 65536 are allowed", postbox.CodeTooLarge},
		{"send", `{"to":"bob","body_base64":"` + strings.Repeat("AAAA", 21846) + `"}`, "body_base64 has 65538 bytes; at most 65536 are allowed", postbox.CodeTooLarge},
		{"send", `{"to":"bob","body_base64":"a"}`, "body_base64 is not base64", ""},
		{"send", `{"to":"bob","body_base64":"aGk=\n"}`, "body_base64 is not base64", ""},
		{"send", `{"to":"bob","body":"x","ref":"y"}`, "ref must be an object, not a string", ""},
		{"send", `{"to":"bob","body":"x","ref":{"a":1,"a":2}}`, "the field ", ""},
		{"send", `{"to":"bob","body":"x","ref":{"a":"` + long[:4<<10] + `"}}`, "ref has 4104 bytes; at most 4096 are allowed", postbox.CodeTooLarge},
		{"send", `{"to":"bob","body":"x","idempotency_key":"a b"}`, "idempotency_key: the idempotency key may hold", ""},
		{"send", `{"to":"bob","body":"x","content_type":"a\u0000b"}`, "content_type: the content type must be UTF-8", ""},
		{"send", `{"to":"bob","body":"x","expires_in":0}`, "expires_in must be an integer from 1 to 4294967295, not 0", ""},
		{"send", `{"to":"bob","body":"` + strings.Repeat(long, 5) + `"}`, "the request has ", postbox.CodeTooLarge},
		{"me", `{"request_id":""}`, "request_id: 1 to 128 bytes are allowed", ""},
		{"me.update", `{"accept":"friends"}`, `accept must be one of everyone, known, nobody, not "friends"`, ""},
		{"me.update", `{"receipts":"on"}`, "receipts must be true or false, not a string", ""},
		{"me.update", `{"display_name":"a\u0000b"}`, "display_name: control characters are not allowed", ""},
		{"edit", `{"body":"x"}`, "the field id is missing: the message", ""},
		{"edit", `{"id":"17","body":"x"}`, `id: "17" is not a message id: write a UUID`, ""},
		{"presence", `{"users":"bob"}`, "users must be an array of user names, not a string", ""},
		{"presence", `{"users":[]}`, "users is empty: give at least one name", ""},
		{"presence", `{"users":[7]}`, "users must be an array of user names, not a number", ""},
		{"presence", `{"users":["bob"` + strings.Repeat(`,"bob"`, 100) + `]}`, "users holds more than 100 names: ask in parts", ""},
		{"device.revoke", `{"device":""}`, "device: the client id has 0 bytes", ""},
		{"block", `{"user":"alice"}`, "user: nobody blocks themself", ""},
		{"nothing", `{}`, `there is no operation "nothing"`, postbox.CodeNotFound},
	} {
		if test.code == "" {
			test.code = postbox.CodeInvalid
		}
		err := h.refused("alice", test.operation, test.request)
		if shown := test.request[:min(len(test.request), 80)]; err.Code != test.code || !strings.HasPrefix(err.Message, test.want) {
			t.Errorf("%s %s: %s %q, want %s %q", test.operation, shown, err.Code, err.Message, test.code, test.want)
		}
	}
}

// What means the same is taken in any form that JSON has for it.
func TestDecodeForms(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.say("bob", "alice", "one")
	h.say("bob", "alice", "two")
	for _, request := range []string{
		`{"with":"bob","limit":1}`, `{"with":"bob","limit":1.0}`, `{"with":"bob","limit":1e0}`, `{"with":"\u0062ob","limit":10E-1}`,
		"\n { \"limit\" : 1 , \"with\":\"bob\"}\t",
	} {
		if got := h.ask("alice", "history", request)["messages"].([]any); len(got) != 1 {
			t.Errorf("%s: %d messages, want 1", request, len(got))
		}
	}
	reply := h.ask("alice", "me", `{"request_id":"a\"\u0000é"}`)
	if got := reply["request_id"]; got != "a\"\x00é" {
		t.Errorf("request_id %q comes back as %q", "a\"\x00é", got)
	}
}

// Each edge has fields of its own.
func TestEdges(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	mqtt := h.Caller("alice", api.EdgeMQTT)
	h.askAs(mqtt, "me", `{"reply":"phone/1","request_id":"r"}`)
	for request, want := range map[string]string{
		`{"wait":1}`:                `unknown field "wait": sync takes after, epoch, limit, request_id, reply`,
		`{"reply":"a/+"}`:           "reply: give the end of a topic",
		`{"reply":""}`:              "reply: give the end of a topic",
		`{"reply":"1/2/3/4/5/6/7"}`: "reply: give the end of a topic",
	} {
		_, err := h.api.Call(t.Context(), mqtt, "sync", []byte(request))
		if err == nil || !strings.HasPrefix(err.Message, want) {
			t.Errorf("%s: %v, want %q", request, err, want)
		}
	}
	for request, want := range map[string][2]string{
		`{"request_id":"r","reply":"p"}`:              {"r", "p"},
		`{"nonsense":[{}],"request_id":"r","limit":x`: {"r", ""},
		`{"request_id":7,"reply":"+"}`:                {"", ""},
		`nonsense`:                                    {"", ""},
	} {
		if id, reply := api.Tags([]byte(request)); [2]string{id, reply} != want {
			t.Errorf("%s: %q %q, want %q", request, id, reply, want)
		}
	}
}

// FuzzDecode: whatever a stranger sends is answered, with one of the codes that
// it can be worth.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"to":"bob","body":"hi","ref":{"a":[1]},"idempotency_key":"k","expires_in":60}`,
		`{"with":"bob","before":"0198c1d2-0000-7000-8000-000000000000","limit":5}`,
		`{"with":"bob","around":"2026-11-22T15:04:05Z"}`, `{"after":1,"epoch":"j2e8","wait":0}`,
		`{"users":["bob","carol"]}`, `{"room":"dev","seq":1e0}`, `{"display_name":"\ud83d\ude00","receipts":true}`, "{\"a\":\xff}",
	} {
		for i := range 16 {
			f.Add(i, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, i int, request []byte) {
		h := newHouse(t)
		all := h.api.Operations()
		name := all[int(uint(i)%uint(len(all)))].Name
		reply, err := h.api.Call(t.Context(), h.Caller("alice", api.EdgeMQTT), name, request)
		switch {
		case err == nil && (len(reply) == 0 || reply[0] != '{'):
			t.Errorf("%s %q: %q", name, request, reply)
		case err != nil && err.Code == postbox.CodeInternal:
			t.Errorf("%s %q: %v", name, request, err)
		case err != nil && err.Message == "":
			t.Errorf("%s %q: %s without a sentence", name, request, err.Code)
		}
	})
}
