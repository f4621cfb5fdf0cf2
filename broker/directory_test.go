package broker_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
)

// What administrators do is forbidden to all others, by both ways, and changes nothing
// then.
func TestAdministratorsOnly(t *testing.T) {
	w := sharedWorld(t)
	h := w.overHTTP(t)
	alice, bob := w.user("alice"), w.user("bob")
	c := w.connect(t, login{version: 5, user: alice, id: "phone", clean: true})
	bobs := w.connect(t, login{version: 5, user: bob, id: "phone", clean: true})
	for operation, request := range map[string]string{
		"users": `{}`, "user.add": `{"user":"made","admin":true}`, "user.password": fmt.Sprintf(`{"user":%q,"password":"long enough"}`, bob),
		"user.disable": fmt.Sprintf(`{"user":%q}`, bob), "user.enable": fmt.Sprintf(`{"user":%q}`, bob), "user.revoke": fmt.Sprintf(`{"user":%q}`, bob),
		"user.admin": fmt.Sprintf(`{"user":%q,"admin":true}`, alice), "invite.add": `{}`, "invite.list": `{}`, "invite.remove": `{"id":1}`,
	} {
		if status, reply := h.ask(alice, operation, request); status != http.StatusForbidden || codeOf(reply) != "forbidden" {
			t.Errorf("%s over HTTP: %d %v", operation, status, reply)
		}
		if reply := c.call(alice, operation, request); codeOf(reply) != "forbidden" {
			t.Errorf("%s over MQTT: %v", operation, reply)
		}
	}
	bobs.Quiet()
	if n := w.number(`SELECT count(*) FROM postbox.users WHERE name = 'made' OR name = $1 AND (admin OR disabled_at IS NOT NULL)`, alice); n != 0 {
		t.Error("something was done all the same")
	}
}

// Accounts are listed by name, in pages, by the beginning of their names.
func TestUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.RequestRate = 0 })
	h := w.overHTTP(t)
	root := w.admin("root")
	for _, name := range []string{"a_b", "a-b", "a.b", "ab", "a@b", "b"} {
		h.must(root, "user.add", fmt.Sprintf(`{"user":%q,"display_name":"Mr %s"}`, name, name))
	}
	names := func(request string) (all []string, more bool) {
		t.Helper()
		reply := h.must(root, "users", request)
		for _, u := range reply["users"].([]any) {
			all = append(all, u.(map[string]any)["user"].(string))
		}
		return all, reply["has_more"].(bool)
	}
	everybody, more := names(`{}`)
	if len(everybody) != 7 || more {
		t.Errorf("all: %v, %v", everybody, more)
	}
	var paged []string
	for after := ""; ; after = fmt.Sprintf(`,"after":%q`, paged[len(paged)-1]) {
		page, more := names(`{"limit":2` + after + `}`)
		paged = append(paged, page...)
		if !more || len(page) != 2 {
			break
		}
	}
	if !slices.Equal(paged, everybody) {
		t.Errorf("in pages %v, all at once %v", paged, everybody)
	}
	for prefix, want := range map[string]int{"a": 5, "a_": 1, "a.": 1, "": 7, "zz": 0, "a_b": 1} {
		if got, _ := names(fmt.Sprintf(`{"prefix":%q}`, prefix)); len(got) != want || slices.ContainsFunc(got, func(s string) bool { return !strings.HasPrefix(s, prefix) }) {
			t.Errorf("%q: %v, want %d", prefix, got, want)
		}
	}
	for _, bad := range []string{`{"prefix":"%"}`, `{"prefix":"A"}`, `{"after":"%"}`} {
		if status, reply := h.ask(root, "users", bad); status != http.StatusBadRequest {
			t.Errorf("%s: %d %v", bad, status, reply)
		}
	}
	one := h.must(root, "users", `{"prefix":"ab"}`)["users"].([]any)[0].(map[string]any)
	if one["display_name"] != "Mr ab" || one["admin"] != false || one["disabled"] != false || one["password"] != false {
		t.Errorf("%v", one)
	}
	// Over MQTT with a small packet there are fewer, and one is told so.
	l := login{version: 5, user: root, id: "phone", clean: true}
	l.props.MaximumPacketSize = 500
	if reply := w.connect(t, l).call(root, "users", `{}`); reply["has_more"] != true || len(reply["users"].([]any)) == 0 {
		t.Errorf("in 500 bytes: %v", reply)
	}
}

