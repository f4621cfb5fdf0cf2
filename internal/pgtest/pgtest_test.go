package pgtest

import (
	"bytes"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postbox/schema"
)

// inner makes the test binary run one test of its own accord, see TestMainReports.
const inner = "PGTEST_INNER"

func TestMain(m *testing.M) { Main(m) }

func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // its server may be gone
	return db
}

func TestNewIsMigratedAndEmptyEachTime(t *testing.T) {
	t.Parallel()
	for range 3 {
		db := open(t, New(t))
		have, known, err := schema.Versions(t.Context(), db)
		if err != nil || have != known || have == 0 {
			t.Errorf("version %d of %d, %v", have, known, err)
		}
		if _, err := db.Exec(`CREATE TABLE mine ()`); err != nil {
			t.Error(err)
		}
	}
}

func TestDatabaseIsDroppedWithConnectionsOpen(t *testing.T) {
	t.Parallel()
	var url string
	var left *sql.DB
	t.Run("user", func(t *testing.T) {
		url = New(t)
		var err error
		if left, err = sql.Open("postgres", url); err != nil {
			t.Fatal(err)
		}
		if err := left.Ping(); err != nil {
			t.Fatal(err)
		}
	})
	defer left.Close() // it still was connected when the database was dropped
	if err := open(t, url).Ping(); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("after the test: %v", err)
	}
}

func TestNewClusterIsItsOwnAndDurable(t *testing.T) {
	t.Parallel()
	server := NewCluster(t)
	db := open(t, server.URL())
	var fsync string
	if err := db.QueryRow(`SHOW fsync`).Scan(&fsync); err != nil || fsync != "on" {
		t.Errorf("fsync %q, %v", fsync, err)
	}
	if have, known, err := schema.Versions(t.Context(), db); err != nil || have != known {
		t.Errorf("version %d of %d, %v", have, known, err)
	}
	if err := server.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := open(t, New(t)).Ping(); err != nil {
		t.Errorf("shared server: %v", err)
	}
}

// The test binary is run again, with a test that leaves something behind.
func TestMainReports(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env  []string
		code int
		says string
	}{
		"clean":     {code: 0, says: "PASS"},
		"leak":      {env: []string{inner + "=leak"}, code: 1, says: "found unexpected goroutines"},
		"elsewhere": {env: []string{databaseURL + "=" + New(t)}, code: 0, says: "PASS"},
		"not a URL": {env: []string{databaseURL + "=host=/tmp password=s3cret"}, code: 1, says: "must be a URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			temp, err := os.MkdirTemp("", "pgtest-")
			if err == nil {
				err = os.Chmod(temp, 0o755)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(temp)
			cmd := exec.Command(self, "-test.run=^TestInner$", "-test.v")
			cmd.Env = append(append(os.Environ(), inner+"=use", "TMPDIR="+temp), c.env...)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			_ = cmd.Run() // the code says it
			if got := cmd.ProcessState.ExitCode(); got != c.code || !strings.Contains(out.String(), c.says) {
				t.Errorf("exit code %d:\n%s", got, out.String())
			}
			if strings.Contains(out.String(), "s3cret") {
				t.Errorf("password in\n%s", out.String())
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("left over: %v, %v", left, err)
			}
		})
	}
}

// TestInner does its work when TestMainReports runs the binary; as one of the
// tests it only takes a database.
func TestInner(t *testing.T) {
	if err := open(t, New(t)).Ping(); err != nil {
		t.Error(err)
	}
	if os.Getenv(inner) == "leak" {
		go func() { select {} }()
	}
}

func TestSweepRemovesOnlyWhatIsOldAndOurs(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	long := time.Now().Add(-2 * abandoned)
	for name, age := range map[string]time.Time{dirPrefix + "old": long, dirPrefix + "new": time.Now(), "other": long} {
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, age, age); err != nil {
			t.Fatal(err)
		}
	}
	sweep(base)
	left, err := filepath.Glob(filepath.Join(base, "*"))
	if err != nil || len(left) != 2 || filepath.Base(left[0]) != "other" || filepath.Base(left[1]) != dirPrefix+"new" {
		t.Errorf("left: %v, %v", left, err)
	}
}
