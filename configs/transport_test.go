package configs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTransportErrors(t *testing.T) {
	t.Parallel()
	const files = "tls: {cert_file: c.pem, key_file: k.pem}\n"
	const listener = "listen.mqtts: \":8883\"\n"
	checkContents(t, map[string]contentTest{
		"files":               {listener + files, ""},
		"domains":             {"listen.https: \":443\"\nacme.domains: [chat.example.org]\n", ""},
		"clients":             {listener + "tls: {cert_file: c.pem, key_file: k.pem, client_auth: optional, client_ca_file: a.pem}\n", ""},
		"off, as YAML has it": {"tls.client_auth: off\n", ""},
		"no certificate": {
			"listen.https: \":443\"\n",
			`postbox.yaml:1: listen.https: has no certificate to show: set tls.cert_file and tls.key_file, or acme.domains`,
		},
		"no key": {
			listener + "tls.cert_file: c.pem\n",
			`postbox.yaml:2: tls.key_file: is missing beside tls.cert_file: name the file of its private key`,
		},
		"only a key": {
			listener + "tls.key_file: k.pem\n",
			`postbox.yaml:2: tls.cert_file: is missing beside tls.key_file: name the file of the certificate`,
		},
		"files and domains": {
			listener + files + "acme.domains: [chat.example.org]\n",
			`postbox.yaml:3: acme.domains: leave it out, or tls.cert_file and tls.key_file: certificates are of one kind`,
		},
		"domains and no listener": {
			"acme.domains: [chat.example.org]\n",
			`postbox.yaml:1: acme.domains: is of no use without listen.https or listen.mqtts`,
		},
		"clients without an authority": {
			listener + files + "tls.client_auth: required\n",
			`postbox.yaml:3: tls.client_ca_file: is missing: tls.client_auth required needs the authorities whose certificates count`,
		},
		"clients without a listener": {
			"tls: {client_auth: required, client_ca_file: a.pem}\n",
			`postbox.yaml:1: tls.client_auth: is of no use without listen.mqtts or listen.https`,
		},
		"an authority that is not used": {
			"tls.client_ca_file: a.pem\n",
			`postbox.yaml:1: tls.client_ca_file: is not used while tls.client_auth is off: set that to optional or required`,
		},
		"a URI without a prefix": {
			"tls.client_name: uri\n",
			`postbox.yaml:1: tls.client_uri_prefix: is missing: a URI is no user name, so say what stands before the name, such as spiffe://example.org/user/`,
		},
		"a prefix within a name": {
			"tls.client_uri_prefix: spiffe://example.org/user\n",
			`postbox.yaml:1: tls.client_uri_prefix: "spiffe://example.org/user" is not the beginning of a URI: write scheme and path up to the user name, such as spiffe://example.org/user/`,
		},
		"not a domain": {
			"acme.domains: [\"*.example.org\"]\n",
			`postbox.yaml:1: acme.domains: "*.example.org" is not a domain: write a full name in lower case, such as chat.example.org`,
		},
		"a directory in the clear": {
			"acme.directory: http://ca.example.org/\n",
			`postbox.yaml:1: acme.directory: "http://ca.example.org/" is not an address of a directory: write https://host/path`,
		},
		"not a network": {
			"proxy.trusted: [10.0.0.0/33]\n",
			`postbox.yaml:1: proxy.trusted: "10.0.0.0/33" is not an address or network: write 10.0.0.7, 10.0.0.0/8 or fd00::/8`,
		},
		"one address twice": {
			"listen.https: 127.0.0.1:8080\nacme.domains: [chat.example.org]\n",
			`postbox.yaml:1: listen.https: "127.0.0.1:8080" is the address of listen.http too`,
		},
	})
}

// contentTest is a file, and what is wrong with it; nothing if that is empty.
type contentTest struct{ content, want string }

func checkContents(t *testing.T, tests map[string]contentTest) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, test.content)
			_, err := Load(Sources{File: path})
			if diff := cmp.Diff(test.want, relative(err, path)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	got := Proxy{Trusted: []string{"10.1.2.3/8", "10.0.0.7", "fd00::/8", "::1", "nonsense"}}.Networks()
	want := "10.0.0.0/8 10.0.0.7/32 fd00::/8 ::1/128"
	var words []string
	for _, n := range got {
		words = append(words, n.String())
	}
	if diff := cmp.Diff(want, strings.Join(words, " ")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
