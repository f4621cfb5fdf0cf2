package broker_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/broker"
	"postbox/configs"
	"postbox/internal/tlstest"
)

// asking makes a world ask for client certificates of an authority.
func asking(how configs.ClientAuth, name configs.ClientName, clients *tlstest.Authority) func(*world) {
	return func(w *world) {
		w.config.TLS.ClientAuth, w.config.TLS.ClientName, w.config.TLS.ClientCAFile = how, name, clients.File
	}
}

// bare is a CONNECT without password, and without a name if it is empty.
func bare(version byte, user string) packets.Packet {
	pk := login{version: version, user: user, id: "device", anonymous: true}.packet()
	if user != "" {
		pk.Connect.UsernameFlag, pk.Connect.Username = true, []byte(user)
	}
	return pk
}

// A certificate is its user, over both listeners, without a password, and
// nobody else, with or without one.
func TestCertificateIsTheUser(t *testing.T) {
	t.Parallel()
	a, clients := tlstest.New(t, "authority"), tlstest.New(t, "clients")
	w := secured(t, a, asking(configs.ClientAuthOptional, configs.NameCommonName, clients))
	alice, bob, gone := w.user("alice"), w.user("bob"), w.user("gone")
	if err := w.store.SetDisabled(t.Context(), postbox.User(gone), true); err != nil {
		t.Fatal(err)
	}
	of := func(name string) *tls.Config { return trust(a, clients.Client(name).TLS) }
	token := func(user string) string {
		tokens, err := broker.OpenTokens(t.Context(), w.store)
		if err != nil {
			t.Fatal(err)
		}
		secret, _, err := tokens.Issue(postbox.User(user), "access", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	versions(t, func(t *testing.T, v byte) {
		for name, test := range map[string]struct {
			by      *tls.Config
			connect packets.Packet
			want    byte
		}{
			"no name":                      {of(alice), bare(v, ""), 0},
			"its name":                     {of(alice), bare(v, alice), 0},
			"its name, wrong password":     {of(alice), login{version: v, user: alice, id: "device", password: "wrong"}.packet(), 0},
			"another name":                 {of(alice), bare(v, bob), code(v, 4, 0x86)},
			"another name and password":    {of(alice), login{version: v, user: bob, id: "device"}.packet(), code(v, 4, 0x86)},
			"another's token":              {of(alice), login{version: v, user: bob, id: "device", password: token(bob)}.packet(), code(v, 4, 0x86)},
			"its name in capitals":         {of(strings.ToUpper(alice)), bare(v, ""), code(v, 4, 0x86)},
			"its name and more":            {of(alice + "\x00" + bob), bare(v, ""), code(v, 4, 0x86)},
			"unknown":                      {of("nobody"), bare(v, ""), code(v, 4, 0x86)},
			"nobody's name, good password": {of("No Body"), login{version: v, user: bob, id: "device"}.packet(), code(v, 4, 0x86)},
			"disabled":                     {of(gone), bare(v, ""), code(v, 5, 0x8a)},
			"none, password":               {trust(a), login{version: v, user: bob, id: "device"}.packet(), 0},
			"none, no password":            {trust(a), bare(v, bob), code(v, 4, 0x86)},
		} {
			for way, c := range map[string]*wire{"mqtts": overTLS(t, w.at.MQTTS, test.by), "https": w.overHTTPS(t, test.by)} {
				if ack := c.Connect(test.connect); ack.ReasonCode != test.want {
					t.Errorf("%s, %s: CONNACK %#x %s, want %#x", name, way, ack.ReasonCode, ack.Properties.ReasonString, test.want)
				}
				_ = c.Net.Close()
			}
		}
	})
	c := overTLS(t, w.at.MQTTS, of(alice))
	c.Connect(bare(5, ""))
	c.say("inbox/"+bob, "from a certificate")
	if n := w.stored(alice, "from a certificate"); n != 1 {
		t.Errorf("%d messages of %s are stored, want 1", n, alice)
	}
	// Over a listener without TLS nobody has one.
	if ack := w.dial(t).Connect(bare(5, alice)); ack.ReasonCode != 0x86 {
		t.Errorf("in the clear: CONNACK %#x, want 0x86", ack.ReasonCode)
	}
}

// The setting says which name counts; of that kind there is exactly one.
func TestNamesOfCertificates(t *testing.T) {
	t.Parallel()
	a, clients := tlstest.New(t, "authority"), tlstest.New(t, "clients")
	address := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	const other = "other"
	for kind, names := range map[configs.ClientName]func(c *x509.Certificate, users ...string){
		configs.NameCommonName: func(c *x509.Certificate, users ...string) {
			for _, u := range users {
				c.Subject.ExtraNames = append(c.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: []int{2, 5, 4, 3}, Value: u})
			}
		},
		configs.NameDNS:   func(c *x509.Certificate, users ...string) { c.DNSNames = users },
		configs.NameEmail: func(c *x509.Certificate, users ...string) { c.EmailAddresses = users },
		configs.NameURI: func(c *x509.Certificate, users ...string) {
			for _, u := range users {
				c.URIs = append(c.URIs, address("spiffe://example.org/user/"+u))
			}
		},
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := secured(t, a, asking(configs.ClientAuthRequired, kind, clients), func(w *world) {
				w.config.TLS.ClientURIPrefix = "spiffe://example.org/user/"
			})
			user := w.user("user") + "@example.org" // an address, for e-mail
			hash, err := passwordHash()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.store.AddUser(t.Context(), postbox.User(user), hash, false); err != nil {
				t.Fatal(err)
			}
			if kind == configs.NameDNS { // where no address may stand
				user = w.user("user")
			}
			w.user(other)
			connect := func(make func(c *x509.Certificate)) byte {
				c := &x509.Certificate{}
				make(c)
				// No other kind of name counts.
				if kind != configs.NameCommonName {
					c.Subject.CommonName = other
				}
				if kind != configs.NameDNS {
					c.DNSNames = []string{other}
				}
				return overTLS(t, w.at.MQTTS, trust(a, clients.Issue(c).TLS)).Connect(bare(5, "")).ReasonCode
			}
			if got := connect(func(c *x509.Certificate) { names(c, user) }); got != 0 {
				t.Errorf("one name: CONNACK %#x", got)
			}
			if got := connect(func(c *x509.Certificate) { names(c, user, user) }); got != 0x86 {
				t.Errorf("two names: CONNACK %#x, want 0x86", got)
			}
			if got := connect(func(*x509.Certificate) {}); got != 0x86 {
				t.Errorf("no name: CONNACK %#x, want 0x86", got)
			}
			if kind == configs.NameURI {
				for _, uri := range []string{"spiffe://example.com/user/" + user, "spiffe://example.org/user/x/" + user, user, "spiffe://example.org/user/" + user + "?x"} {
					if got := connect(func(c *x509.Certificate) { c.URIs = []*url.URL{address(uri)} }); got != 0x86 {
						t.Errorf("%s: CONNACK %#x, want 0x86", uri, got)
					}
				}
			}
		})
	}
}

