package proof

import (
	"context"
	"database/sql"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postbox/internal/embedpg"
)

// cluster is a PostgreSQL of a test's own, which the test may bend as it likes.
type cluster struct {
	*embedpg.Server
	t    *testing.T
	root string // of the cluster's directory and whatever else
	dir  string // where the data are
}

// newCluster starts a cluster in a directory of its own below root; empty: a
// temporary one. It is empty: the server makes the schema. It ends with the test.
func newCluster(t *testing.T, root string, settings map[string]string) *cluster {
	t.Helper()
	if root == "" {
		var err error
		// Not t.TempDir: that one is closed to the account that PostgreSQL runs as.
		if root, err = os.MkdirTemp("", "postbox-cluster-"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(root) })
		if err := os.Chmod(root, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := &cluster{t: t, root: root, dir: filepath.Join(root, "cluster")}
	c.start(settings)
	t.Cleanup(func() { c.stop() })
	return c
}

func (c *cluster) start(settings map[string]string) {
	c.t.Helper()
	server, err := embedpg.Start(c.t.Context(), embedpg.Options{
		Dir: c.dir, Settings: settings, Logger: slog.New(slog.NewTextHandler(c.t.Output(), nil)),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.Server = server
}

// stop ends the cluster; one that cannot end in peace is killed.
func (c *cluster) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		c.t.Log(err)
	}
}

// data is a path in the data directory.
func (c *cluster) data(name string) string { return filepath.Join(c.dir, "pgdata", name) }

// db opens the cluster's database as its superuser.
func (c *cluster) db() *sql.DB {
	c.t.Helper()
	return c.dbAt(c.URL())
}

// dbAt opens a database of the cluster by its URL.
func (c *cluster) dbAt(url string) *sql.DB {
	c.t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { db.Close() })
	return db
}

// exec runs statements, each by itself.
func (c *cluster) exec(db *sql.DB, statements ...string) {
	c.t.Helper()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			c.t.Fatalf("%s: %v", s, err)
		}
	}
}

// as is the cluster's URL for another role.
func (c *cluster) as(role, password string) string {
	c.t.Helper()
	u, err := url.Parse(c.URL())
	if err != nil {
		c.t.Fatal(err)
	}
	u.User = url.UserPassword(role, password)
	return u.String()
}

// askPassword makes the cluster ask a role for its password.
func (c *cluster) askPassword(db *sql.DB, role string) {
	c.t.Helper()
	file := c.data("pg_hba.conf")
	rules, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	// Written in place: the file stays that of its owner.
	if err := os.WriteFile(file, append([]byte("local all "+role+" scram-sha-256\n"), rules...), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.exec(db, `SELECT pg_reload_conf()`)
}

// program runs one of PostgreSQL's programs against the cluster.
func (c *cluster) program(name string, args ...string) {
	c.t.Helper()
	postgres, err := os.Readlink("/proc/" + strconv.Itoa(c.Pid()) + "/exe")
	if err != nil {
		c.t.Fatal(err)
	}
	u, err := url.Parse(c.URL())
	if err != nil {
		c.t.Fatal(err)
	}
	q := u.Query()
	args = append([]string{"-h", q.Get("host"), "-p", q.Get("port"), "-U", u.User.Username()}, args...)
	cmd := exec.Command(filepath.Join(filepath.Dir(postgres), name), args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("%s: %v\n%s", name, err, strings.TrimSpace(string(out)))
	}
}
