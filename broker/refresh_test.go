package broker_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/auth"
)

// Each refresh token is used once for the next pair; one that was spent before ends
// the login, with its access tokens and the connections that they have opened, and
// nothing else of the user.
func TestStolenRefreshTokenEndsTheLogin(t *testing.T) {
	w := sharedWorld(t)
	h := w.overHTTP(t)
	versions(t, func(t *testing.T, v byte) {
		alice := w.user("alice")
		first, other := h.login(alice, ""), h.login(alice, "")
		second, _ := h.refresh(first.refresh)
		third, status := h.refresh(second.refresh)
		if status != http.StatusOK || third.refresh == second.refresh || second.refresh == first.refresh {
			t.Fatalf("refresh: %d, %t", status, third.refresh == second.refresh)
		}
		phone := w.connect(t, login{version: v, user: alice, id: "phone", password: first.access})
		laptop := w.connect(t, login{version: v, user: alice, id: "laptop", password: other.access})
		desk := w.connect(t, login{version: v, user: alice, id: "desk"}) // by password
		page, otherPage := h.streamAs(bearer(second.access), ""), h.streamAs(bearer(other.access), "")
		began := time.Now()
		if _, status := h.refresh(first.refresh); status != http.StatusUnauthorized {
			t.Errorf("a token spent long ago: %d", status)
		}
		if reason := phone.Ended(); v == 5 && reason != packets.ErrAdministrativeAction.Code {
			t.Errorf("ended with %#x, want 0x98", reason)
		}
		if e, ok := page.next(); ok {
			t.Errorf("the stream goes on with %+v", e)
		}
		if took := time.Since(began); took > atOnce {
			t.Errorf("it took effect after %v", took)
		}
		if _, status := h.refresh(third.refresh); status != http.StatusUnauthorized {
			t.Errorf("the last token of the ended login: %d", status)
		}
		for _, token := range []string{first.access, second.access, third.access} {
			if status, _ := h.askAs(bearer(token), "me", `{}`); status != http.StatusUnauthorized {
				t.Errorf("an access token of the ended login: %d", status)
			}
			if _, ack := w.login(t, login{version: v, user: alice, id: "phone", password: token}); ack.ReasonCode != code(v, 4, 0x86) {
				t.Errorf("an access token of the ended login: CONNACK %#x", ack.ReasonCode)
			}
		}
		laptop.Quiet()
		desk.Quiet()
		h.mustAs(bearer(other.access), "send", fmt.Sprintf(`{"to":%q,"body":"still here"}`, alice))
		otherPage.until("still here")
		if _, status := h.refresh(other.refresh); status != http.StatusOK {
			t.Errorf("another login of the user: %d", status)
		}
	})
}

