package proof

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// refused runs `postbox serve`, which must end by itself: with a code, and one
// line for people that says all of it. Beside that line there may be a log.
func (s *Server) refused(code int, says ...string) {
	s.t.Helper()
	out := s.Command("", "serve")
	var lines []string
	for line := range strings.Lines(out.Stderr) {
		if !json.Valid([]byte(line)) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if out.Code != code || out.Stdout != "" || len(lines) != 1 {
		s.t.Fatalf("serve: exit %d, %d lines for people, want exit %d and one line\n%s%s", out.Code, len(lines), code, out.Stdout, out.Stderr)
	}
	s.t.Log(lines[0])
	for _, want := range says {
		if !strings.Contains(lines[0], want) {
			s.t.Errorf("serve says %q, which does not name %q", lines[0], want)
		}
	}
	if strings.Contains(out.Stderr, "topsecret") {
		s.t.Errorf("serve prints the password:\n%s", out.Stderr)
	}
}

// A server that cannot start says why in one line, what to do about it, and no
// password.
func TestStartRefusals(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "", nil)
	db := c.db()
	c.exec(db, `CREATE ROLE app LOGIN PASSWORD 'other'`, `CREATE ROLE poor LOGIN`, `CREATE DATABASE newer`)
	c.askPassword(db, "app")
	at := func(change func(*url.URL, url.Values)) string {
		u, err := url.Parse(c.as("app", "topsecret"))
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		change(u, q)
		u.RawQuery = q.Encode()
		return u.String()
	}
	elsewhere := func(host string) string {
		return "postgres://app:topsecret@" + host + "/app?sslmode=disable"
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	nobody := freeAddress(t)
	file := filepath.Join(reachableDir(t), "postbox.yaml")
	if err := os.WriteFile(file, []byte("listen:\n  mqtt: 127.0.0.1:0\nlimitz:\n  window: 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}

	t.Run("newer schema", func(t *testing.T) {
		u := at(func(u *url.URL, _ url.Values) { u.Path, u.User = "/newer", url.User("postbox") })
		s := NewServer(t, ServerOptions{DatabaseURL: u})
		s.AddUser("alice", "alice's secret")
		newer, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		other := *c
		other.t = t
		db := other.dbAt(newer.String())
		other.exec(db, `INSERT INTO postbox.schema_version (version_id, is_applied) VALUES (9999, true)`)
		s.refused(1, "9999", "start a newer postbox")
		var users int
		if err := db.QueryRow(`SELECT count(*) FROM postbox.users`).Scan(&users); err != nil || users != 1 {
			t.Errorf("%d users are left, %v, want 1", users, err)
		}
	})
	for _, test := range []struct {
		name string
		o    ServerOptions
		says []string
	}{
		{"port in use", ServerOptions{Env: []string{"POSTBOX_LISTEN_MQTT=" + taken.Addr().String()}}, []string{"listen.mqtt", taken.Addr().String(), "choose another"}},
		{"wrong password", ServerOptions{DatabaseURL: at(func(*url.URL, url.Values) {})}, []string{`"app"`, "check user and password in database.url"}},
		{"no such database", ServerOptions{DatabaseURL: at(func(u *url.URL, _ url.Values) { u.Path, u.User = "/missing", url.User("postbox") })}, []string{`"missing"`, "create the database"}},
		{"no right to make the schema", ServerOptions{DatabaseURL: at(func(u *url.URL, _ url.Values) { u.User = url.User("poor") })}, []string{"let the role of database.url create the schema"}},
		{"nobody there", ServerOptions{DatabaseURL: elsewhere(nobody)}, []string{nobody, "start PostgreSQL, or check host and port"}},
		{"no such host", ServerOptions{DatabaseURL: elsewhere("nowhere.invalid")}, []string{"nowhere.invalid", "check the host name"}},
		{"unreadable url", ServerOptions{DatabaseURL: "postgres://app:topsecret@host:port/app"}, []string{"POSTBOX_DATABASE_URL", "check the port"}},
		{"unknown variable", ServerOptions{Env: []string{"POSTBOX_LISTEN_MQT=x"}}, []string{`"POSTBOX_LISTEN_MQT"`, `did you mean "POSTBOX_LISTEN_MQTT"?`}},
		{"unknown key", ServerOptions{Env: []string{"POSTBOX_CONFIG=" + file}}, []string{file + ":3:", `"limitz"`, `did you mean "limits"?`}},
		{"no programs", ServerOptions{Env: []string{"POSTBOX_DATABASE_BIN_DIR=" + filepath.Dir(file)}}, []string{filepath.Dir(file), "postgres and initdb"}},
	} {
		s := NewServer(t, test.o)
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // two of them wait half a minute for the database
			own := *s
			own.t = t
			own.refused(1, test.says...)
		})
	}
	own := NewServer(t, ServerOptions{})
	for _, args := range [][]string{{"serve", "surplus"}, {"serve", "--config"}, {"migrate", "--no-such-flag"}} {
		if out := own.Command("", args...); out.Code != 2 {
			t.Errorf("postbox %v: exit %d, want 2\n%s", args, out.Code, out.Stderr)
		}
	}
}

// A directory of another PostgreSQL version is named as such, and what lies in
// it stays as it is, to the byte.
func TestOtherVersionIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := StartServer(t, ServerOptions{})
	s.AddUser("alice", "alice's secret")
	s.Stop()
	file := filepath.Join(s.Dir, "pgdata", "PG_VERSION")
	right, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"13", "19"} {
		if err := os.WriteFile(file, []byte(other+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		before := checksum(t, s.Dir)
		s.refused(1, "PostgreSQL "+other, strings.TrimSpace(string(right))+" in ", "install PostgreSQL "+other, "pg_upgrade")
		if out := s.Command("", "user", "list"); out.Code != 1 || !strings.Contains(out.Stderr, "PostgreSQL "+other) {
			t.Errorf("user list: %+v", out)
		}
		if after := checksum(t, s.Dir); after != before {
			t.Errorf("version %s: the directory has changed", other)
		}
	}
	if err := os.WriteFile(file, right, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	if out := s.Command("", "user", "list"); !strings.Contains(out.Stdout, "alice") {
		t.Errorf("user list after all: %+v", out)
	}
}

// checksum is that of the names, modes and contents below dir, but for the lock
// that every start takes and the log.
func checksum(t *testing.T, dir string) string {
	t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Base(path) == "postbox.lock" || filepath.Base(path) == "postgres.log" {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(sum, path, info.Mode())
		if !info.Mode().IsRegular() {
			return nil
		}
		fmt.Fprintln(sum, info.ModTime(), info.Size())
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(sum, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// A directory that the account of PostgreSQL cannot reach, such as one in the
// home of whoever starts the server as root. Others simply use theirs.
func TestDirectoryInAClosedHome(t *testing.T) {
	t.Parallel()
	home := filepath.Join("home", "postbox-data")
	s := NewServer(t, ServerOptions{Dir: home})
	closed := filepath.Dir(s.Dir)
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		s.start()
		return
	}
	s.refused(1, closed, "chmod o+x "+closed, "database.embedded_dir")
	if err := os.Chmod(closed, 0o711); err != nil {
		t.Fatal(err)
	}
	s.start()
}
