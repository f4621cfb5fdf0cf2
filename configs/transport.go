package configs

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// TLS says what the listeners with TLS show, and what they ask of clients. The
// files are PEM; they are read again when the server is told to.
type TLS struct {
	// CertFile holds the certificate with its chain, KeyFile its private key.
	CertFile string
	KeyFile  string

	ClientAuth ClientAuth
	// ClientCAFile holds the authorities whose client certificates count.
	ClientCAFile string
	// ClientName is the name in a client's certificate that is its user.
	ClientName ClientName
	// ClientURIPrefix is what stands before the user in a URI.
	ClientURIPrefix string
}

// ClientAuth says whether clients show a certificate.
type ClientAuth string

// The ways to ask for a client's certificate.
const (
	ClientAuthOff      ClientAuth = "off"
	ClientAuthOptional ClientAuth = "optional" // who shows none has a password
	ClientAuthRequired ClientAuth = "required"
)

// ClientName is a kind of name in a certificate.
type ClientName string

// The kinds of names.
const (
	NameCommonName ClientName = "common_name" // of the subject
	NameDNS        ClientName = "dns"         // the alternative names
	NameEmail      ClientName = "email"
	NameURI        ClientName = "uri"
)

// ACME says how certificates are had from an authority by themselves. [RFC 8555]
type ACME struct {
	Domains   []string // none: not at all
	Email     string
	Directory string
	// CAFile holds the authorities of the directory's own certificate; empty:
	// those of the system.
	CAFile string
	// CacheDir keeps the account, its certificates and their keys.
	CacheDir string
}

// Proxy says whose word counts about where a connection comes from.
type Proxy struct {
	// Trusted are addresses and networks of proxies: "10.0.0.7", "10.0.0.0/8".
	Trusted    []string
	MQTTHeader MQTTHeader
	HTTPHeader HTTPHeader
}

// MQTTHeader is what a trusted proxy sends ahead of an MQTT connection.
type MQTTHeader string

// The kinds of MQTTHeader.
const (
	MQTTHeaderProxy MQTTHeader = "proxy" // the PROXY protocol, version 1 or 2
	MQTTHeaderNone  MQTTHeader = "none"
)

// HTTPHeader is the header in which a trusted proxy names the peer.
type HTTPHeader string

// The kinds of HTTPHeader.
const (
	HTTPHeaderXForwardedFor HTTPHeader = "x-forwarded-for"
	HTTPHeaderForwarded     HTTPHeader = "forwarded" // RFC 7239
	HTTPHeaderNone          HTTPHeader = "none"
)

// Networks returns Trusted, parsed. What is no network is left out: [Load] and
// [Config.Validate] refuse it.
func (p Proxy) Networks() []netip.Prefix {
	var all []netip.Prefix
	for _, s := range p.Trusted {
		if n, err := parseNetwork(s); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// Secure reports whether there is a listener with TLS.
func (l Listen) Secure() bool { return l.MQTTS != "" || l.HTTPS != "" }

// transportClashes reports what the settings of this file ask of each other.
func (c Config) transportClashes(report func(key, other, format string, args ...any)) {
	t, files, names := c.TLS, c.TLS.CertFile != "" || c.TLS.KeyFile != "", len(c.ACME.Domains) > 0
	listener, other := "listen.mqtts", "listen.https"
	if c.Listen.MQTTS == "" {
		listener, other = other, listener
	}
	switch {
	case t.CertFile == "" && files:
		report("tls.cert_file", "tls.key_file", "is missing beside tls.key_file: name the file of the certificate")
	case t.KeyFile == "" && files:
		report("tls.key_file", "tls.cert_file", "is missing beside tls.cert_file: name the file of its private key")
	case files && names:
		report("acme.domains", "tls.cert_file", "leave it out, or tls.cert_file and tls.key_file: certificates are of one kind")
	case c.Listen.Secure() && !files && !names:
		report(listener, other, "has no certificate to show: set tls.cert_file and tls.key_file, or acme.domains")
	case names && !c.Listen.Secure():
		report("acme.domains", "listen.https", "is of no use without listen.https or listen.mqtts")
	}
	switch {
	case t.ClientAuth != ClientAuthOff && t.ClientCAFile == "":
		report("tls.client_ca_file", "tls.client_auth", "is missing: tls.client_auth %s needs the authorities whose certificates count", t.ClientAuth)
	case t.ClientAuth != ClientAuthOff && !c.Listen.Secure():
		report("tls.client_auth", "listen.mqtts", "is of no use without listen.mqtts or listen.https")
	case t.ClientAuth == ClientAuthOff && t.ClientCAFile != "":
		report("tls.client_ca_file", "tls.client_auth", "is not used while tls.client_auth is off: set that to optional or required")
	}
	if t.ClientName == NameURI && t.ClientURIPrefix == "" {
		report("tls.client_uri_prefix", "tls.client_name", "is missing: a URI is no user name, so say what stands before the name, such as spiffe://example.org/user/")
	}
}

func hostPortOrOff(s string) error {
	if s == "" {
		return nil
	}
	return hostPort(s)
}

// uriPrefix allows what ends where a user name can begin: "…/alic" would make
// "…/alice" the user e.
func uriPrefix(s string) error {
	if s == "" || strings.Contains(s, ":") && strings.ContainsRune("/:=", rune(s[len(s)-1])) {
		return nil
	}
	return fmt.Errorf("%q is not the beginning of a URI: write scheme and path up to the user name, such as spiffe://example.org/user/", s)
}

// domain allows DNS names for which an authority gives certificates.
func domain(s string) error {
	bad := strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.'
	})
	if bad >= 0 || strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".") || !strings.Contains(s, ".") {
		return fmt.Errorf("%q is not a domain: write a full name in lower case, such as chat.example.org", s)
	}
	return nil
}

func httpsURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is not an address of a directory: write https://host/path", s)
	}
	return nil
}

func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	n, err := netip.ParsePrefix(s)
	return n.Masked(), err
}

// network allows addresses and networks.
func network(s string) error {
	if _, err := parseNetwork(s); err != nil {
		return fmt.Errorf("%q is not an address or network: write 10.0.0.7, 10.0.0.0/8 or fd00::/8", s)
	}
	return nil
}
