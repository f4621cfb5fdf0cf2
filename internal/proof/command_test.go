package proof

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// The command line manages accounts while the server runs.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	ok := func(stdin string, args ...string) string {
		t.Helper()
		out := s.Command(stdin, args...)
		if out.Code != 0 {
			t.Fatalf("postbox %v: exit %d\n%s%s", args, out.Code, out.Stdout, out.Stderr)
		}
		return out.Stdout
	}
	dial := func(version byte, user, password string) (*Raw, byte) {
		t.Helper()
		r, code, _ := DialRaw(t, s.MQTT, RawConnect{Version: version, ID: "d", User: user, Password: password, Clean: true})
		return r, code
	}
	want := func(what string, got, want byte) {
		t.Helper()
		if got != want {
			t.Errorf("%s: CONNACK 0x%02x, want 0x%02x", what, got, want)
		}
	}

	ok("first secret\n", "user", "add", "alice", "--password-stdin")
	ok("bob's secret\n", "user", "add", "bob", "--password-stdin")
	if list := ok("", "user", "list"); !strings.Contains(list, "alice") || !strings.Contains(list, "bob") {
		t.Errorf("user list: %q, want alice and bob", list)
	}
	if out := s.Command("another secret\n", "user", "add", "alice", "--password-stdin"); out.Code != 1 || !strings.Contains(out.Stderr, "alice") {
		t.Errorf("user add of a name that is taken: %+v, want exit 1 and a message that names it", out)
	}
	_, code := dial(5, "alice", "first secret")
	want("the first password", code, 0)

	t.Run("password", func(t *testing.T) {
		live, _ := dial(5, "alice", "first secret")
		ok("second secret\n", "user", "password", "alice", "--password-stdin")
		if took, reason := live.WaitEnd(patience); took > time.Second || reason != 0x98 {
			t.Errorf("the connection under the old password ended after %v with 0x%02x, want within a second with 0x98", took, reason)
		}
		_, code := dial(5, "alice", "first secret")
		want("the old password", code, 0x86)
		_, code = dial(4, "alice", "first secret")
		want("the old password, 3.1.1", code, 4)
		_, code = dial(5, "alice", "second secret")
		want("the new password", code, 0)
	})
	t.Run("disable", func(t *testing.T) {
		for _, version := range []byte{4, 5} {
			live, code := dial(version, "bob", "bob's secret")
			want("before", code, 0)
			ok("", "user", "disable", "bob")
			took, reason := live.WaitEnd(patience)
			if took > time.Second || version == 5 && reason != 0x98 {
				t.Errorf("version %d: the connection ended after %v with 0x%02x, want within a second with 0x98", version, took, reason)
			}
			_, code = dial(version, "bob", "bob's secret")
			want("while disabled", code, map[byte]byte{4: 5, 5: 0x8a}[version])
			ok("", "user", "enable", "bob")
			_, code = dial(version, "bob", "bob's secret")
			want("enabled again", code, 0)
		}
	})
	t.Run("token", func(t *testing.T) {
		token := strings.TrimSpace(ok("", "token", "alice"))
		if strings.Count(token, ".") != 2 || strings.ContainsAny(token, " \n") {
			t.Fatalf("token alice printed %q, want a JWT alone", token)
		}
		_, code := dial(4, "alice", token)
		want("token as password", code, 0)
		_, code = dial(5, "", token)
		want("token without a name", code, 0)
		_, code = dial(5, "bob", token)
		want("alice's token as bob", code, 0x86)
		_, code = dial(5, "alice", token[:len(token)-4]+"AAAA")
		want("a token with another signature", code, 0x86)
		if out := s.Command("", "token", "nobody"); out.Code != 1 {
			t.Errorf("token of nobody: %+v, want exit 1", out)
		}
	})
	t.Run("health", func(t *testing.T) {
		ok("", "health")
		for _, path := range []string{"/healthz", "/readyz"} {
			resp, err := http.Get("http://" + s.Private + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", path, resp.Status)
			}
		}
		http.DefaultClient.CloseIdleConnections()
	})
	t.Run("config", func(t *testing.T) {
		if text := ok("", "config", "print"); !strings.Contains(text, s.MQTT) {
			t.Errorf("config print does not show the address %s that is in force:\n%s", s.MQTT, text)
		}
		ok("", "config", "check")
	})
	t.Run("version", func(t *testing.T) {
		if text := ok("", "version"); !strings.Contains(text, "postbox") {
			t.Errorf("version: %q", text)
		}
	})
	t.Run("wrong usage", func(t *testing.T) {
		for _, args := range [][]string{{}, {"nonsense"}, {"user"}, {"user", "add"}, {"serve", "--no-such-flag"}, {"token"}, {"user", "list", "surplus"}} {
			if out := s.Command("", args...); out.Code != 2 || out.Stderr == "" {
				t.Errorf("postbox %v: %+v, want exit 2 and a message on stderr", args, out)
			}
		}
	})
	t.Run("invalid name", func(t *testing.T) {
		if out := s.Command("long enough\n", "user", "add", "Not A Name", "--password-stdin"); out.Code == 0 {
			t.Errorf("user add \"Not A Name\": %+v, want a failure", out)
		}
	})
	t.Run("second server", func(t *testing.T) {
		if out := s.Command("", "serve"); out.Code != 1 || strings.Count(strings.TrimSpace(out.Stderr), "\n") > 0 {
			t.Errorf("a second server on the same directory: %+v, want exit 1 and one line", out)
		}
	})
}