// Certificates that prove nothing are not let in, also where none is needed;
// where one is needed, nobody comes in without.
func TestCertificatesThatDoNotCount(t *testing.T) {
	t.Parallel()
	a, clients, strangers := tlstest.New(t, "authority"), tlstest.New(t, "clients"), tlstest.New(t, "clients")
	for how, withoutOne := range map[configs.ClientAuth]bool{configs.ClientAuthOptional: true, configs.ClientAuthRequired: false} {
		w := secured(t, a, asking(how, configs.NameCommonName, clients))
		alice := w.user("alice")
		subject := pkix.Name{CommonName: alice}
		for name, test := range map[string]struct {
			by *tls.Config
			ok bool
		}{
			"good":              {trust(a, clients.Client(alice).TLS), true},
			"none":              {trust(a), withoutOne},
			"another authority": {trust(a, strangers.Client(alice).TLS), false},
			"ended":             {trust(a, clients.Issue(&x509.Certificate{Subject: subject, NotAfter: time.Now().Add(-time.Minute)}).TLS), false},
			"not begun":         {trust(a, clients.Issue(&x509.Certificate{Subject: subject, NotBefore: time.Now().Add(time.Hour)}).TLS), false},
			"of a server":       {trust(a, clients.Issue(&x509.Certificate{Subject: subject, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}).TLS), false},
		} {
			// The client must send what it has, whatever the server wishes.
			if len(test.by.Certificates) > 0 {
				own := &test.by.Certificates[0]
				test.by.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
			}
			if got := w.letsIn(t, test.by, alice); got != test.ok {
				t.Errorf("%s, %s: let in %v, want %v", how, name, got, test.ok)
			}
		}
	}
}

