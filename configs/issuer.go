package configs

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Issuer is somebody else who issues access tokens, such as the identity provider
// of your application. Without a Name there is none; with one, Audience,
// Algorithms and KeysURL are required.
type Issuer struct {
	Name       string   // the claim iss of its tokens
	Audience   string   // what their claim aud must hold
	Algorithms []string // of Algorithms
	KeysURL    string   // where its JSON Web Key Set is
	UserClaim  string   // the claim that is the user's name
	AddUsers   bool     // who comes with a token and has no account gets one
	// CAFile holds the authorities of the certificate of KeysURL; empty: those of
	// the system.
	CAFile string
}

// Algorithms are those that Issuer.Algorithms may have: asymmetric ones.
var Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

func algorithm(s string) error {
	if !slices.Contains(Algorithms, s) {
		return fmt.Errorf("%q is not an algorithm that is allowed: choose of %s", s, strings.Join(Algorithms, ", "))
	}
	return nil
}

func keysURL(s string) error {
	u, err := url.Parse(s)
	if s != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
		return fmt.Errorf("%q is not the address of a key set: write https://host/path", s)
	}
	return nil
}

// issuerClashes reports what is missing beside issuer.name, or is of no use
// without it.
func (c Config) issuerClashes(report func(key, other, format string, args ...any)) {
	i := c.Issuer
	for _, needed := range []struct {
		key   string
		given bool
	}{
		{"issuer.audience", i.Audience != ""}, {"issuer.algorithms", len(i.Algorithms) > 0}, {"issuer.keys_url", i.KeysURL != ""},
	} {
		switch {
		case i.Name != "" && !needed.given:
			report(needed.key, "issuer.name", "is missing beside issuer.name: without it a token for somebody else would be good here")
		case i.Name == "" && needed.given:
			report(needed.key, "issuer.name", "is of no use without issuer.name, which is the claim iss of the tokens")
		}
	}
	if i.Name == "postbox" {
		report("issuer.name", "issuer.keys_url", "%q issues the server's own tokens: another issuer has another name", i.Name)
	}
}
