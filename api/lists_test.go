package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postbox"
	"postbox/api"
)

func TestConversations(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.say("alice", "bob", "1")
	h.say("alice", "bob", "2")
	last := h.say("carol", "bob", "3")
	h.say("bob", "bob", "a note")
	h.ask("alice", "send", `{"room":"dev","body":"hi"}`)
	h.say("alice", "carol", "not bob's")
	all := h.ask("bob", "conversations", `{}`)
	list := all["conversations"]
	if got := column(list, "with"); !cmp.Equal(got, []any{nil, "bob", "carol", "alice"}) || all["has_more"] != false {
		t.Errorf("with %v, has_more %v", got, all["has_more"])
	}
	if got := column(list, "unread"); !cmp.Equal(got, []any{1.0, 0.0, 1.0, 2.0}) {
		t.Errorf("unread %v", got)
	}
	if room := list.([]any)[0].(object); room["room"] != "dev" || room["peer"] != nil || room["last"].(object)["body"] != "hi" {
		t.Errorf("the room: %v", room)
	}
	if peer := list.([]any)[3].(object)["peer"]; !cmp.Equal(peer, object{"delivered_seq": 2.0, "read_seq": 2.0}) {
		t.Errorf("alice's positions: %v", peer)
	}
	two := h.ask("bob", "conversations", `{"limit":2}`)
	if got := column(two["conversations"], "with"); !cmp.Equal(got, []any{nil, "bob"}) || two["has_more"] != true {
		t.Errorf("a page of two: %v, has_more %v", got, two["has_more"])
	}
	rest := h.ask("bob", "conversations", `{"before":"`+last+`"}`)
	if got := column(rest["conversations"], "with"); !cmp.Equal(got, []any{"alice"}) {
		t.Errorf("the rest: %v", got)
	}
}

func TestPeople(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	me := object{"user": "alice", "display_name": "", "receipts": true, "accept": "everyone", "admin": false}
	if got := h.ask("alice", "me", `{}`); !cmp.Equal(got, me) {
		t.Errorf("me: %v", got)
	}
	me["display_name"], me["receipts"], me["accept"] = "Alice 😀", false, "known"
	if got := h.ask("alice", "me.update", `{"display_name":"Alice \ud83d\ude00","receipts":false,"accept":"known"}`); !cmp.Equal(got, me) {
		t.Errorf("me.update: %v", got)
	}
	if got := h.ask("alice", "me.update", `{}`); !cmp.Equal(got, me) {
		t.Errorf("me.update of nothing: %v", got)
	}
	profiles := h.ask("bob", "profile", `{"users":["carol","nobody","alice","carol"]}`)
	if got := profiles["profiles"]; !cmp.Equal(got, []any{
		object{"user": "carol", "display_name": ""}, object{"user": "alice", "display_name": "Alice 😀"},
	}) {
		t.Errorf("profile: %v", got)
	}
	h.say("carol", "bob", "hello")
	h.Lock()
	h.Users["carol"].Online = true
	h.Unlock()
	if got := h.ask("bob", "presence", `{"users":["alice","carol","nobody"]}`)["presence"]; !cmp.Equal(got, []any{object{"user": "carol", "online": true}}) {
		t.Errorf("presence: %v", got)
	}
	for _, test := range []struct {
		operation, request string
		want               []any
	}{
		{"blocks", `{}`, []any{}}, {"block", `{"user":"carol"}`, []any{"carol"}}, {"block", `{"user":"bob"}`, []any{"bob", "carol"}},
		{"unblock", `{"user":"carol"}`, []any{"bob"}}, {"unblock", `{"user":"carol"}`, []any{"bob"}},
	} {
		if got := h.ask("alice", test.operation, test.request)["users"]; !cmp.Equal(got, any(test.want)) {
			t.Errorf("%s %s: %v, want %v", test.operation, test.request, got, test.want)
		}
	}
	if err := h.refused("alice", "block", `{"user":"nobody"}`); err.Code != postbox.CodeNotFound {
		t.Errorf("block nobody: %v", err)
	}
}

func TestDevices(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	at := time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC)
	h.Lock()
	h.Users["alice"].Devices = []postbox.DeviceState{
		{Name: "phone", Cursor: 7, Connected: true, ConnectedAt: at, SeenAt: at}, {Name: "old \"one\"", Cursor: -1, SeenAt: at},
	}
	h.Unlock()
	want := []any{
		object{"device": "phone", "cursor": 7.0, "connected": true, "connected_at": "2026-11-22T15:00:00.000Z", "last_seen": "2026-11-22T15:00:00.000Z"},
		object{"device": "old \"one\"", "cursor": 0.0, "connected": false, "last_seen": "2026-11-22T15:00:00.000Z"},
	}
	if diff := cmp.Diff(any(want), h.ask("alice", "devices", `{}`)["devices"]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	h.ask("alice", "device.revoke", `{"device":"phone"}`)
	if got := h.ask("alice", "devices", `{}`)["devices"].([]any); len(got) != 1 {
		t.Errorf("%d devices are left, want 1", len(got))
	}
	if err := h.refused("bob", "device.revoke", `{"device":"old \"one\""}`); err.Code != postbox.CodeNotFound {
		t.Errorf("another's device: %v", err)
	}
}

