package broker_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/configs"
)

// Who knows the own name and password erases the own account, and nobody else's. All
// that is open ends; what is still to be delivered to others is a tombstone by then,
// and their histories are whole.
func TestErase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) {
		w.config.Registration, w.config.Limits.RequestRate = configs.RegistrationOpen, 0
	})
	h := w.overHTTP(t)
	versions(t, func(t *testing.T, v byte) {
		alice, bob := w.user("alice"), w.user("bob")
		phone := w.connect(t, login{version: v, user: alice, id: "phone"})
		page := h.stream(alice)
		token := h.login(alice, "")
		slow := w.connect(t, login{version: v, user: bob, id: "slow", props: packets.Properties{ReceiveMaximum: 64}})
		slow.listen(bob)
		for i := range 200 { // more than its window
			h.must(alice, "send", fmt.Sprintf(`{"to":%q,"body":"confidential %d"}`, bob, i))
		}
		h.must(bob, "send", fmt.Sprintf(`{"to":%q,"body":"an answer"}`, alice))
		first, _ := slow.receive()

		for request, want := range map[string]int{
			fmt.Sprintf(`{"user":%q,"password":%q}`, bob, password):   http.StatusForbidden,
			fmt.Sprintf(`{"user":%q,"password":%q}`, alice, "wrong"):  http.StatusForbidden,
			fmt.Sprintf(`{"user":%q}`, alice):                         http.StatusForbidden,
			fmt.Sprintf(`{"password":%q}`, password):                  http.StatusBadRequest,
			fmt.Sprintf(`{"user":%q,"password":%q,"x":1}`, alice, ""): http.StatusBadRequest,
		} {
			if status, reply := h.askAs(bearer(token.access), "erase", request); status != want {
				t.Errorf("%s: %d %v, want %d", request, status, reply, want)
			}
		}
		phone.Quiet()
		began := time.Now()
		got := h.mustAs(bearer(token.access), "erase", fmt.Sprintf(`{"user":%q,"password":%q}`, alice, password))
		if got["messages"] != 200.0 || got["complete"] != true {
			t.Errorf("erased: %v", got)
		}
		if reason := phone.Ended(); v == 5 && reason != packets.ErrAdministrativeAction.Code {
			t.Errorf("ended with %#x, want 0x98", reason)
		}
		if e, ok := page.next(); ok && e.body() == "" {
			t.Errorf("the stream goes on with %+v", e)
		}
		if took := time.Since(began); took > atOnce+5*time.Second {
			t.Errorf("it took effect after %v", took)
		}
		for _, authorization := range []string{bearer(token.access), basic(alice, password)} {
			if status, _ := h.askAs(authorization, "me", `{}`); status != http.StatusUnauthorized {
				t.Errorf("who was erased is let in: %d", status)
			}
		}
		if _, status := h.refresh(token.refresh); status != http.StatusUnauthorized {
			t.Errorf("a refresh token: %d", status)
		}

		// What the slow device had not been sent yet comes without contents.
		seen := 0
		for n, p := 0, first; ; n++ {
			slow.puback(p.PacketID)
			var e envelope
			if p, e = slow.receive(); e.body() == "an answer" {
				break
			}
			if strings.Contains(string(p.Payload), "confidential") {
				seen = n + 2
			}
			if strings.Contains(string(p.Payload), alice) && n > 100 {
				t.Fatalf("delivery %d names who was erased: %s", n+2, p.Payload)
			}
		}
		if seen > 100 {
			t.Errorf("delivery %d of 201 had contents, though no more than a window was on its way", seen)
		}
		talks := h.must(bob, "conversations", `{}`)["conversations"].([]any)
		with, _ := talks[0].(map[string]any)["with"].(string)
		if len(talks) != 1 || !strings.HasPrefix(with, "erased.") {
			t.Fatalf("bob's conversations: %v", talks)
		}
		messages := h.must(bob, "history", fmt.Sprintf(`{"with":%q,"limit":500}`, with))["messages"].([]any)
		gone := 0
		for _, m := range messages {
			m := m.(map[string]any)
			if m["from"] == with && m["retracted"] == true && m["body"] == nil {
				gone++
			}
		}
		if last := messages[len(messages)-1].(map[string]any); len(messages) != 201 || gone != 200 || last["body"] != "an answer" || last["to"] != with {
			t.Errorf("%d messages, %d tombstones, the last is %v", len(messages), gone, last)
		}
		if status, _ := h.ask(bob, "send", fmt.Sprintf(`{"to":%q,"body":"are you there?"}`, alice)); status != http.StatusNotFound {
			t.Errorf("a message to who was erased: %d", status)
		}
		if status, _ := h.askAs("", "register", fmt.Sprintf(`{"user":%q,"password":"another secret"}`, alice)); status != http.StatusConflict {
			t.Errorf("the name is given again: %d", status)
		}
	})
}
