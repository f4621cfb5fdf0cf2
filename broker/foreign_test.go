package broker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/mochi-mqtt/server/v2/packets"

	"postbox/configs"
)

// provider is another issuer, with a server for its keys.
type provider struct {
	*httptest.Server
	t testing.TB

	mu   sync.Mutex // guards all below
	keys map[string]*ecdsa.PrivateKey
	down bool
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{t: t, keys: make(map[string]*ecdsa.PrivateKey)}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	p.add("first")
	return p
}

func (p *provider) add(kid string) {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[kid] = key
}

func (p *provider) fails(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// ServeHTTP implements http.Handler.
func (p *provider) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	var set jwkset.JWKSMarshal
	for kid, key := range p.keys {
		k, err := jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}})
		if err != nil {
			p.t.Error(err)
		}
		set.Keys = append(set.Keys, k.Marshal())
	}
	_ = json.NewEncoder(w).Encode(set)
}

// config is what a server trusts the provider with.
func (p *provider) config(w *world) {
	w.config.Issuer = configs.Issuer{
		Name: "https://login.example.org", Audience: "chat", Algorithms: []string{"ES256"}, KeysURL: p.URL, UserClaim: "preferred_username", AddUsers: true,
	}
}

func (p *provider) token(user, kid string, life time.Duration, change jwt.MapClaims) string {
	p.t.Helper()
	now := time.Now()
	c := jwt.MapClaims{"iss": "https://login.example.org", "aud": "chat", "sub": "7", "preferred_username": user, "iat": now.Unix(), "exp": float64(now.Add(life).UnixMilli()) / 1000}
	for name, v := range change {
		c[name] = v
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := jwt.NewWithClaims(jwt.SigningMethodES256, c)
	t.Header["kid"] = kid
	signed, err := t.SignedString(p.keys[kid])
	if err != nil {
		p.t.Fatal(err)
	}
	return signed
}

// Tokens of another issuer let in at both edges, for who has an account and who has
// none yet, and end what they have opened; those for somebody else do not.
func TestForeignTokens(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	w := newWorld(t, p.config)
	h := w.overHTTP(t)
	bob := w.user("bob")
	versions(t, func(t *testing.T, v byte) {
		alice := w.user("alice") // has an account
		token := p.token(alice, "first", time.Hour, nil)
		w.connect(t, login{version: v, user: alice, id: "phone", password: token})
		for name, claims := range map[string]jwt.MapClaims{
			"another audience": {"aud": "mail"}, "another issuer": {"iss": "https://login.example.com"}, "no name": {"preferred_username": "Auth0|7"},
		} {
			if _, ack := w.login(t, login{version: v, user: "", id: "phone", password: p.token(alice, "first", time.Hour, claims)}); ack.ReasonCode != code(v, 4, 0x86) {
				t.Errorf("%s: CONNACK %#x", name, ack.ReasonCode)
			}
		}
		if _, ack := w.login(t, login{version: v, user: bob, id: "phone", password: token}); ack.ReasonCode != code(v, 4, 0x86) {
			t.Errorf("alice's token as bob: CONNACK %#x", ack.ReasonCode)
		}
		short := w.connect(t, login{version: v, user: alice, id: "tablet", password: p.token(alice, "first", 1500*time.Millisecond, nil)})
		if reason := short.Ended(); v == 5 && reason != 0xa0 {
			t.Errorf("the connection ended with %#x, want 0xA0", reason)
		}
	})
	root := w.admin("root")
	if status, _ := h.ask(root, "users", `{}`); status != http.StatusOK {
		t.Errorf("an administrator by password: %d", status)
	}
	if status, _ := h.askAs(bearer(p.token(root, "first", time.Hour, nil)), "users", `{}`); status != http.StatusForbidden {
		t.Errorf("another issuer makes administrators: %d", status)
	}
	token := p.token("Zoe", "first", time.Hour, nil)
	if got := h.mustAs(bearer(token), "me", `{}`); got["user"] != "zoe" {
		t.Errorf("who came for the first time is %v", got)
	}
	h.mustAs(basic(bob, password), "send", `{"to":"zoe","body":"welcome"}`)
	if _, err := w.store.CloseAccount(t.Context(), "zoe"); err != nil {
		t.Fatal(err)
	}
	await(t, "zoe is erased", func() bool { status, _ := h.askAs(bearer(token), "me", `{}`); return status == http.StatusUnauthorized })
	if n := w.number(`SELECT count(*) FROM postbox.users WHERE name = 'zoe'`); n != 0 {
		t.Error("who was erased has an account again")
	}
}

// Keys rotate: a new one counts within moments. While there are no keys to be had,
// nobody is told that their token is wrong.
func TestForeignKeys(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.fails(true)
	w := newWorld(t, p.config)
	h := w.overHTTP(t)
	first := p.token("alice", "first", time.Hour, nil)
	if _, ack := w.login(t, login{version: 5, user: "alice", id: "phone", password: first}); ack.ReasonCode != packets.ErrServerUnavailable.Code {
		t.Errorf("while there are no keys: CONNACK %#x, want 0x88", ack.ReasonCode)
	}
	if status, _ := h.askAs(bearer(first), "me", `{}`); status != http.StatusServiceUnavailable {
		t.Errorf("while there are no keys: %d, want 503", status)
	}
	p.fails(false)
	in := func(token string) func() bool {
		return func() bool { status, _ := h.askAs(bearer(token), "me", `{}`); return status == http.StatusOK }
	}
	await(t, "the keys are there", in(first))
	p.add("second")
	await(t, "the new key counts", in(p.token("alice", "second", time.Hour, nil)))
	p.fails(true)
	if !in(p.token("bob", "first", time.Hour, nil))() {
		t.Error("a key that is known does not count while keys cannot be had")
	}
}

// Without add_users, who has no account stays out.
func TestForeignUsersWithoutAnAccount(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	w := newWorld(t, p.config, func(w *world) { w.config.Issuer.AddUsers = false })
	if _, ack := w.login(t, login{version: 5, user: "alice", id: "phone", password: p.token("alice", "first", time.Hour, nil)}); ack.ReasonCode != 0x86 {
		t.Errorf("CONNACK %#x, want 0x86", ack.ReasonCode)
	}
	bob := w.user("bob")
	w.connect(t, login{version: 5, user: bob, id: "phone", password: p.token(bob, "first", time.Hour, nil)})
}
