package proof

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postbox/internal/tlstest"
)

// ACME is an authority that gives certificates by RFC 8555: Pebble, made for
// tests by the people of Let's Encrypt. It asks 127.0.0.1 whatever the domain.
type ACME struct {
	Directory string         // its address
	CAFile    string         // by which the directory's own certificate is checked
	Roots     *x509.CertPool // of the certificates that it gives
	log       *os.File
	stop      func()
}

// StartACME starts an authority that checks domains at these addresses of
// 127.0.0.1. It ends with the test, or with Stop.
func StartACME(t testing.TB, http01, tlsALPN01 string) *ACME {
	t.Helper()
	own := tlstest.New(t, "the directory's authority")
	pair := own.Server()
	log, err := os.Create(filepath.Join(t.TempDir(), "acme.log"))
	if err != nil {
		t.Fatal(err)
	}
	listen, management, dns := freeAddress(t), freeAddress(t), freeAddress(t)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": management,
		"certificate": pair.CertFile, "privateKey": pair.KeyFile,
		"httpPort": portOf(t, http01), "tlsPort": portOf(t, tlsALPN01),
		"keyAlgorithm": "ecdsa", "retryAfter": map[string]int{"authz": 1, "order": 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pebble.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	const module = "github.com/letsencrypt/pebble/v2/cmd/"
	names := exec.Command(goBinaryIn(t, "pebble", module+"pebble-challtestsrv", false),
		"-dnsserver", dns, "-management", freeAddress(t), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "")
	server := exec.Command(goBinaryIn(t, "pebble", module+"pebble", false), "-config", file, "-dnsserver", dns)
	server.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	a := &ACME{Directory: "https://" + listen + "/dir", CAFile: own.File, log: log}
	a.stop = func() {
		for _, cmd := range []*exec.Cmd{names, server} {
			if cmd.Process != nil && cmd.ProcessState == nil {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}
		}
	}
	t.Cleanup(func() {
		a.stop()
		if said, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("what the ACME authority said:\n%s", said[max(0, len(said)-8000):])
		}
		_ = log.Close()
	})
	for _, cmd := range []*exec.Cmd{names, server} {
		cmd.Stdout, cmd.Stderr = log, log
		endWithUs(cmd)
		if err := cmd.Start(); err != nil {
			t.Fatalf("start %s: %v", cmd.Path, err)
		}
	}
	a.awaitRoots(t, own.Pool, "https://"+management+"/roots/0")
	return a
}

// awaitRoots waits until the authority answers.
func (a *ACME) awaitRoots(t testing.TB, trusted *x509.CertPool, root string) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	get := func(url string) ([]byte, error) {
		r, err := client.Get(url)
		if err != nil {
			return nil, err
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("GET %s: %s", url, r.Status)
		}
		return io.ReadAll(r.Body)
	}
	var last error
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(50 * time.Millisecond) {
		if _, last = get(a.Directory); last != nil {
			continue
		}
		var pem []byte
		if pem, last = get(root); last == nil {
			a.Roots = x509.NewCertPool()
			if !a.Roots.AppendCertsFromPEM(pem) {
				t.Fatalf("%s is no certificate: %q", root, pem)
			}
			return
		}
	}
	t.Fatalf("the ACME authority does not answer: %v", last)
}

// Stop ends the authority.
func (a *ACME) Stop() { a.stop() }

// Orders is how many certificates it was asked for.
func (a *ACME) Orders(t testing.TB) int {
	t.Helper()
	said, err := os.ReadFile(a.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(said), "POST /order-plz")
}

// awaitCertificate connects with a name until the certificate of it is good.
func (a *ACME) awaitCertificate(t testing.TB, address, name string) *x509.Certificate {
	t.Helper()
	var last error
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		var conn net.Conn
		conn, last = (&tls.Dialer{Config: &tls.Config{RootCAs: a.Roots, ServerName: name}}).DialContext(ctx, "tcp", address)
		cancel()
		if last == nil {
			defer conn.Close()
			return conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
		}
	}
	t.Fatalf("no certificate of %s: %v", name, last)
	return nil
}

func portOf(t testing.TB, address string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
