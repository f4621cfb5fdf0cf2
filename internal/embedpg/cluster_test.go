//go:build linux || darwin

package embedpg

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOtherVersionIsRefusedAndNothingTouched(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, Options{Dir: dir})
	mustQuery(t, s.URL(), `CREATE TABLE kept AS SELECT 42 AS n`)
	stop(t, s)
	file := filepath.Join(dir, "pgdata", "PG_VERSION")
	right, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"13\n":  "made by PostgreSQL 13",
		"9.6\n": "9.6",
	} {
		rewrite(t, file, text)
		_, err := Start(t.Context(), Options{Dir: dir})
		if got := oneLine(t, err); !strings.Contains(got, want) {
			t.Errorf("PG_VERSION %q: %s", text, got)
		}
		if text == "13\n" && !errors.Is(err, ErrVersion) {
			t.Error(err)
		}
	}
	rewrite(t, file, string(right))
	s = start(t, Options{Dir: dir})
	if got := value(t, s.URL(), `SELECT n FROM kept`); got != "42" {
		t.Errorf("n = %s", got)
	}
}

func TestDirectoryOfSomethingElseIsRefused(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	file := filepath.Join(dir, "pgdata", "photo")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{Dir: dir})
	if got := oneLine(t, err); !strings.Contains(got, "PG_VERSION") {
		t.Error(got)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestKilledWhileMakingTheCluster(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	h := startHelper(t, dir)
	half := filepath.Join(dir, "pgdata.new", "global")
	eventually(t, "initdb under way", func() bool { _, err := os.Stat(half); return err == nil })
	h.kill()
	if _, err := os.Stat(filepath.Join(dir, "pgdata")); err == nil {
		t.Fatal("killed too late: the cluster is complete")
	}
	s := start(t, Options{Dir: dir})
	mustQuery(t, s.URL(), `SELECT 1`)
	aside, err := filepath.Glob(filepath.Join(dir, "pgdata.unfinished-*"))
	if err != nil || len(aside) != 1 {
		t.Errorf("set aside: %v, %v", aside, err)
	}
}

// Files restored from a backup belong to root.
func TestDataOfRootGoesToTheAccount(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, Options{Dir: dir})
	stop(t, s)
	uid := os.Geteuid()
	err := filepath.WalkDir(filepath.Join(dir, "pgdata"), func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, os.Getegid()))
	})
	if err != nil {
		t.Fatal(err)
	}
	s = start(t, Options{Dir: dir})
	mustQuery(t, s.URL(), `CREATE TABLE written ()`)
	for path, want := range map[string]uint32{"pgdata": s.cluster.acct.uid, "pgdata/base": s.cluster.acct.uid, "": uint32(uid)} {
		if owner, _, _, err := ownerOf(filepath.Join(dir, path)); err != nil || owner != want {
			t.Errorf("%q belongs to %d, not %d (%v)", path, owner, want, err)
		}
	}
}

// rewrite keeps the file's owner.
func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	appendText(t, path, text)
}
