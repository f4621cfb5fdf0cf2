package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"postbox"
)

const (
	// issuer is both who makes our tokens and whom they are for.
	issuer = "postbox"
	// maxToken bounds what is parsed, in bytes; ours have some 400.
	maxToken = 4096
)

// Tokens issues and verifies our own tokens: JWT (RFC 7519) signed with
// HS256, the only algorithm it accepts. It is safe for concurrent use and
// never changes: a new key needs a new Tokens.
type Tokens struct {
	signer Key
	keys   map[string]Key
	now    func() time.Time
	parser *jwt.Parser
}

// NewTokens makes Tokens that sign with the newest of keys and accept all of
// them; it takes at least one. now is the clock; nil means time.Now.
func NewTokens(keys []Key, now func() time.Time) (*Tokens, error) {
	if len(keys) == 0 {
		return nil, errors.New("tokens need at least one signing key")
	}
	if now == nil {
		now = time.Now
	}
	t := &Tokens{signer: keys[0], keys: make(map[string]Key, len(keys)), now: now}
	for _, k := range keys {
		if err := k.check(); err != nil {
			return nil, err
		}
		t.keys[k.ID] = k
		if k.Created.After(t.signer.Created) {
			t.signer = k
		}
	}
	t.parser = jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(issuer), jwt.WithAudience(issuer),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(now), jwt.WithStrictDecoding())
	return t, nil
}

// Grant is what a token is to say.
type Grant struct {
	User    postbox.User
	Purpose Purpose
	Life    time.Duration
	// Issued is when the right began that the token is made from, by the database's
	// clock; zero: now, by this machine's. A token dies when its user's tokens are
	// ended after that.
	Issued time.Time
	Login  postbox.LoginID // zero: none
}

// Issue makes a token for user that ends after ttl, which must be positive,
// and says when that is.
func (t *Tokens) Issue(user postbox.User, purpose Purpose, ttl time.Duration) (token string, expires time.Time, err error) {
	return t.Grant(Grant{User: user, Purpose: purpose, Life: ttl})
}

// Grant makes a token that ends after the grant's life, which must be positive, and
// says when that is.
func (t *Tokens) Grant(g Grant) (token string, expires time.Time, err error) {
	if g.Life <= 0 || g.User == "" || g.Purpose == "" {
		return "", time.Time{}, fmt.Errorf("issue %s token for user %q with life %s: all three are needed", g.Purpose, g.User, g.Life)
	}
	now := t.now()
	if g.Issued.IsZero() {
		g.Issued = now
	}
	c := wireClaims{
		Issuer: issuer, Audience: jwt.ClaimStrings{issuer}, Subject: string(g.User), ID: rand.Text(), Login: g.Login,
		Purpose: g.Purpose, Issued: instantOf(g.Issued), Expires: instantOf(now.Add(g.Life)),
	}
	unsigned := jwt.NewWithClaims(jwt.SigningMethodHS256, &c)
	unsigned.Header["kid"] = t.signer.ID
	token, err = unsigned.SignedString(t.signer.Secret)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign %s token with %s: %w", g.Purpose, t.signer, err)
	}
	return token, c.Expires.time(), nil
}

// VerifyAccess is Verify for an access token.
func (t *Tokens) VerifyAccess(_ context.Context, token string) (Claims, error) {
	return t.Verify(token, PurposeAccess)
}

// Verify checks a token: one of our keys signed it, it is for us and for this
// purpose, and it has not ended. The error is ErrUnauthenticated and says what
// is wrong. Whether the user still exists, and whether the token was issued
// before the user's tokens_valid_after, is for the caller to compare.
func (t *Tokens) Verify(token string, purpose Purpose) (Claims, error) {
	if len(token) > maxToken {
		return Claims{}, refuse("the token has %d bytes; at most %d are allowed", len(token), maxToken)
	}
	if !LooksLikeToken(token) { // stricter than the parser, which skips line ends
		return Claims{}, errMalformed
	}
	var c wireClaims
	if _, err := t.parser.ParseWithClaims(token, &c, t.keyOf); err != nil {
		return Claims{}, explain(err, &c)
	}
	user, err := postbox.ParseUser(c.Subject)
	switch {
	case err != nil || c.Issued == 0:
		return Claims{}, refuse("the token names no user or no time of issue: log in again")
	case c.Purpose != purpose:
		return Claims{}, refuse("the token is for %q, not for %q", c.Purpose, purpose)
	}
	return Claims{User: user, Issued: c.Issued.time(), Expires: c.Expires.time(), ID: c.ID, Login: c.Login}, nil
}

func (t *Tokens) keyOf(token *jwt.Token) (any, error) {
	id, _ := token.Header["kid"].(string)
	k, ok := t.keys[id]
	if !ok {
		return nil, errors.New("unknown key")
	}
	return k.Secret, nil
}

var errMalformed = refuse("the token is malformed: it is not a JWT")

// explain turns the library's error into a sentence. Claims are only looked at
// once the signature is right, so it tells a forger nothing.
func explain(err error, c *wireClaims) error {
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return errMalformed
	case errors.Is(err, jwt.ErrTokenUnverifiable):
		return refuse("the token was signed with a key that is not ours, or is no more: log in again")
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return refuse("the token's signature is wrong, or not of an algorithm that is accepted")
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return refuse("the token is from another issuer")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return refuse("the token is for another audience")
	case errors.Is(err, jwt.ErrTokenExpired):
		return refuse("the token ended at %s: log in again", c.Expires.time().Format(time.RFC3339))
	}
	return refuse("the token's claims are not as they must be: log in again")
}

func refuse(format string, args ...any) error {
	return postbox.Errorf(postbox.CodeUnauthenticated, format, args...)
}

// LooksLikeToken tells a JWT from a password by its form alone: three parts of
// base64url, of which the first begins a JSON object. It is cheap and proves
// nothing: a password of that form is possible, though nobody has one.
func LooksLikeToken(s string) bool {
	if len(s) > maxToken || !strings.HasPrefix(s, "eyJ") || strings.Count(s, ".") != 2 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}
