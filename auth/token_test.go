package auth

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"postbox"
)

var (
	noon    = time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC)
	testKey = Key{ID: "k1", Secret: []byte("0123456789abcdef0123456789abcdef"), Created: noon}
)

func newTokens(t testing.TB, now time.Time, keys ...Key) *Tokens {
	t.Helper()
	tokens, err := NewTokens(keys, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func issue(t testing.TB, tokens *Tokens, user postbox.User, p Purpose, ttl time.Duration) string {
	t.Helper()
	token, _, err := tokens.Issue(user, p, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestATokenSaysWhoAndUntilWhen(t *testing.T) {
	t.Parallel()
	tokens := newTokens(t, noon, testKey)
	token, expires, err := tokens.Issue("alice", PurposeAccess, 12*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if !LooksLikeToken(token) {
		t.Errorf("LooksLikeToken(%s) = false", token)
	}
	got, err := tokens.Verify(token, PurposeAccess)
	if err != nil {
		t.Fatal(err)
	}
	issued := noon.Truncate(time.Microsecond)
	if got.User != "alice" || !got.Issued.Equal(issued) || !got.Expires.Equal(expires) || !expires.Equal(issued.Add(12*time.Hour)) || got.ID == "" {
		t.Errorf("Verify = %+v, want alice, issued %s, ending %s", got, issued, expires)
	}
	again, err := tokens.Verify(issue(t, tokens, "alice", PurposeAccess, time.Hour), PurposeAccess)
	if err != nil || again.ID == got.ID {
		t.Errorf("a second token has the id %s of the first, %v", again.ID, err)
	}
}

// The payload is what RFC 7519 and docs/spec.md call for, so that any JWT
// library can read it.
func TestTheTokenIsAnOrdinaryJWT(t *testing.T) {
	t.Parallel()
	token := issue(t, newTokens(t, noon, testKey), "alice", PurposeStream, time.Hour)
	var c jwt.MapClaims
	parsed, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return testKey.Secret, nil },
		jwt.WithTimeFunc(func() time.Time { return noon }))
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Header["kid"] != "k1" || parsed.Header["alg"] != "HS256" {
		t.Errorf("header %v, want kid k1 and alg HS256", parsed.Header)
	}
	want := `["postbox"] 1.795352400123456e+09 1.795348800123456e+09 postbox stream alice`
	aud, _ := json.Marshal(c["aud"])
	if got := fmt.Sprint(string(aud), " ", c["exp"], " ", c["iat"], " ", c["iss"], " ", c["purpose"], " ", c["sub"]); got != want {
		t.Errorf("claims %s, want %s", got, want)
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	tokens := newTokens(t, noon, testKey)
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	good := func() jwt.MapClaims {
		return jwt.MapClaims{"iss": "postbox", "aud": "postbox", "sub": "alice", "jti": "1", "purpose": "access",
			"iat": noon.Unix(), "exp": noon.Unix() + 60}
	}
	sign := func(method jwt.SigningMethod, kid any, key any, change func(jwt.MapClaims)) string {
		c := good()
		if change != nil {
			change(c)
		}
		token := jwt.NewWithClaims(method, c)
		token.Header["kid"] = kid
		s, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	with := func(name string, value any) string {
		return sign(jwt.SigningMethodHS256, "k1", testKey.Secret, func(c jwt.MapClaims) {
			c[name] = value
			if value == nil {
				delete(c, name)
			}
		})
	}
	valid := with("jti", "2")
	if _, err := tokens.Verify(valid, PurposeAccess); err != nil {
		t.Fatalf("the token that all others are made from is refused: %v", err)
	}
	parts := strings.Split(valid, ".")
	forged := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"postbox","aud":"postbox","sub":"bob","purpose":"access","iat":1,"exp":9999999999}`))
	tests := []struct{ name, token, says string }{
		{"empty", "", "malformed"},
		{"a password", "correct horse", "malformed"},
		{"a line end in it", valid[:9] + "\n" + valid[9:], "malformed"},
		{"two parts", parts[0] + "." + parts[1], "malformed"},
		{"too long", strings.Repeat("a", 5000), "at most"},
		{"no signature", parts[0] + "." + parts[1] + ".", "signature"},
		{"claims exchanged", parts[0] + "." + forged + "." + parts[2], "signature"},
		{"alg none", sign(jwt.SigningMethodNone, "k1", jwt.UnsafeAllowNoneSignatureType, nil), "algorithm"},
		{"alg HS512 with our key", sign(jwt.SigningMethodHS512, "k1", testKey.Secret, nil), "algorithm"},
		{"alg EdDSA", sign(jwt.SigningMethodEdDSA, "k1", private, nil), "algorithm"},
		{"another secret", sign(jwt.SigningMethodHS256, "k1", []byte("another secret, as long as it must be"), nil), "signature"},
		{"unknown key", sign(jwt.SigningMethodHS256, "k2", testKey.Secret, nil), "key"},
		{"key id of another type", sign(jwt.SigningMethodHS256, 1, testKey.Secret, nil), "key"},
		{"ended this second", with("exp", noon.Unix()), "ended at 2026-11-22T12:00:00Z"},
		{"no end", with("exp", nil), "claims"},
		{"end zero", with("exp", 0), "claims"},
		{"end of no number", with("exp", "soon"), "malformed"},
		{"end after the world's", with("exp", 1e300), "malformed"},
		{"another audience", with("aud", "other"), "audience"},
		{"no audience", with("aud", nil), "claims"},
		{"another issuer", with("iss", "other"), "issuer"},
		{"no time of issue", with("iat", nil), "time of issue"},
		{"no user", with("sub", nil), "names no user"},
		{"a name that nobody can have", with("sub", "Alice/+"), "names no user"},
		{"a stream token", with("purpose", "stream"), `for "stream", not for "access"`},
		{"no purpose", with("purpose", nil), "not for"},
	}
	for _, tt := range tests {
		got, err := tokens.Verify(tt.token, PurposeAccess)
		if !errors.Is(err, postbox.ErrUnauthenticated) || got != (Claims{}) {
			t.Errorf("%s: Verify = %+v, %v, want ErrUnauthenticated", tt.name, got, err)
		} else if !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: the error %q does not say %q", tt.name, err, tt.says)
		}
	}
}

func TestATokenEndsWhenItsTimeHasCome(t *testing.T) {
	t.Parallel()
	token := issue(t, newTokens(t, noon, testKey), "alice", PurposeAccess, time.Hour)
	end := noon.Truncate(time.Microsecond).Add(time.Hour)
	for at, ok := range map[time.Time]bool{end.Add(-time.Microsecond): true, end: false, end.Add(time.Minute): false} {
		if _, err := newTokens(t, at, testKey).Verify(token, PurposeAccess); (err == nil) != ok {
			t.Errorf("Verify at %s: %v, want it accepted: %t", at, err, ok)
		}
	}
}

// A token issued right after a password change must be told from one issued
// right before it, in the same second.
func TestTheTimeOfIssueIsExact(t *testing.T) {
	t.Parallel()
	for _, micros := range []int64{0, 1, 999_999, 123_456, 500_000} {
		for _, second := range []int64{1, 1_795_348_800, 4_102_444_799} {
			at := time.Unix(second, micros*1000)
			tokens := newTokens(t, at, testKey)
			got, err := tokens.Verify(issue(t, tokens, "alice", PurposeAccess, time.Hour), PurposeAccess)
			if err != nil || !got.Issued.Equal(at) {
				t.Errorf("issued at %d.%06d, read as %s, %v", second, micros, got.Issued, err)
			}
		}
	}
}

func TestTheNewestKeySignsAndOldOnesStillCount(t *testing.T) {
	t.Parallel()
	newer := NewKey()
	newer.Created = noon.Add(time.Hour)
	old := issue(t, newTokens(t, noon, testKey), "alice", PurposeAccess, time.Hour)
	both := newTokens(t, noon, newer, testKey)
	if _, err := both.Verify(old, PurposeAccess); err != nil {
		t.Errorf("a token of the old key: %v", err)
	}
	token := issue(t, newTokens(t, noon, testKey, newer), "alice", PurposeAccess, time.Hour)
	if _, err := newTokens(t, noon, newer).Verify(token, PurposeAccess); err != nil {
		t.Errorf("with two keys the older one signed: %v", err)
	}
	if _, err := newTokens(t, noon, newer).Verify(old, PurposeAccess); !errors.Is(err, postbox.ErrUnauthenticated) {
		t.Errorf("a token of a removed key: %v, want ErrUnauthenticated", err)
	}
}

func TestNewTokensRefusesUnusableKeys(t *testing.T) {
	t.Parallel()
	short := Key{ID: "k2", Secret: make([]byte, 31)}
	for name, keys := range map[string][]Key{"none": nil, "short": {testKey, short}, "nameless": {{Secret: testKey.Secret}}} {
		if _, err := NewTokens(keys, nil); err == nil {
			t.Errorf("%s: NewTokens takes it", name)
		}
	}
}

func TestIssueRefusesWhatNoTokenMayBe(t *testing.T) {
	t.Parallel()
	tokens := newTokens(t, noon, testKey)
	if _, _, err := tokens.Issue("alice", PurposeAccess, 0); err == nil {
		t.Error("a token without life was issued")
	}
	if _, _, err := tokens.Issue("", PurposeAccess, time.Hour); err == nil {
		t.Error("a token for nobody was issued")
	}
	if _, _, err := tokens.Issue("alice", "", time.Hour); err == nil {
		t.Error("a token for nothing was issued")
	}
}

func TestAKeyPrintedShowsNoSecret(t *testing.T) {
	t.Parallel()
	k := NewKey()
	j, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%+v", k), fmt.Sprintf("%#v", k), string(j)} {
		for _, secret := range []string{fmt.Sprint(k.Secret), string(k.Secret), base64.StdEncoding.EncodeToString(k.Secret), fmt.Sprintf("%x", k.Secret)} {
			if strings.Contains(s, secret) {
				t.Errorf("%s shows the secret", s)
			}
		}
	}
	if other := NewKey(); other.ID == k.ID || string(other.Secret) == string(k.Secret) {
		t.Error("two keys are equal")
	}
}

func TestLooksLikeToken(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"":                           false,
		"correct horse":              false,
		"eyJ":                        false,
		"eyJhbGciOiJIUzI1NiJ9.e30.s": true,
		"eyJhbGciOiJIUzI1NiJ9.e30":   false,
		"eyJ.a.b.c":                  false,
		"eyJ.a b.c":                  false,
		"a.b.c":                      false,
		"eyJ" + strings.Repeat("a", 5000) + ".b.c": false,
	} {
		if got := LooksLikeToken(s); got != want {
			t.Errorf("LooksLikeToken(%q) = %t, want %t", s, got, want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	tokens := newTokens(f, noon, testKey)
	// The same in each of the fuzzer's processes, unlike what Issue makes.
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, &wireClaims{Issuer: issuer, Audience: jwt.ClaimStrings{issuer},
		Subject: "alice", Purpose: PurposeAccess, Issued: instantOf(noon), Expires: instantOf(noon.Add(time.Hour))})
	token.Header["kid"] = testKey.ID
	valid, err := token.SignedString(testKey.Secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(valid)
	f.Add(valid[:len(valid)-1] + "\n" + valid[len(valid)-1:])
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add(strings.Replace(valid, ".", ". ", 1))
	f.Fuzz(func(t *testing.T, s string) {
		got, err := tokens.Verify(s, PurposeAccess)
		if (err == nil) != (s == valid) {
			t.Errorf("Verify(%q) = %+v, %v; only %q was issued", s, got, err, valid)
		}
		if err != nil && !errors.Is(err, postbox.ErrUnauthenticated) {
			t.Errorf("Verify(%q): %v, want ErrUnauthenticated", s, err)
		}
	})
}

func FuzzInstant(f *testing.F) {
	f.Add(int64(1_795_348_800_123_456))
	f.Fuzz(func(t *testing.T, micros int64) {
		if micros < 0 || micros > 4_102_444_800_000_000 { // 1970 to 2099
			return
		}
		b, err := json.Marshal(instant(micros))
		if err != nil {
			t.Fatal(err)
		}
		var got instant
		if err := json.Unmarshal(b, &got); err != nil || got != instant(micros) {
			t.Errorf("%d became %s and %d, %v", micros, b, got, err)
		}
	})
}
