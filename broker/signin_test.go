package broker_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/configs"
)

// pairOf are the tokens of a sign-in.
type tokenPair struct{ access, refresh string }

func pairOf(t *testing.T, reply map[string]any) tokenPair {
	t.Helper()
	p := tokenPair{fmt.Sprint(reply["access_token"]), fmt.Sprint(reply["refresh_token"])}
	if strings.Count(p.access, ".") != 2 || !strings.HasPrefix(p.refresh, "pbr_") {
		t.Fatalf("not a pair of tokens: %v", reply)
	}
	return p
}

// login signs in over HTTP.
func (c *callers) login(user, device string) tokenPair {
	c.t.Helper()
	request := map[string]any{"user": user, "password": password}
	if device != "" {
		request["device"] = device
	}
	return pairOf(c.t, c.mustAs("", "login", jsonOf(request)))
}

// refresh spends a refresh token, and says what the answer is if it is refused.
func (c *callers) refresh(token string) (tokenPair, int) {
	c.t.Helper()
	status, reply := c.askAs("", "refresh", jsonOf(map[string]any{"refresh_token": token}))
	if status != http.StatusOK {
		return tokenPair{}, status
	}
	return pairOf(c.t, reply), status
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// codeOf is that of an error.
func codeOf(reply map[string]any) string {
	e, _ := reply["error"].(map[string]any)
	code, _ := e["code"].(string)
	return code
}

// Who may register is the server's setting, which says so; a name that is taken is a
// conflict; and with what is answered one is in, by each way.
func TestRegister(t *testing.T) {
	t.Parallel()
	for _, kind := range []configs.Registration{configs.RegistrationClosed, configs.RegistrationInvite, configs.RegistrationOpen} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(w *world) { w.config.Registration = kind })
			h := w.overHTTP(t)
			root := w.admin("root")
			invited := fmt.Sprint(h.must(root, "invite.add", `{}`)["code"])
			register := func(user string, more map[string]any) (int, map[string]any) {
				t.Helper()
				request := map[string]any{"user": user, "password": "a long one", "display_name": "Dave"}
				maps.Copy(request, more)
				return h.askAs("", "register", jsonOf(request))
			}
			refused := func(why string, status int, reply map[string]any, want int, code string) {
				t.Helper()
				if status != want || codeOf(reply) != code {
					t.Errorf("%s: %d %v, want %s", why, status, reply, code)
				}
			}
			invite := map[string]any{"invite": invited}
			switch kind {
			case configs.RegistrationClosed:
				status, reply := register("dave", invite)
				refused("closed", status, reply, http.StatusForbidden, "forbidden")
				if n := w.number(`SELECT count(*) FROM postbox.users WHERE name = 'dave'`); n != 0 {
					t.Error("an account was made all the same")
				}
				return
			case configs.RegistrationInvite:
				status, reply := register("dave", nil)
				refused("without an invitation", status, reply, http.StatusForbidden, "forbidden")
				status, reply = register("dave", map[string]any{"invite": "ABCDEFGHIJKLMNOPQRSTUVWXYZ"})
				refused("with another invitation", status, reply, http.StatusForbidden, "forbidden")
				status, reply = register(root, nil)
				refused("of a name that is taken, without an invitation", status, reply, http.StatusForbidden, "forbidden")
			}
			status, reply := register(root, invite)
			refused("a name that is taken", status, reply, http.StatusConflict, "conflict")
			for why, bad := range map[string]map[string]any{
				"a bad name": {"user": "Dave!"}, "a short password": {"password": "seven77"}, "a long password": {"password": strings.Repeat("x", 1025)},
				"an unknown field": {"admin": true}, "a bad device": {"device": "a\x00"},
			} {
				status, reply := register("dave", bad)
				refused(why, status, reply, http.StatusBadRequest, "invalid")
			}
			status, reply = register("dave", invite)
			if status != http.StatusCreated || reply["user"] != "dave" {
				t.Fatalf("register: %d %v", status, reply)
			}
			pair := pairOf(t, reply)
			if me := h.mustAs(bearer(pair.access), "me", `{}`); me["user"] != "dave" || me["display_name"] != "Dave" || me["admin"] != false {
				t.Errorf("then me is %v", me)
			}
			w.connect(t, login{version: 4, user: "dave", id: "phone", password: "a long one"})
			w.connect(t, login{version: 5, id: "phone", password: pair.access})
			if _, status := h.refresh(pair.refresh); status != http.StatusOK {
				t.Errorf("refresh: %d", status)
			}
			if kind == configs.RegistrationInvite {
				status, reply := register("erin", invite)
				refused("an invitation that is used up", status, reply, http.StatusForbidden, "forbidden")
			}
		})
	}
}

