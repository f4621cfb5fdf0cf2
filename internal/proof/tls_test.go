package proof

import (
	"crypto/tls"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"postbox/internal/tlstest"
)

// secureEnv are the settings of a server with TLS.
func secureEnv(t *testing.T, own tlstest.Pair, more ...string) []string {
	t.Helper()
	return append([]string{
		"POSTBOX_LISTEN_MQTTS=127.0.0.1:0", "POSTBOX_LISTEN_HTTPS=127.0.0.1:0",
		"POSTBOX_TLS_CERT_FILE=" + own.CertFile, "POSTBOX_TLS_KEY_FILE=" + own.KeyFile,
	}, more...)
}

// Every library talks over TLS, by TCP and by WebSocket, with nothing but the
// authority's file; with a certificate of its own it needs no password.
func TestEveryClientOverTLS(t *testing.T) {
	t.Parallel()
	a, clients := tlstest.New(t, "authority"), tlstest.New(t, "clients")
	s := StartServer(t, ServerOptions{Env: secureEnv(t, a.Server(),
		"POSTBOX_TLS_CLIENT_AUTH=optional", "POSTBOX_TLS_CLIENT_CA_FILE="+clients.File)})
	if at, err := s.AddressesFile(); err != nil || at != s.Addresses || at.MQTTS == "" || at.HTTPS == "" {
		t.Errorf("addresses.json: %+v, %v; want %+v", at, err, s.Addresses)
	}
	if out := s.Command("", "health"); out.Code != 0 {
		t.Errorf("postbox health: %+v", out)
	}
	s.AddUser("alice", "alice's secret")
	s.AddUser("bob", "bob's secret")
	goDriver, node := StartGoDriver(t, "SSL_CERT_FILE="+a.File), StartNodeDriver(t, "NODE_EXTRA_CA_CERTS="+a.File)
	mqtts, wss := "mqtts://"+s.MQTTS, "wss://"+s.HTTPS+"/mqtt"

	var ledgers []*Ledger
	ledger := func(id string) *Ledger {
		l := NewLedger("bob/"+id, 0)
		ledgers = append(ledgers, l)
		return l
	}
	var clientsUp []*Client
	for id, c := range map[string]struct {
		d *Driver
		o ClientOptions
	}{
		"paho3": {goDriver, ClientOptions{Library: Paho3, URL: mqtts}},
		"paho5": {goDriver, ClientOptions{Library: Paho5, URL: mqtts, Version: 5}},
		"js-4":  {node, ClientOptions{Library: MQTTJS, URL: mqtts, Version: 4}},
		"js-5":  {node, ClientOptions{Library: MQTTJS, URL: mqtts, Version: 5}},
		"wss-4": {node, ClientOptions{Library: MQTTJS, URL: wss, Version: 4}},
		"wss-5": {node, ClientOptions{Library: MQTTJS, URL: wss, Version: 5}},
	} {
		o := c.o
		o.ID, o.User, o.Password, o.Clean = id, "bob", "bob's secret", true
		o.OnMessage, o.Subscribe = ledger(id).Add, []Subscription{{"inbox/bob", 1}}
		up := c.d.Connect(o)
		if codes := up.WaitUp(t); !slices.Equal(codes, []int{1}) {
			t.Fatalf("%s: granted %v, want [1]", id, codes)
		}
		clientsUp = append(clientsUp, up)
	}
	bob := clients.Client("bob")
	for _, version := range []string{"31", "311", "5"} {
		id := "mosquitto-" + version
		Mosquitto{s.MQTTS, version, id, "bob", "bob's secret"}.Subscribe(t, "inbox/bob", ledger(id).Add, "-q", "1", "--cafile", a.File)
		id = "mosquitto-cert-" + version
		Mosquitto{s.MQTTS, version, id, "", ""}.Subscribe(t, "inbox/bob", ledger(id).Add, "-q", "1",
			"--cafile", a.File, "--cert", bob.CertFile, "--key", bob.KeyFile)
	}

	sent := 0
	for _, up := range clientsUp {
		sent++
		if answer := up.Send(t, Publication{Topic: "inbox/bob", QoS: 1, Body: fmt.Appendf(nil, "message %d", sent)}); answer.Error != "" {
			t.Errorf("%s: %s", up.name, answer.Error)
		}
	}
	alice := clients.Client("alice")
	by := []string{"--cafile", a.File, "--cert", alice.CertFile, "--key", alice.KeyFile}
	for _, version := range []string{"31", "311", "5"} {
		sent++
		m := Mosquitto{s.MQTTS, version, "pub-" + version, "", ""}
		if out := m.Publish(t, Publication{Topic: "inbox/bob", QoS: 1, Body: fmt.Appendf(nil, "message %d", sent)}, by...); out.Code != 0 {
			t.Errorf("mosquitto_pub --cert: %+v", out)
		}
		// Alice's certificate and Bob's name and password: neither of them.
		m = Mosquitto{s.MQTTS, version, "pub-" + version, "bob", "bob's secret"}
		if out := m.Publish(t, Publication{Topic: "inbox/bob", QoS: 1, Body: []byte("forged")}, by...); out.Code == 0 {
			t.Errorf("mosquitto_pub as another: %+v", out)
		}
	}
	// Who does not trust the authority does not connect.
	m := Mosquitto{s.MQTTS, "5", "doubtful", "alice", "alice's secret"}
	if out := m.Publish(t, Publication{Topic: "inbox/bob", QoS: 1, Body: []byte("unseen")}, "--cafile", clients.File); out.Code == 0 {
		t.Errorf("mosquitto_pub with another authority: %+v", out)
	}
	for _, l := range ledgers {
		l.WaitFor(t, int64(sent))
		l.Check(t)
	}
	db := s.DB()
	defer db.Close()
	rows := Messages(t, db, time.Time{})
	if len(rows) != sent {
		t.Errorf("%d messages are stored, want %d", len(rows), sent)
	}
	for i, row := range rows {
		want := "bob"
		if i >= len(clientsUp) {
			want = "alice"
		}
		if row.Sender != want || row.Body != fmt.Sprintf("message %d", i+1) {
			t.Errorf("message %d is %q of %s, want one of %s", i+1, row.Body, row.Sender, want)
		}
	}
}

