package broker_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"postbox"
	"postbox/auth"
	"postbox/configs"
	"postbox/internal/apitest/contract"
)

// Whatever is asked of an operation, right or wrong, has the answer that the
// served document promises, and never a fault of the server.
func TestGeneratedRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) {
		w.config.Limits.RequestRate, w.config.Limits.SignalRate, w.config.Registration = 0, 0, configs.RegistrationOpen
		// Each request has an address of its own: wrong passwords are not slowed.
		w.config.Proxy.Trusted, w.config.Proxy.MQTTHeader = []string{"127.0.0.1"}, configs.MQTTHeaderNone
	})
	alice, bob, carol, dave := w.admin("alice"), w.user("bob"), w.user("carol"), w.user("dave")
	h := w.overHTTP(t)
	say := func(from, to, body string) string {
		t.Helper()
		return h.must(from, "send", fmt.Sprintf(`{"to":%q,"body":%q}`, to, body))["id"].(string)
	}
	own := say(alice, bob, "mine")
	say(bob, alice, "to me")
	foreign := say(carol, bob, "none of alice's business")
	w.connect(t, durable(5, carol, "carols"))
	h.must(carol, "room.create", `{"room":"theirs"}`)
	h.must(bob, "room.create", `{"room":"open","public":true}`)
	h.must(alice, "room.create", `{"room":"ours"}`)
	h.must(alice, "room.add", fmt.Sprintf(`{"room":"ours","user":%q,"role":"owner"}`, bob))
	refresh := auth.NewRefreshToken()
	hash, err := passwordHash()
	if err != nil {
		t.Fatal(err)
	}
	login := `INSERT INTO postbox.logins (id, user_id, family, token_hash, expires_at) OVERRIDING SYSTEM VALUE
		SELECT $2, id, $3, $4, now() + interval '1 hour' FROM postbox.users WHERE name = $1
		ON CONFLICT (id) DO UPDATE SET token_hash = EXCLUDED.token_hash, spent_hash = NULL`
	access, _, err := w.tokens(t).Grant(auth.Grant{User: postbox.User(alice), Purpose: auth.PurposeAccess, Life: time.Hour, Login: 777_777})
	if err != nil {
		t.Fatal(err)
	}
	addresses := 0
	contract.Generated(t, contract.Surface{
		URL: h.url, Checker: h.client.Transport.(*contract.Checker), Authorization: basic(alice, password),
		Unauthenticated: []string{"login", "refresh"},
		Prepare: func(operation string, r *http.Request) {
			addresses++
			r.Header.Set("X-Forwarded-For", fmt.Sprintf("10.%d.%d.%d", addresses>>16&255, addresses>>8&255, addresses&255))
			switch operation {
			case "password":
				w.exec(`UPDATE postbox.users SET password_hash = $2 WHERE name = $1`, alice, hash)
			case "refresh", "logout":
				w.exec(login, alice, 777_777, refresh.Family(), refresh.Hash())
				r.Header.Set("Authorization", bearer(access))
			case "erase": // somebody else each time, though of the same name
				w.exec(`DELETE FROM postbox.reserved_names`)
				if _, err := w.store.AddUser(t.Context(), "leaver", hash, false); err != nil && !errors.Is(err, postbox.ErrConflict) {
					t.Fatal(err)
				}
				r.Header.Set("Authorization", basic("leaver", password))
			case "invite.remove":
				w.exec(`INSERT INTO postbox.invites (id, code_hash, uses, expires_at) OVERRIDING SYSTEM VALUE
					VALUES (888888, '', 1, now() + interval '1 hour') ON CONFLICT DO NOTHING`)
			}
		},
		Foreign: map[string][]any{
			"id": {foreign}, "before": {foreign}, "after": {foreign}, "around": {foreign}, "device": {"carols"},
			"with": {carol}, "to": {carol}, "user": {bob}, "room": {"theirs"},
		},
		Valid: func(operation string) map[string]any {
			switch operation {
			case "send":
				return map[string]any{"to": bob, "body": "hello"}
			case "search":
				return map[string]any{"text": "mine"}
			case "history":
				return map[string]any{"with": bob}
			case "read":
				return map[string]any{"with": bob, "seq": 1}
			case "edit":
				return map[string]any{"id": own, "body": "changed"}
			case "retract":
				return map[string]any{"id": own}
			case "device.revoke":
				w.exec(`INSERT INTO postbox.devices (user_id, client_id, epoch, protocol, expires_after, disconnected_at)
					SELECT id, 'phone', '', 5, 3600, now() FROM postbox.users WHERE name = $1 ON CONFLICT DO NOTHING`, alice)
				return map[string]any{"device": "phone"}
			case "block", "unblock":
				return map[string]any{"user": carol}
			case "password":
				return map[string]any{"old": password, "new": password}
			case "register":
				return map[string]any{"user": "stranger", "password": password}
			case "login":
				return map[string]any{"user": alice, "password": password}
			case "refresh":
				return map[string]any{"refresh_token": refresh.Secret()}
			case "erase":
				return map[string]any{"user": "leaver", "password": password}
			case "logout":
				return map[string]any{"login": 777_777}
			case "user.add":
				return map[string]any{"user": "newcomer"}
			case "user.password":
				return map[string]any{"user": dave, "password": password}
			case "user.disable", "user.enable", "user.revoke":
				return map[string]any{"user": dave}
			case "user.admin":
				return map[string]any{"user": dave, "admin": true}
			case "invite.remove":
				return map[string]any{"id": 888_888}
			case "room.create":
				return map[string]any{"room": "new", "title": "New"}
			case "room.list":
				return map[string]any{"public": true}
			case "room.join":
				return map[string]any{"room": "open"}
			case "room.get", "room.update", "room.delete", "room.leave", "room.add", "room.remove", "room.role":
				// Whatever was done before, the room is there, with alice and another owner.
				w.exec(`UPDATE postbox.conversations SET deleted_at = NULL WHERE room = 'ours'`)
				w.exec(`UPDATE postbox.memberships SET left_seq = NULL, role = 'owner' WHERE conversation_id = (SELECT id FROM postbox.conversations WHERE room = 'ours')`)
				valid := map[string]any{"room": "ours"}
				switch operation {
				case "room.add", "room.remove", "room.role":
					valid["user"] = bob
				}
				if operation == "room.role" {
					valid["role"] = "reader"
				}
				return valid
			case "signal":
				return map[string]any{"to": bob, "body": "typing"}
			case "profile", "presence":
				return map[string]any{"users": []string{bob, carol}}
			}
			return nil
		},
	}, 18, 200)
	// What is others' is as it was.
	if n := w.stored(carol, "none of alice's business"); n != 1 {
		t.Errorf("another's message is there %d times", n)
	}
	if got := h.must(carol, "devices", `{}`)["devices"].([]any); len(got) != 1 {
		t.Errorf("another's devices are %v", got)
	}
}
