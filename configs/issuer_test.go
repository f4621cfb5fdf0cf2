package configs

import "testing"

func TestIssuerErrors(t *testing.T) {
	t.Parallel()
	const whole = "issuer: {name: \"https://login.example.org\", audience: chat, algorithms: [RS256], keys_url: \"https://login.example.org/jwks\"}\n"
	checkContents(t, map[string]contentTest{
		"whole":       {whole, ""},
		"not trusted": {whole + "issuer.add_users: false\n", ""},
		"no audience": {
			"issuer: {name: \"https://login.example.org\", algorithms: [RS256], keys_url: \"https://login.example.org/jwks\"}\n",
			`postbox.yaml:1: issuer.audience: is missing beside issuer.name: without it a token for somebody else would be good here`,
		},
		"no algorithms": {
			"issuer: {name: \"https://login.example.org\", audience: chat, keys_url: \"https://login.example.org/jwks\"}\n",
			`postbox.yaml:1: issuer.algorithms: is missing beside issuer.name: without it a token for somebody else would be good here`,
		},
		"a secret": {
			"issuer.algorithms: [HS256]\n",
			`postbox.yaml:1: issuer.algorithms: "HS256" is not an algorithm that is allowed: choose of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA`,
		},
		"no name": {
			"issuer.audience: chat\n",
			`postbox.yaml:1: issuer.audience: is of no use without issuer.name, which is the claim iss of the tokens`,
		},
		"no address": {
			"issuer.keys_url: login.example.org/jwks\n",
			`postbox.yaml:1: issuer.keys_url: "login.example.org/jwks" is not the address of a key set: write https://host/path`,
		},
		"ours": {
			"issuer: {name: postbox, audience: chat, algorithms: [RS256], keys_url: \"https://login.example.org/jwks\"}\n",
			`postbox.yaml:1: issuer.name: "postbox" issues the server's own tokens: another issuer has another name`,
		},
	})
}
