package broker

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"

	"postbox/configs"
	"postbox/hooks"
)

// Certificates are what listeners with TLS show, and what they ask of clients.
// They may outlive a Server and serve the next. All methods may be called from
// any goroutine.
type Certificates struct {
	tls    configs.TLS
	log    *slog.Logger
	shown  atomic.Pointer[shown]
	issuer *issuer // nil: they are files
}

// shown is what new handshakes work with.
type shown struct {
	own     *tls.Certificate // nil: the issuer has it
	clients *x509.CertPool
}

// NewCertificates reads the files that a configuration names. An error names
// the setting and says what to do.
func NewCertificates(c configs.Config, log *slog.Logger) (*Certificates, error) {
	all := &Certificates{tls: c.TLS, log: log}
	next, err := all.load()
	if err != nil {
		return nil, err
	}
	all.shown.Store(next)
	if len(c.ACME.Domains) > 0 {
		if all.issuer, err = newIssuer(c.ACME, log); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// CheckCertificates reads the files that a configuration names, and changes
// nothing. An error names the setting and says what to do.
func CheckCertificates(c configs.Config) error {
	_, err := (&Certificates{tls: c.TLS, log: slog.New(slog.DiscardHandler)}).load()
	if err == nil && c.ACME.CAFile != "" {
		_, err = readAuthorities("acme.ca_file", c.ACME.CAFile)
	}
	return err
}

// Reload reads the files again, for the handshakes to come; connections that
// are open stay. If one of them cannot be used that is logged, and nothing
// changes.
func (c *Certificates) Reload() {
	next, err := c.load()
	if err != nil {
		c.log.Error("certificates cannot be reloaded: the old ones stay in use", "error", err)
		return
	}
	c.shown.Store(next)
	c.log.Info("certificates reloaded", "cert_file", c.tls.CertFile, "client_ca_file", c.tls.ClientCAFile)
}

func (c *Certificates) load() (*shown, error) {
	var next shown
	var err error
	if c.tls.CertFile != "" {
		if next.own, err = readPair(c.tls.CertFile, c.tls.KeyFile); err != nil {
			return nil, err
		}
		if now := time.Now(); now.Before(next.own.Leaf.NotBefore) || now.After(next.own.Leaf.NotAfter) {
			c.log.Warn("the certificate is not valid now: clients will refuse it", "cert_file", c.tls.CertFile,
				"not_before", next.own.Leaf.NotBefore, "not_after", next.own.Leaf.NotAfter)
		}
	}
	if c.tls.ClientAuth != configs.ClientAuthOff {
		if next.clients, err = readAuthorities("tls.client_ca_file", c.tls.ClientCAFile); err != nil {
			return nil, err
		}
	}
	return &next, nil
}

func readPair(certFile, keyFile string) (*tls.Certificate, error) {
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("tls.cert_file: %w: name the PEM file of the certificate with its chain", err)
	}
	if !holds(cert, "CERTIFICATE") {
		return nil, fmt.Errorf("tls.cert_file: %s holds no certificate: it must be a PEM file", certFile)
	}
	key, err := os.ReadFile(keyFile)
	switch {
	case err != nil:
		return nil, fmt.Errorf("tls.key_file: %w: name the PEM file of the certificate's private key", err)
	case holds(key, "ENCRYPTED PRIVATE KEY"):
		return nil, fmt.Errorf("tls.key_file: %s is encrypted: decrypt it, and let nobody but this server read it", keyFile)
	case !holds(key, "PRIVATE KEY"):
		return nil, fmt.Errorf("tls.key_file: %s holds no private key: it must be a PEM file", keyFile)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("tls.key_file: %s is not the key of %s: give the one that the certificate was made with (%w)", keyFile, certFile, err)
	}
	return &pair, nil
}

// holds reports whether there is a PEM block of a kind.
func holds(text []byte, kind string) bool {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return false
		}
		if block.Type == kind || kind == "PRIVATE KEY" && strings.HasSuffix(block.Type, " "+kind) {
			return true
		}
	}
}

func readAuthorities(key, file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: name the PEM file of the authorities' certificates", key, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: %s holds no certificate: it must be a PEM file", key, file)
	}
	return pool, nil
}

// config is that of a listener which speaks the given protocols; none: whatever
// the client likes.
func (c *Certificates) config(protocols ...string) *tls.Config {
	base := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     protocols,
		GetCertificate: c.show,
		// Every handshake shows its certificate to the authorities as they are now.
		SessionTicketsDisabled: c.tls.ClientAuth != configs.ClientAuthOff,
	}
	asking := base.Clone()
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		switch {
		case c.issuer != nil && isChallenge(hello):
			// The authority of an ACME directory asks, and shows no certificate.
			return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{acme.ALPNProto}, GetCertificate: c.issuer.answer}, nil
		case c.tls.ClientAuth == configs.ClientAuthOff:
			return nil, nil
		}
		own := asking.Clone()
		own.ClientCAs = c.shown.Load().clients
		own.ClientAuth = tls.VerifyClientCertIfGiven
		if c.tls.ClientAuth == configs.ClientAuthRequired {
			own.ClientAuth = tls.RequireAndVerifyClientCert
		}
		return own, nil
	}
	return base
}

func (c *Certificates) show(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.issuer != nil {
		return c.issuer.certificate(hello.ServerName)
	}
	return c.shown.Load().own, nil
}

// client is whom a connection's certificate names; nil without one that was
// verified, and for a listener that is somebody else's.
func (c *Certificates) client(state *tls.ConnectionState) *hooks.Certificate {
	if c == nil || state == nil || len(state.VerifiedChains) == 0 {
		return nil
	}
	leaf := state.PeerCertificates[0]
	return &hooks.Certificate{User: userOf(leaf, c.tls), Ends: leaf.NotAfter}
}

// userOf is the user that a certificate names; empty if it names none, or more
// than one: a certificate has one user.
func userOf(cert *x509.Certificate, c configs.TLS) string {
	var names []string
	switch c.ClientName {
	case configs.NameCommonName:
		// Several common names would leave the last one here.
		for _, attribute := range cert.Subject.Names {
			if attribute.Type.Equal(commonName) {
				name, _ := attribute.Value.(string)
				names = append(names, name)
			}
		}
	case configs.NameDNS:
		names = cert.DNSNames
	case configs.NameEmail:
		names = cert.EmailAddresses
	case configs.NameURI:
		for _, uri := range cert.URIs {
			name, ours := strings.CutPrefix(uri.String(), c.ClientURIPrefix)
			if !ours {
				name = ""
			}
			names = append(names, name)
		}
	}
	if len(names) != 1 {
		return ""
	}
	return names[0]
}

// commonName is its object identifier. [RFC 5280 A.1]
var commonName = []int{2, 5, 4, 3}
