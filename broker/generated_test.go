package broker_test

import (
	"fmt"
	"net/http"
	"testing"

	"postbox/internal/apitest/contract"
)

// Whatever is asked of an operation, right or wrong, has the answer that the
// served document promises, and never a fault of the server.
func TestGeneratedRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Limits.RequestRate = 0 })
	alice, bob, carol := w.user("alice"), w.user("bob"), w.user("carol")
	h := w.overHTTP(t)
	say := func(from, to, body string) string {
		t.Helper()
		return h.must(from, "send", fmt.Sprintf(`{"to":%q,"body":%q}`, to, body))["id"].(string)
	}
	own := say(alice, bob, "mine")
	say(bob, alice, "to me")
	foreign := say(carol, bob, "none of alice's business")
	w.connect(t, durable(5, carol, "carols"))
	header, _ := http.NewRequest(http.MethodPost, h.url, nil)
	header.SetBasicAuth(alice, password)
	contract.Generated(t, contract.Surface{
		URL: h.url, Checker: h.client.Transport.(*contract.Checker), Authorization: header.Header.Get("Authorization"),
		Foreign: map[string][]any{
			"id": {foreign}, "before": {foreign}, "after": {foreign}, "around": {foreign}, "device": {"carols"},
			"with": {carol}, "to": {carol}, "user": {bob},
		},
		Valid: func(operation string) map[string]any {
			switch operation {
			case "send":
				return map[string]any{"to": bob, "body": "hello"}
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