// Who has lost the answer to a refresh asks again, whenever that is, and gets a
// successor: for a minute the same one, as do two tabs that ask at once; but not once
// that is spent.
func TestRefreshAgain(t *testing.T) {
	w := sharedWorld(t)
	h := w.overHTTP(t)
	alice := w.user("alice")
	first := h.login(alice, "")
	var wg sync.WaitGroup
	pairs := make([]tokenPair, 12)
	for i := range pairs {
		wg.Go(func() { pairs[i], _ = h.refresh(first.refresh) })
	}
	wg.Wait()
	for _, p := range pairs {
		if p.refresh != pairs[0].refresh || p.refresh == "" {
			t.Fatal("tabs that ask at once get different successors")
		}
		if me := h.mustAs(bearer(p.access), "me", `{}`); me["user"] != alice {
			t.Errorf("me is %v", me)
		}
	}
	if n := w.number(`SELECT count(*) FROM postbox.logins l JOIN postbox.users u ON u.id = l.user_id WHERE u.name = $1`, alice); n != 1 {
		t.Errorf("%d logins", n)
	}
	w.exec(`UPDATE postbox.logins SET used_at = used_at - interval '50 seconds' WHERE user_id = (SELECT id FROM postbox.users WHERE name = $1)`, alice)
	if again, _ := h.refresh(first.refresh); again.refresh != pairs[0].refresh {
		t.Error("within the minute the successor is another")
	}
	w.exec(`UPDATE postbox.logins SET used_at = used_at - interval '20 seconds' WHERE user_id = (SELECT id FROM postbox.users WHERE name = $1)`, alice)
	later, status := h.refresh(first.refresh)
	if status != http.StatusOK || later.refresh == pairs[0].refresh {
		t.Fatalf("after the minute: %d, the same successor: %t", status, later.refresh == pairs[0].refresh)
	}
	h.mustAs(bearer(later.access), "me", `{}`)
	if again, _ := h.refresh(first.refresh); again.refresh != later.refresh {
		t.Error("a tab that asks at the same time gets another successor")
	}
	if next, status := h.refresh(later.refresh); status != http.StatusOK || next.refresh == later.refresh {
		t.Errorf("the new successor: %d", status)
	}
	if _, status := h.refresh(first.refresh); status != http.StatusUnauthorized {
		t.Errorf("then the old token: %d", status)
	}
	// Somebody else has the token, too: who comes with the successor that was replaced
	// finds that out, and nobody has the login any more.
	shared := h.login(alice, "")
	mine, _ := h.refresh(shared.refresh)
	w.exec(`UPDATE postbox.logins SET used_at = used_at - interval '70 seconds' WHERE user_id = (SELECT id FROM postbox.users WHERE name = $1)`, alice)
	theirs, _ := h.refresh(shared.refresh)
	if _, status := h.refresh(mine.refresh); status != http.StatusUnauthorized {
		t.Errorf("a successor that was replaced: %d", status)
	}
	if _, status := h.refresh(theirs.refresh); status != http.StatusUnauthorized {
		t.Errorf("then the one in its place: %d", status)
	}
	for _, token := range []string{mine.access, theirs.access} {
		if status, _ := h.askAs(bearer(token), "me", `{}`); status != http.StatusUnauthorized {
			t.Errorf("an access token of the ended login: %d", status)
		}
	}

	spent := h.login(alice, "")
	next, _ := h.refresh(spent.refresh)
	last, _ := h.refresh(next.refresh)
	if _, status := h.refresh(spent.refresh); status != http.StatusUnauthorized {
		t.Errorf("a token whose successor is spent: %d", status)
	}
	if _, status := h.refresh(last.refresh); status != http.StatusUnauthorized {
		t.Errorf("and then the last one: %d", status)
	}
	over := h.login(alice, "")
	w.exec(`UPDATE postbox.logins SET expires_at = now() WHERE user_id = (SELECT id FROM postbox.users WHERE name = $1)`, alice)
	if _, status := h.refresh(over.refresh); status != http.StatusUnauthorized {
		t.Errorf("a token that is too old: %d", status)
	}
	if err := w.store.ForgetLogins(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.number(`SELECT count(*) FROM postbox.logins l JOIN postbox.users u ON u.id = l.user_id WHERE u.name = $1`, alice); n != 0 {
		t.Errorf("%d logins are kept whose time is over", n)
	}
}

// Over MQTT a refresh moves the end of the connection; a token of another user is
// forbidden and not spent. Without it the connection ends with its token, and a stream
// does.
func TestRefreshOverMQTT(t *testing.T) {
	t.Parallel()
	const life = 4 * time.Second
	w := newWorld(t, func(w *world) { w.config.Tokens.Access = life })
	h := w.overHTTP(t)
	for _, v := range []byte{4, 5} {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			t.Parallel()
			alice, bob := w.user("alice"), w.user("bob")
			began := time.Now()
			kept, left := h.login(alice, ""), h.login(alice, "")
			half, _, err := w.tokens(t).Issue(postbox.User(alice), auth.PurposeAccess, life/2)
			if err != nil {
				t.Fatal(err)
			}
			stays := w.connect(t, login{version: v, password: kept.access, id: "stays", clean: true})
			ends := w.connect(t, login{version: v, password: left.access, id: "ends", clean: true})
			halfway := w.connect(t, login{version: v, password: half, id: "half", clean: true})
			page := h.streamAs(bearer(left.access), "")
			token := h.mustAs(bearer(left.access), "stream_token", `{}`)
			if got := token["expires_in"].(float64); got > life.Seconds() {
				t.Errorf("the stream's token lives for %v s, longer than what it was made from", got)
			}
			byToken := h.streamAs("", fmt.Sprint("?token=", token["token"]))

			stays.subscribe("reply/" + alice + "/stays")
			bobs := h.login(bob, "")
			ask := func(refresh string) map[string]any {
				t.Helper()
				stays.id++
				stays.publish(publication{id: stays.id, qos: 1, topic: "api/v1/refresh", body: jsonOf(map[string]any{"refresh_token": refresh})})
				var reply map[string]any
				if err := json.Unmarshal(stays.sort(1, 0, 1).replies[0].Payload, &reply); err != nil {
					t.Fatal(err)
				}
				return reply
			}
			if reply := ask(bobs.refresh); codeOf(reply) != "forbidden" {
				t.Errorf("bob's token on alice's connection: %v", reply)
			}
			if _, status := h.refresh(bobs.refresh); status != http.StatusOK {
				t.Errorf("bob's token was spent by alice: %d", status)
			}
			halfway.Ended()
			renewed := pairOf(t, ask(kept.refresh))

			if reason := ends.Ended(); v == 5 && reason != packets.ErrMaxConnectTime.Code {
				t.Errorf("ended with %#x, want 0xa0", reason)
			}
			if took := time.Since(began); took < life-time.Second || took > life+patience/2 {
				t.Errorf("what a token of %v had opened ended after %v", life, took)
			}
			for name, p := range map[string]*events{"by Bearer": page, "by its own token": byToken} {
				if e, ok := p.next(); ok {
					t.Errorf("the stream %s goes on with %+v", name, e)
				}
			}
			stays.Quiet() // and is there, though its first token has ended, too
			if status, _ := h.askAs(bearer(renewed.access), "me", `{}`); status != http.StatusOK {
				t.Errorf("the new access token: %d", status)
			}
			if reason := stays.Ended(); v == 5 && reason != packets.ErrMaxConnectTime.Code {
				t.Errorf("in the end it ended with %#x, want 0xa0", reason)
			}
		})
	}
}
