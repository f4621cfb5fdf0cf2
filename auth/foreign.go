package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"postbox"
)

// Algorithms are those that another issuer may sign with: all are asymmetric, so
// that a public key never is a secret (RFC 8725 §3.1).
var Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// leeway is by how much the clock of another issuer may differ from ours.
const leeway = 30 * time.Second

// ForeignOptions describe another issuer of access tokens. All are required but
// Now.
type ForeignOptions struct {
	Issuer     string   // the claim iss
	Audience   string   // what the claim aud must hold
	Algorithms []string // a part of Algorithms
	UserClaim  string   // the claim that names the user
	// Fetch gets the issuer's JSON Web Key Set (RFC 7517 §5). It must heed its
	// context.
	Fetch func(ctx context.Context) ([]byte, error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Foreign verifies access tokens of another issuer: JWT (RFC 7519) that one of
// its present keys has signed. It is safe for concurrent use.
type Foreign struct {
	o      ForeignOptions
	keys   *keySet
	parser *jwt.Parser
}

// NewForeign makes a Foreign. Keys are fetched when the first token comes.
func NewForeign(o ForeignOptions) (*Foreign, error) {
	if o.Issuer == "" || o.Audience == "" || o.UserClaim == "" || o.Fetch == nil || len(o.Algorithms) == 0 {
		return nil, errors.New("another issuer needs its name, an audience, algorithms, the claim that names the user and its keys")
	}
	if o.Issuer == issuer {
		return nil, fmt.Errorf("%q is who issues our own tokens: another issuer needs another name", issuer)
	}
	for _, a := range o.Algorithms {
		if !slices.Contains(Algorithms, a) {
			return nil, fmt.Errorf("%q is no asymmetric algorithm: choose of %s", a, strings.Join(Algorithms, ", "))
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Foreign{
		o: o, keys: &keySet{fetch: o.Fetch, now: o.Now},
		parser: jwt.NewParser(
			jwt.WithValidMethods(o.Algorithms), jwt.WithIssuer(o.Issuer), jwt.WithAudience(o.Audience), jwt.WithIssuedAt(),
			jwt.WithExpirationRequired(), jwt.WithTimeFunc(o.Now), jwt.WithLeeway(leeway), jwt.WithStrictDecoding()),
	}, nil
}

// Issued reports whether a token says that it is of this issuer. It proves
// nothing: Verify does.
func (f *Foreign) Issued(token string) bool {
	var c jwt.RegisteredClaims
	_, _, err := f.parser.ParseUnverified(token, &c)
	return err == nil && c.Issuer == f.o.Issuer
}

// Verify checks a token. The user's name is in lower case. The error is
// ErrUnauthenticated and says what is wrong, or ErrUnavailable when the keys
// cannot be had.
func (f *Foreign) Verify(ctx context.Context, token string) (Claims, error) {
	if len(token) > maxToken || !LooksLikeToken(token) {
		return Claims{}, errMalformed
	}
	c := jwt.MapClaims{}
	var away error
	_, err := f.parser.ParseWithClaims(token, c, func(t *jwt.Token) (any, error) {
		key, err := f.keys.key(ctx, t)
		if errors.Is(err, postbox.ErrUnavailable) {
			away = err
		}
		return key, err
	})
	switch {
	case away != nil:
		return Claims{}, away
	case errors.Is(err, jwt.ErrTokenExpired):
		return Claims{}, refuse("the token has ended: get a new one from %s", f.o.Issuer)
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return Claims{}, refuse("the token is not valid yet: is a clock wrong?")
	case err != nil:
		return Claims{}, explain(err, &wireClaims{})
	}
	return f.claims(c)
}

func (f *Foreign) claims(c jwt.MapClaims) (Claims, error) {
	named, _ := c[f.o.UserClaim].(string)
	user, err := postbox.ParseUser(strings.ToLower(named))
	if err != nil {
		return Claims{}, refuse("the claim %s of the token is no user name: it must have 1 to 64 characters of a-z, 0-9, then also . _ @ -", f.o.UserClaim)
	}
	issued, err := c.GetIssuedAt()
	if err != nil || issued == nil {
		return Claims{}, refuse("the token does not say when it was issued (iat)")
	}
	ends, err := c.GetExpirationTime()
	if err != nil || ends == nil {
		return Claims{}, refuse("the token does not say when it ends (exp)")
	}
	id, _ := c["jti"].(string)
	return Claims{User: user, Issued: issued.UTC(), Expires: ends.UTC(), ID: id, Foreign: true}, nil
}