// shown is the number of the certificate that an address shows.
func shown(t *testing.T, address string, a *tlstest.Authority) *big.Int {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: a.Pool, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber
}

// SIGHUP makes a running server show the files as they are now. Connections
// stay, and what cannot be used is one line in the log.
func TestHangup(t *testing.T) {
	t.Parallel()
	a := tlstest.New(t, "authority")
	files, next := a.Server(), a.Server()
	s := StartServer(t, ServerOptions{Env: secureEnv(t, files)})
	s.AddUser("alice", "alice's secret")
	l := NewLedger("alice/phone", 0)
	phone := Mosquitto{s.MQTTS, "311", "phone", "alice", "alice's secret"}
	phone.Subscribe(t, "inbox/alice", l.Add, "-q", "1", "--cafile", a.File)

	becomes := func(want tlstest.Pair) {
		t.Helper()
		for _, address := range []string{s.MQTTS, s.HTTPS} {
			for limit := time.Now().Add(patience); shown(t, address, a).Cmp(want.TLS.Leaf.SerialNumber) != 0; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(limit) {
					t.Fatalf("%s shows another certificate", address)
				}
			}
		}
	}
	becomes(files)
	files.Overwrite(t, next)
	s.Hangup()
	becomes(next)

	if err := os.WriteFile(files.KeyFile, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Hangup()
	complaint := "tls.key_file: " + files.KeyFile + " holds no private key"
	for limit := time.Now().Add(patience); !strings.Contains(s.LogTail(1000), complaint); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("the log does not say %q:\n%s", complaint, s.LogTail(20))
		}
	}
	becomes(next)
	if n := strings.Count(s.LogTail(1000), "cannot be reloaded"); n != 1 {
		t.Errorf("%d lines complain, want 1", n)
	}

	phone.ID = "pub"
	if out := phone.Publish(t, Publication{Topic: "inbox/alice", QoS: 1, Body: []byte("hello")}, "--cafile", a.File); out.Code != 0 {
		t.Errorf("mosquitto_pub: %+v", out)
	}
	l.WaitFor(t, 1)
	if n := strings.Count(s.LogTail(1000), "shutting down"); n != 0 {
		t.Error("SIGHUP ended the server")
	}
}

// A start with files that cannot be used ends with one line, and so does the
// check of the configuration.
func TestTLSFileErrors(t *testing.T) {
	t.Parallel()
	a := tlstest.New(t, "authority")
	pair, other := a.Server(), a.Server()
	dir := t.TempDir()
	for _, command := range [][]string{{"serve"}, {"config", "check"}} {
		cmd := exec.Command(Postbox(t, false), command...)
		cmd.Dir = dir
		cmd.Env = []string{
			"POSTBOX_LISTEN_MQTT=127.0.0.1:0", "POSTBOX_LISTEN_HTTP=127.0.0.1:0", "POSTBOX_LISTEN_PRIVATE=127.0.0.1:0", "POSTBOX_LISTEN_MQTTS=127.0.0.1:0",
			"POSTBOX_TLS_CERT_FILE=" + pair.CertFile, "POSTBOX_TLS_KEY_FILE=" + other.KeyFile,
		}
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("postbox %v ends with %v", command, err)
		}
		want := "postbox: tls.key_file: " + other.KeyFile + " is not the key of " + pair.CertFile + ": give the one"
		if !strings.HasPrefix(string(out), want) || strings.Count(string(out), "\n") != 1 {
			t.Errorf("postbox %v says %q, want one line %q…", command, out, want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("it left %v behind, %v", left, err)
	}
}