// admin adds an administrator.
func (w *world) admin(prefix string) string {
	w.t.Helper()
	name := w.user(prefix)
	w.exec(`UPDATE postbox.users SET admin = true WHERE name = $1`, name)
	return name
}

// An invitation counts as often as it says, also when many use it at once, and until
// it is over or taken back.
func TestInvitesAreUsedUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Registration = configs.RegistrationInvite })
	h := w.overHTTP(t)
	root := w.admin("root")
	reply := h.must(root, "invite.add", `{"uses":3,"expires_in":3600,"note":"three friends"}`)
	code := fmt.Sprint(reply["code"])
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for n := range 8 {
		wg.Go(func() {
			status := http.StatusServiceUnavailable
			for status == http.StatusServiceUnavailable { // on a busy machine some wait for their turn in vain
				status, _ = h.askAs("", "register", jsonOf(map[string]any{"user": fmt.Sprintf("friend%d", n), "password": "a long one", "invite": strings.ToLower(code)}))
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	wg.Wait()
	if n := w.number(`SELECT count(*) FROM postbox.users WHERE name LIKE 'friend%'`); n != 3 || statuses[http.StatusCreated] != 3 || statuses[http.StatusForbidden] != 5 {
		t.Errorf("%d accounts were made with an invitation for 3: %v", n, statuses)
	}
	if got := h.must(root, "invite.list", `{}`)["invites"].([]any); len(got) != 0 {
		t.Errorf("still listed: %v", got)
	}
	if n := w.number(`SELECT count(*) FROM postbox.invites i WHERE i::text LIKE '%' || $1 || '%'`, code); n != 0 {
		t.Error("the code is kept as it is")
	}
	for why, end := range map[string]func(id string){
		"over":       func(string) { w.exec(`UPDATE postbox.invites SET expires_at = now()`) },
		"taken back": func(id string) { h.must(root, "invite.remove", `{"id":`+id+`}`) },
	} {
		reply := h.must(root, "invite.add", `{}`)
		list := h.must(root, "invite.list", `{}`)["invites"].([]any)
		if len(list) != 1 || list[0].(map[string]any)["uses"] != 1.0 || strings.Contains(fmt.Sprint(list), fmt.Sprint(reply["code"])) {
			t.Errorf("listed: %v", list)
		}
		end(fmt.Sprint(list[0].(map[string]any)["id"]))
		status, _ := h.askAs("", "register", jsonOf(map[string]any{"user": "late", "password": "a long one", "invite": reply["code"]}))
		if status != http.StatusForbidden {
			t.Errorf("an invitation that is %s: %d", why, status)
		}
	}
	if status, reply := h.ask(root, "invite.remove", `{"id":1}`); status != http.StatusNotFound {
		t.Errorf("an invitation that is gone is removed: %d %v", status, reply)
	}
}

// A wrong password and a user who does not exist have one answer.
func TestLogin(t *testing.T) {
	w := sharedWorld(t)
	h := w.overHTTP(t)
	alice := w.user("alice")
	pair := h.login(alice, "phone")
	if me := h.mustAs(bearer(pair.access), "me", `{}`); me["user"] != alice {
		t.Errorf("me is %v", me)
	}
	status, wrong := h.askAs("", "login", jsonOf(map[string]any{"user": alice, "password": "wrong", "request_id": "r"}))
	unknown, nobody := h.askAs("", "login", jsonOf(map[string]any{"user": "nobody", "password": password, "request_id": "r"}))
	if status != http.StatusUnauthorized || unknown != status || jsonOf(wrong) != jsonOf(nobody) || codeOf(wrong) != "unauthenticated" {
		t.Errorf("a wrong password: %d %v; no such user: %d %v", status, wrong, unknown, nobody)
	}
	if err := w.store.SetDisabled(t.Context(), postbox.User(alice), true); err != nil {
		t.Fatal(err)
	}
	if status, reply := h.askAs("", "login", jsonOf(map[string]any{"user": alice, "password": password})); status != http.StatusUnauthorized {
		t.Errorf("a disabled account: %d %v", status, reply)
	}
	if _, status := h.refresh(pair.refresh); status != http.StatusUnauthorized {
		t.Errorf("the refresh token of a disabled account: %d", status)
	}
	// These are over HTTP alone.
	bob := w.user("bob")
	c := w.connect(t, login{version: 5, user: bob, id: "phone", clean: true})
	for _, operation := range []string{"login", "register", "stream_token"} {
		if reply := c.call(bob, operation, `{}`); codeOf(reply) != "not_found" {
			t.Errorf("%s over MQTT: %v", operation, reply)
		}
	}
}

// call makes a request over MQTT and returns the reply.
func (c *wire) call(user, operation, body string) map[string]any {
	c.T.Helper()
	response := "reply/" + user + "/call"
	c.subscribe(response)
	c.id++
	c.publish(request(c.id, operation, body, response))
	var reply map[string]any
	if err := json.Unmarshal(c.sort(1, 0, 1).replies[0].Payload, &reply); err != nil {
		c.T.Fatal(err)
	}
	return reply
}

// Logins are listed and ended by their user, each alone.
func TestLogins(t *testing.T) {
	w := sharedWorld(t)
	h := w.overHTTP(t)
	alice, bob := w.user("alice"), w.user("bob")
	phone, laptop, bobs := h.login(alice, "phone"), h.login(alice, "laptop"), h.login(bob, "phone")
	list := h.mustAs(bearer(phone.access), "logins", `{}`)["logins"].([]any)
	if len(list) != 2 {
		t.Fatalf("logins: %v", list)
	}
	id := map[any]any{}
	for _, l := range list {
		l := l.(map[string]any)
		id[l["device"]] = l["login"]
		if l["current"] != (l["device"] == "phone") {
			t.Errorf("current: %v", l)
		}
	}
	if status, reply := h.askAs(bearer(bobs.access), "logout", fmt.Sprintf(`{"login":%v}`, id["phone"])); status != http.StatusNotFound {
		t.Errorf("another user's login: %d %v", status, reply)
	}
	if status, reply := h.ask(alice, "logout", `{}`); status != http.StatusBadRequest {
		t.Errorf("logout without a login: %d %v", status, reply)
	}
	h.mustAs(bearer(phone.access), "logout", fmt.Sprintf(`{"login":%v}`, id["laptop"]))
	within(t, "the end of the other login", func() bool {
		status, _ := h.askAs(bearer(laptop.access), "me", `{}`)
		return status == http.StatusUnauthorized
	})
	// A device that is revoked takes the login along that is called like it.
	c := w.connect(t, login{version: 5, password: phone.access, id: "other"})
	h.must(alice, "device.revoke", `{"device":"phone"}`)
	if reason := c.Ended(); reason != packets.ErrAdministrativeAction.Code {
		t.Errorf("ended with %#x, want 0x98", reason)
	}
	if _, status := h.refresh(phone.refresh); status != http.StatusUnauthorized {
		t.Errorf("the refresh token of the revoked device: %d", status)
	}
	h.mustAs(bearer(bobs.access), "me", `{}`)
}

// A new key signs from the next start on, an older one counts as long as it is there,
// and refresh tokens need none of them.
func TestKeysAreReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.user("alice")
	old := w.overHTTP(t).login(alice, "")
	w.exec(`INSERT INTO postbox.signing_keys (id, secret)
		VALUES (gen_random_uuid()::text, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))`)
	w.restart()
	h := w.overHTTP(t)
	h.mustAs(bearer(old.access), "me", `{}`)
	renewed := h.login(alice, "")
	w.exec(`DELETE FROM postbox.signing_keys WHERE created_at < (SELECT max(created_at) FROM postbox.signing_keys)`)
	w.restart()
	h = w.overHTTP(t)
	h.mustAs(bearer(renewed.access), "me", `{}`)
	if status, reply := h.askAs(bearer(old.access), "me", `{}`); status != http.StatusUnauthorized {
		t.Errorf("a token of a key that is gone: %d %v", status, reply)
	}
	next, _ := h.refresh(old.refresh)
	h.mustAs(bearer(next.access), "me", `{}`)
}