// letsIn reports whether a client gets as far as a CONNACK that accepts it.
func (w *world) letsIn(t *testing.T, by *tls.Config, user string) bool {
	t.Helper()
	conn, err := tls.Dial("tcp", w.at.MQTTS, by)
	if err != nil {
		return false
	}
	c := newWire(t, conn)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(login{user: user, id: "device"}.packetBytes(t)); err != nil {
		return false
	}
	pk, err := c.Next()
	if err != nil && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.ErrUnexpectedEOF)) {
		t.Errorf("no answer: %v", err)
	}
	return err == nil && pk.ReasonCode == 0
}

// A connection ends when its certificate does, and when its user is disabled.
func TestCertificateEnds(t *testing.T) {
	t.Parallel()
	a, clients := tlstest.New(t, "authority"), tlstest.New(t, "clients")
	w := secured(t, a, asking(configs.ClientAuthRequired, configs.NameCommonName, clients))
	alice, bob := w.user("alice"), w.user("bob")
	short := clients.Issue(&x509.Certificate{Subject: pkix.Name{CommonName: alice}, NotAfter: time.Now().Add(3 * time.Second)})
	c := overTLS(t, w.at.MQTTS, trust(a, short.TLS))
	if ack := c.Connect(bare(5, "")); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	other := overTLS(t, w.at.MQTTS, trust(a, clients.Client(bob).TLS))
	if ack := other.Connect(bare(5, "")); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	if reason := c.Ended(); reason != packets.ErrMaxConnectTime.Code {
		t.Errorf("ended with %#x, want %#x", reason, packets.ErrMaxConnectTime.Code)
	}
	other.Quiet()
	if err := w.store.SetDisabled(t.Context(), postbox.User(bob), true); err != nil {
		t.Fatal(err)
	}
	if reason := other.Ended(); reason != packets.ErrAdministrativeAction.Code {
		t.Errorf("ended with %#x, want %#x", reason, packets.ErrAdministrativeAction.Code)
	}
}

// An authority that has left the file counts no more after the reload, not for
// a session that is resumed either.
func TestAuthorityLeaves(t *testing.T) {
	t.Parallel()
	a, old, next := tlstest.New(t, "authority"), tlstest.New(t, "old"), tlstest.New(t, "next")
	file := old.File
	w := secured(t, a, asking(configs.ClientAuthOptional, configs.NameCommonName, old), func(w *world) {
		var err error
		if w.certificates, err = broker.NewCertificates(w.config, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	})
	alice := w.user("alice")
	by := trust(a, old.Client(alice).TLS)
	by.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	own := &by.Certificates[0]
	by.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	for range 2 {
		if !w.letsIn(t, by, alice) {
			t.Fatal("not let in")
		}
	}
	again := overTLS(t, w.at.MQTTS, by)
	if again.Net.(*tls.Conn).ConnectionState().DidResume {
		t.Error("a session is resumed without showing its certificate")
	}
	b, err := os.ReadFile(next.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	w.certificates.Reload()
	if w.letsIn(t, by, alice) {
		t.Error("let in by an authority that has left")
	}
	if !w.letsIn(t, trust(a, next.Client(alice).TLS), alice) {
		t.Error("not let in by the next authority")
	}
}
