package broker_test

import (
	"fmt"
	"net/http"
	"testing"

	"postbox"
)

// A token for the stream lets nobody do anything else, and dies with what it was made
// from.
func TestStreamToken(t *testing.T) {
	w := sharedWorld(t)
	h := w.overHTTP(t)
	alice := w.user("alice")
	tokenOf := func(authorization string) string {
		t.Helper()
		reply := h.mustAs(authorization, "stream_token", `{}`)
		if reply["expires_in"] != 3600.0 {
			t.Errorf("it counts for %v s, want an hour", reply["expires_in"])
		}
		return fmt.Sprint(reply["token"])
	}
	pair := h.login(alice, "")
	byPassword, byToken := tokenOf(basic(alice, password)), tokenOf(bearer(pair.access))
	for name, token := range map[string]string{"made by password": byPassword, "made by token": byToken} {
		if status, _ := h.askAs(bearer(token), "me", `{}`); status != http.StatusUnauthorized {
			t.Errorf("%s: as Bearer %d", name, status)
		}
		if _, ack := w.login(t, login{version: 5, user: alice, password: token, id: "phone"}); ack.ReasonCode != 0x86 {
			t.Errorf("%s: over MQTT CONNACK %#x", name, ack.ReasonCode)
		}
		page := h.streamAs("", "?token="+token)
		h.must(alice, "send", fmt.Sprintf(`{"to":%q,"body":%q}`, alice, name))
		page.until(name)
	}
	status := func(authorization, query string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+"/v1/stream"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		h.prepare(r, authorization)
		answer, err := h.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	for query, want := range map[string]int{
		"?token=" + pair.access: http.StatusUnauthorized, "?token=": http.StatusUnauthorized, "?token=x": http.StatusUnauthorized,
		"?token=" + byToken + "&token=" + byToken: http.StatusBadRequest, "?token=" + byToken + "&x=1": http.StatusBadRequest,
	} {
		if got := status("", query); got != want {
			t.Errorf("%.30s…: %d, want %d", query, got, want)
		}
	}
	if got := status(basic(alice, password), "?token="+byToken); got != http.StatusBadRequest {
		t.Errorf("a token and a header: %d", got)
	}
	page := h.streamAs("", "?token="+byToken)
	if status, _ := h.askAs(bearer(pair.access), "logout", `{}`); status != http.StatusOK {
		t.Fatalf("logout: %d", status)
	}
	if e, ok := page.next(); ok {
		t.Errorf("after the logout %+v comes", e)
	}
	if got := status("", "?token="+byToken); got != http.StatusUnauthorized {
		t.Errorf("after the logout: %d", got)
	}
	if got := status("", "?token="+byPassword); got != http.StatusOK {
		t.Errorf("made by password, after another login's end: %d", got)
	}
	if err := w.store.EndTokens(t.Context(), postbox.User(alice)); err != nil {
		t.Fatal(err)
	}
	within(t, "the end of the user's tokens", func() bool { return status("", "?token="+byPassword) == http.StatusUnauthorized })
}