// Every list is cut to what the caller takes, and says so.
func TestListsFit(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var names []string
	h.Lock()
	for i := range 60 {
		name := postbox.User(fmt.Sprintf("user%d", i))
		names = append(names, string(name))
		p := *h.Users["carol"]
		p.Name, p.ID = name, postbox.UserID(100+i)
		h.Users[name] = &p
		h.Users["alice"].Devices = append(h.Users["alice"].Devices, postbox.DeviceState{Name: string(name)})
	}
	h.Unlock()
	for _, name := range names {
		h.say(postbox.User(name), "alice", strings.Repeat("x", 50))
		h.ask("alice", "block", `{"user":"`+name+`"}`)
	}
	users, _ := json.Marshal(object{"users": names})
	c := h.Caller("alice", api.EdgeMQTT)
	for _, test := range []struct{ operation, list, request string }{
		{"conversations", "conversations", `{}`}, {"devices", "devices", `{}`}, {"blocks", "users", `{}`},
		{"profile", "profiles", string(users)}, {"presence", "presence", string(users)},
	} {
		c.MaxReply = 0
		whole := h.askAs(c, test.operation, test.request)
		all, more := whole[test.list].([]any), whole["has_more"]
		for c.MaxReply = 700; c.MaxReply < 2000; c.MaxReply += 41 {
			reply, err := h.api.Call(t.Context(), c, test.operation, []byte(test.request))
			if err != nil {
				t.Fatal(err)
			}
			var o object
			if err := json.Unmarshal(reply, &o); err != nil {
				t.Fatal(err)
			}
			n := len(o[test.list].([]any))
			if len(reply) > c.MaxReply || n == 0 || n < len(all) && o["has_more"] != true || n == len(all) && o["has_more"] != more {
				t.Errorf("%s in %d bytes: %d bytes, %d of %d, has_more %v", test.operation, c.MaxReply, len(reply), n, len(all), o["has_more"])
			}
			if diff := cmp.Diff(all[:n], o[test.list]); diff != "" {
				t.Errorf("%s in %d bytes: -want +got:\n%s", test.operation, c.MaxReply, diff)
			}
		}
	}
}

// A fault of ours is told to nobody; the log has it, under the request's id.
func TestFaults(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var log bytes.Buffer
	o := h.Options()
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	a := api.New(o)
	c := h.Caller("alice", api.EdgeHTTP)
	c.RequestID, c.Admin, c.Shown.Login = "r-17", true, 1
	for _, test := range []struct {
		fault error
		want  postbox.Code
		logs  bool
	}{
		{errors.New("pq: s3cret"), postbox.CodeInternal, true},
		{fmt.Errorf("dial: %w", postbox.ErrUnavailable), postbox.CodeUnavailable, false},
		{fmt.Errorf("query: %w", context.DeadlineExceeded), postbox.CodeUnavailable, false},
		{postbox.ErrNotFound, postbox.CodeNotFound, false},
	} {
		h.Lock()
		h.Fail = func() error { return test.fault }
		h.Unlock()
		for _, op := range a.Operations() {
			request := map[string]string{
				"send": `{"to":"bob","body":""}`, "history": `{"with":"bob"}`, "read": `{"with":"bob","seq":1}`, "device.revoke": `{"device":"d"}`,
				"edit": `{"id":"0198c1d2-0000-7000-8000-000000000000","body":""}`, "retract": `{"id":"0198c1d2-0000-7000-8000-000000000000"}`,
				"presence": `{"users":["bob"]}`, "profile": `{"users":["bob"]}`, "block": `{"user":"bob"}`, "unblock": `{"user":"bob"}`,
				"password": `{"old":"old","new":"a new one"}`, "register": `{"user":"dave","password":"a new one"}`,
				"login": `{"user":"bob","password":"x"}`, "refresh": `{"refresh_token":"x"}`, "user.add": `{"user":"dave"}`,
				"user.password": `{"user":"bob","password":"a new one"}`, "user.disable": `{"user":"bob"}`, "user.enable": `{"user":"bob"}`,
				"user.revoke": `{"user":"bob"}`, "user.admin": `{"user":"bob","admin":true}`, "invite.remove": `{"id":1}`, "erase": `{"user":"alice","password":"x"}`, "search": `{"text":"x"}`,
				"room.add": `{"room":"dev","user":"bob"}`, "room.remove": `{"room":"dev","user":"bob"}`, "room.role": `{"room":"dev","user":"bob","role":"reader"}`,
				"signal": `{"to":"bob","body":""}`, "room.list": `{}`,
			}[op.Name]
			switch {
			case request != "":
			case strings.HasPrefix(op.Name, "room."):
				request = `{"room":"dev"}`
			default:
				request = `{}`
			}
			log.Reset()
			_, err := a.Call(t.Context(), c, op.Name, []byte(request))
			if err == nil || err.Code != test.want || err.Message == "" || strings.Contains(err.Message, "s3cret") {
				t.Errorf("%s with %v: %v", op.Name, test.fault, err)
			}
			if logged := strings.Contains(log.String(), "s3cret") && strings.Contains(log.String(), "request_id=r-17"); logged != test.logs {
				t.Errorf("%s with %v: the log is %q", op.Name, test.fault, log.String())
			}
		}
	}
}