// What an administrator does to an account by an operation is in force at once.
func TestAccountsAreChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.StreamsPerUser, w.config.Limits.RequestRate = 20, 0 })
	h := w.overHTTP(t)
	root := w.admin("root")
	for operation, more := range map[string]string{
		"user.disable": "", "user.revoke": "", "user.password": `,"password":"battery staple"`, "user.admin": `,"admin":true`,
	} {
		t.Run(operation, func(t *testing.T) {
			alice, bob := w.user("alice"), w.user("bob")
			other := w.connect(t, login{version: 5, user: bob, id: "phone", clean: true})
			h := *h
			h.t = t
			began := time.Now()
			change := func() {
				t.Helper()
				h.must(root, operation, fmt.Sprintf(`{"user":%q%s}`, alice, more))
				began = time.Now()
			}
			if operation == "user.admin" { // ends connections, no tokens
				pair := h.login(alice, "")
				c := w.connect(t, login{version: 5, password: pair.access, id: "phone"})
				change()
				if reason := c.Ended(); reason != packets.ErrAdministrativeAction.Code {
					t.Errorf("ended with %#x, want 0x98", reason)
				}
				h.mustAs(bearer(pair.access), "users", `{}`)
				h.must(root, operation, fmt.Sprintf(`{"user":%q,"admin":false}`, alice))
				within(t, "the end of the rights", func() bool {
					status, _ := h.askAs(bearer(pair.access), "users", `{}`)
					return status == http.StatusForbidden
				})
				return
			}
			open := w.openEverything(t, &h, alice)
			change()
			open.mustEnd(began)
			other.Quiet()
			status := func(password string) int {
				t.Helper()
				status, _ := h.askAs("", "login", jsonOf(map[string]any{"user": alice, "password": password}))
				return status
			}
			switch operation {
			case "user.disable":
				if got := status(password); got != http.StatusUnauthorized {
					t.Errorf("a login while disabled: %d", got)
				}
				h.must(root, "user.enable", fmt.Sprintf(`{"user":%q}`, alice))
				if got := status(password); got != http.StatusOK {
					t.Errorf("a login when enabled again: %d", got)
				}
				open.mustBeOver()
			case "user.revoke":
				if got := status(password); got != http.StatusOK {
					t.Errorf("a login when all tokens have ended: %d", got)
				}
			case "user.password":
				if old, renewed := status(password), status("battery staple"); old != http.StatusUnauthorized || renewed != http.StatusOK {
					t.Errorf("a login with the old password %d, with the new one %d", old, renewed)
				}
			}
		})
	}
	for _, request := range []string{"user.disable", "user.admin"} {
		if status, reply := h.ask(root, request, fmt.Sprintf(`{"user":%q%s}`, root, map[string]string{"user.admin": `,"admin":false`}[request])); status != http.StatusBadRequest {
			t.Errorf("%s of oneself: %d %v", request, status, reply)
		}
		if status, reply := h.ask(root, request, fmt.Sprintf(`{"user":"nobody"%s}`, map[string]string{"user.admin": `,"admin":false`}[request])); status != http.StatusNotFound {
			t.Errorf("%s of nobody: %d %v", request, status, reply)
		}
	}
	if status, reply := h.ask(root, "user.add", fmt.Sprintf(`{"user":%q}`, root)); status != http.StatusConflict {
		t.Errorf("an account that is there is made: %d %v", status, reply)
	}
	h.must(root, "user.add", `{"user":"second","password":"long enough","admin":true}`)
	h.mustAs(basic("second", "long enough"), "users", `{}`)
	if _, err := w.store.UserByName(t.Context(), postbox.User("second")); err != nil {
		t.Error(err)
	}
}
