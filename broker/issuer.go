package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"postbox/configs"
)

// Pauses between attempts to get a certificate. The library remembers a failure
// for a minute; authorities allow few of them in an hour.
const (
	issueRetry    = 65 * time.Second
	issueRetryMax = time.Hour
	// issueCheck is how often the renewals, of which the library says nothing, are
	// looked at.
	issueCheck = 12 * time.Hour
)

// issuer has certificates from an ACME authority. They are asked for when the
// server starts and before they end, never because a stranger names a domain:
// a handshake takes what there is.
type issuer struct {
	domains []string
	log     *slog.Logger
	manager *autocert.Manager
	ready   sync.Map                        // domains with a certificate
	owner   atomic.Pointer[context.Context] // ends what is under way with it
}

func newIssuer(c configs.ACME, log *slog.Logger) (*issuer, error) {
	i := &issuer{domains: c.Domains, log: log}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = i.dial
	if c.CAFile != "" {
		pool, err := readAuthorities("acme.ca_file", c.CAFile)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	if err := os.MkdirAll(c.CacheDir, 0o700); err != nil {
		return nil, fmt.Errorf("acme.cache_dir: %w: name a directory that this server may write to", err)
	}
	i.manager = &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(c.CacheDir),
		HostPolicy: i.serves,
		Email:      c.Email,
		Client: &acme.Client{
			DirectoryURL: c.Directory,
			HTTPClient:   &http.Client{Transport: transport, Timeout: time.Minute},
		},
	}
	return i, nil
}

// dial connects to the authority, for as long as the owner is there: the library
// works under contexts of its own.
func (i *issuer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	owner := context.Background()
	if p := i.owner.Load(); p != nil {
		owner = *p
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(owner, cancel)()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(owner, func() { _ = conn.Close() })
	return conn, nil
}

// serves allows the domains of the configuration; the authority may ask with a
// port.
func (i *issuer) serves(_ context.Context, host string) error {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if !slices.Contains(i.domains, strings.ToLower(host)) {
		return fmt.Errorf("%q is not in acme.domains", host)
	}
	return nil
}

// keep gets a certificate for each domain and tries again where that fails. Then
// it watches the renewals, which happen by themselves, until ctx ends. What is
// under way then is cut off and ends on its own.
func (i *issuer) keep(ctx context.Context) {
	i.owner.Store(&ctx)
	pause, missing := issueRetry, i.domains
	for {
		done := make(chan []string, 1)
		go func(domains []string) { done <- i.attempt(ctx, domains, pause) }(missing)
		select {
		case missing = <-done:
		case <-ctx.Done():
			return
		}
		if len(missing) == 0 {
			break
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, issueRetryMax)
		case <-ctx.Done():
			return
		}
	}
	for {
		select {
		case <-time.After(issueCheck):
			i.complain(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// complain says which certificates should have been renewed long since.
func (i *issuer) complain(now time.Time) {
	for _, domain := range i.domains {
		cert, err := i.certificate(domain)
		if err == nil && overdue(cert.Leaf, now) {
			i.log.Error("a certificate is not being renewed: see that its domain leads here, and that the directory can be reached",
				"domain", domain, "not_after", cert.Leaf.NotAfter)
		}
	}
}

// overdue reports whether less than a quarter of a certificate's life is left:
// the library renews with a third, or thirty days.
func overdue(c *x509.Certificate, now time.Time) bool {
	left := min(c.NotAfter.Sub(c.NotBefore)/4, 22*24*time.Hour)
	return now.Add(left).After(c.NotAfter)
}

// attempt returns the domains that have no certificate yet.
func (i *issuer) attempt(ctx context.Context, domains []string, pause time.Duration) (missing []string) {
	for _, domain := range domains {
		cert, err := i.manager.GetCertificate(question(domain))
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			i.log.Warn("no certificate from the ACME directory yet", "error", err, "domain", domain, "retry_in", pause)
			missing = append(missing, domain)
		default:
			i.ready.Store(domain, true)
			i.log.Info("certificate ready", "domain", domain, "not_after", cert.Leaf.NotAfter)
		}
	}
	return missing
}

// certificate is that of the domain which a client asks for; whoever names none
// of ours, as devices do that know an address only, gets that of the first.
func (i *issuer) certificate(name string) (*tls.Certificate, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if !slices.Contains(i.domains, name) {
		name = i.domains[0]
	}
	if _, ready := i.ready.Load(name); !ready {
		return nil, fmt.Errorf("there is no certificate of %s yet", name)
	}
	return i.manager.GetCertificate(question(name))
}

// question is the handshake for which the library has a certificate of a name:
// always of the same kind, or each kind that strangers ask for would be ordered.
func question(name string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
}

// isChallenge reports whether the authority checks that a domain leads here.
// [RFC 8737 §3]
func isChallenge(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto
}

// answer is the certificate that proves it.
func (i *issuer) answer(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return i.manager.GetCertificate(hello)
}
