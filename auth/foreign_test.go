package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"postbox"
)

// abroad is another issuer, with keys that it changes and a clock.
type abroad struct {
	t *testing.T

	mu      sync.Mutex // guards all below
	now     time.Time
	keys    map[string]crypto.Signer
	extra   []any // what else is in the set
	fetched int
	down    bool
}

func newAbroad(t *testing.T) (*abroad, *Foreign) {
	t.Helper()
	a := &abroad{t: t, now: noon, keys: make(map[string]crypto.Signer)}
	f, err := NewForeign(ForeignOptions{
		Issuer: "https://login.example.org", Audience: "chat", Algorithms: []string{"RS256", "ES256", "EdDSA"}, UserClaim: "sub",
		Fetch: a.fetch, Now: a.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a, f
}

func (a *abroad) clock() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now
}

func (a *abroad) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *abroad) fetch(ctx context.Context) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fetched++
	if a.down || ctx.Err() != nil {
		return nil, errors.New("connection refused")
	}
	keys := a.extra
	for kid, key := range a.keys {
		jwk, err := jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid, USE: jwkset.UseSig}})
		if err != nil {
			return nil, err
		}
		keys = append(keys, jwk.Marshal())
	}
	return json.Marshal(map[string]any{"keys": keys})
}

// claims are good ones, with changes: nil takes one away.
func (a *abroad) claims(change jwt.MapClaims) jwt.MapClaims {
	now := a.clock()
	c := jwt.MapClaims{"iss": "https://login.example.org", "aud": []string{"chat", "mail"}, "sub": "Alice", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	for name, v := range change {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	return c
}

func (a *abroad) sign(method jwt.SigningMethod, kid string, key any, c jwt.MapClaims) string {
	a.t.Helper()
	token := jwt.NewWithClaims(method, c)
	token.Header["kid"] = kid
	signed, err := token.SignedString(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestForeignTokens(t *testing.T) {
	t.Parallel()
	a, f := newAbroad(t)
	rs := rsaKey(t)
	es, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.keys = map[string]crypto.Signer{"rs": rs, "es": es, "ed": ed}
	// What has no place in it, or is of a kind that nobody here knows, does no harm.
	a.extra = []any{map[string]any{"kty": "oct", "kid": "secret", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}, map[string]any{"kty": "XYZ", "kid": "new"}}

	for kid, method := range map[string]jwt.SigningMethod{"rs": jwt.SigningMethodRS256, "es": jwt.SigningMethodES256, "ed": jwt.SigningMethodEdDSA} {
		token := a.sign(method, kid, a.keys[kid], a.claims(nil))
		got, err := f.Verify(t.Context(), token)
		if err != nil || got.User != "alice" || !got.Issued.Equal(noon.Truncate(time.Second)) || !got.Expires.Equal(noon.Truncate(time.Second).Add(time.Hour)) {
			t.Errorf("%s: %+v, %v", kid, got, err)
		}
		if !f.Issued(token) {
			t.Errorf("%s: a token of the issuer is not taken for one", kid)
		}
	}
	if f.Issued(issue(t, newTokens(t, noon, testKey), "alice", PurposeAccess, time.Hour)) {
		t.Error("one of our own tokens is taken for one of the other issuer")
	}

	public, err := x509.MarshalPKIXPublicKey(rs.Public())
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	stranger := rsaKey(t)
	for name, token := range map[string]string{
		"none":                           a.sign(jwt.SigningMethodNone, "rs", jwt.UnsafeAllowNoneSignatureType, a.claims(nil)),
		"the public key as a secret":     a.sign(jwt.SigningMethodHS256, "rs", publicPEM, a.claims(nil)),
		"the public key's bytes":         a.sign(jwt.SigningMethodHS256, "rs", public, a.claims(nil)),
		"a secret of the set":            a.sign(jwt.SigningMethodHS256, "secret", []byte("secretsecretsecretsecretsecret"), a.claims(nil)),
		"an algorithm that is not named": a.sign(jwt.SigningMethodPS256, "rs", rs, a.claims(nil)),
		"another key":                    a.sign(jwt.SigningMethodRS256, "rs", stranger, a.claims(nil)),
		"an unknown key":                 a.sign(jwt.SigningMethodRS256, "other", stranger, a.claims(nil)),
		"another audience":               a.sign(jwt.SigningMethodRS256, "rs", rs, a.claims(jwt.MapClaims{"aud": "mail"})),
		"no audience":                    a.sign(jwt.SigningMethodRS256, "rs", rs, a.claims(jwt.MapClaims{"aud": nil})),
		"another issuer":                 a.sign(jwt.SigningMethodRS256, "rs", rs, a.claims(jwt.MapClaims{"iss": "https://login.example.com"})),
		"our own issuer":                 a.sign(jwt.SigningMethodRS256, "rs", rs, a.claims(jwt.MapClaims{"iss": issuer})),
		"over":                           a.sign(jwt.SigningMethodRS256, "rs", rs, a.claims(jwt.MapClaims{"exp": noon.Add(-time.Minute).Unix()})),
		"no end":                         a.sign(jwt.SigningMethodRS256, "rs", rs, a.claims(jwt.MapClaims{"exp": nil})),
		"no issue":                       a.sign(jwt.SigningMethodRS256, "rs", rs, a.claims(jwt.MapClaims{"iat": nil})),
		"issued later":                   a.sign(jwt.SigningMethodRS256, "rs", rs, a.claims(jwt.MapClaims{"iat": noon.Add(time.Hour).Unix()})),
		"not yet":                        a.sign(jwt.SigningMethodRS256, "rs", rs, a.claims(jwt.MapClaims{"nbf": noon.Add(time.Hour).Unix()})),
		"no user":                        a.sign(jwt.SigningMethodRS256, "rs", rs, a.claims(jwt.MapClaims{"sub": nil})),
		"a user that is no name":         a.sign(jwt.SigningMethodRS256, "rs", rs, a.claims(jwt.MapClaims{"sub": "auth0|5f7c8ec7c33c6c004bbafe82"})),
		"a number for a user":            a.sign(jwt.SigningMethodRS256, "rs", rs, a.claims(jwt.MapClaims{"sub": 7})),
		"cut":                            strings.TrimSuffix(a.sign(jwt.SigningMethodRS256, "rs", rs, a.claims(nil)), "A")[:200],
		"too long":                       a.sign(jwt.SigningMethodRS256, "rs", rs, a.claims(jwt.MapClaims{"x": strings.Repeat("x", maxToken)})),
	} {
		if got, err := f.Verify(t.Context(), token); !errors.Is(err, postbox.ErrUnauthenticated) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// A key is taken soon after its issuer has begun to use it, and not any more soon
// after it was withdrawn; strangers cannot make us ask again and again.
func TestForeignKeysRotate(t *testing.T) {
	t.Parallel()
	a, f := newAbroad(t)
	a.keys["old"] = rsaKey(t)
	token := func(kid string) string {
		return a.sign(jwt.SigningMethodRS256, kid, a.keys[kid], a.claims(nil))
	}
	old := token("old")
	want := func(when string, err error, is error, fetched int) {
		t.Helper()
		if !errors.Is(err, is) || (err == nil) != (is == nil) || a.fetched != fetched {
			t.Errorf("%s: %v after %d fetches, want %v after %d", when, err, a.fetched, is, fetched)
		}
	}
	verify := func(token string) error { _, err := f.Verify(t.Context(), token); return err }
	want("the first", verify(old), nil, 1)
	a.keys["new"] = rsaKey(t)
	want("a new one, at once", verify(token("new")), postbox.ErrUnauthenticated, 1)
	a.set(func() { a.now = noon.Add(keysPause) })
	want("a new one, later", verify(token("new")), nil, 2)
	for i := range 100 {
		err := verify(a.sign(jwt.SigningMethodRS256, fmt.Sprint("made up ", i), a.keys["new"], a.claims(nil)))
		want("made up", err, postbox.ErrUnauthenticated, 2)
	}
	delete(a.keys, "old")
	want("a withdrawn one, at once", verify(old), nil, 2)
	a.set(func() { a.now = a.now.Add(keysLife) })
	want("a withdrawn one, later", verify(old), postbox.ErrUnauthenticated, 3)
	want("the other", verify(token("new")), nil, 3)

	a.set(func() { a.down, a.now = true, a.now.Add(keysLife) })
	want("a known one, when keys cannot be had", verify(token("new")), nil, 4)
	want("again", verify(token("new")), nil, 4)
	unknown := a.sign(jwt.SigningMethodRS256, "newer", a.keys["new"], a.claims(nil))
	want("an unknown one, when keys cannot be had", verify(unknown), postbox.ErrUnavailable, 4)
	a.set(func() { a.down, a.now = false, a.now.Add(keysPause) })
	want("an unknown one, when they can be had again", verify(unknown), postbox.ErrUnauthenticated, 5)
}

// A client that goes away while it waits for keys fails nobody else's token.
func TestForeignKeysOutliveWhoAskedForThem(t *testing.T) {
	t.Parallel()
	a, f := newAbroad(t)
	a.keys["k"] = rsaKey(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Verify(gone, a.sign(jwt.SigningMethodRS256, "k", a.keys["k"], a.claims(nil))); err != nil {
		t.Error(err)
	}
}

func TestForeignNeedsItsSettings(t *testing.T) {
	t.Parallel()
	whole := ForeignOptions{
		Issuer: "https://login.example.org", Audience: "chat", Algorithms: []string{"RS256"}, UserClaim: "sub",
		Fetch: func(context.Context) ([]byte, error) { return nil, nil },
	}
	for name, change := range map[string]func(o *ForeignOptions){
		"no issuer": func(o *ForeignOptions) { o.Issuer = "" }, "ours": func(o *ForeignOptions) { o.Issuer = issuer },
		"no audience": func(o *ForeignOptions) { o.Audience = "" }, "no algorithm": func(o *ForeignOptions) { o.Algorithms = nil },
		"HS256": func(o *ForeignOptions) { o.Algorithms = []string{"RS256", "HS256"} }, "none": func(o *ForeignOptions) { o.Algorithms = []string{"none"} },
		"no claim": func(o *ForeignOptions) { o.UserClaim = "" }, "no keys": func(o *ForeignOptions) { o.Fetch = nil },
	} {
		o := whole
		change(&o)
		if _, err := NewForeign(o); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := NewForeign(whole); err != nil {
		t.Error(err)
	}
}
