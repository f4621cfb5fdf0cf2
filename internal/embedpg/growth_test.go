//go:build linux || darwin

package embedpg

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestGrowthIsWhatFilesHaveGrownBy(t *testing.T) {
	t.Parallel()
	base := filepath.Join(t.TempDir(), "base")
	write := func(name string, size int) string {
		path := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	g := growth{dir: base}
	look := func(why string, want ...stretch) {
		t.Helper()
		if got := g.look(); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", why, got, want)
		}
	}
	look("a directory that is not there")
	a, b := write("1/16384", 8192), write("5/16385", 8192)
	g.databases = nil
	look("the first look")
	look("nothing has grown")
	write("1/16384", 24576)
	write("pgsql_tmp/pgsql_tmp1.0", 8192)
	c := write("5/16386.1", 100)
	look("one has grown, one is new", stretch{a, 8192, 24576}, stretch{c, 0, 100})
	write("1/16384", 0) // truncated
	if err := os.Remove(b); err != nil {
		t.Fatal(err)
	}
	look("one is shorter, one has gone")
	write("1/16384", 8192)
	write("5/16385", 16384)
	look("both are back", stretch{a, 0, 8192}, stretch{b, 0, 16384})
	if err := os.Symlink(c, filepath.Join(base, "5", "link")); err != nil {
		t.Fatal(err)
	}
	look("a link")
	g.pause = 2
	look("nothing has grown again")
	write("1/16384", 16384)
	for range 2 {
		look("a quiet database is left out")
	}
	look("and looked at again", stretch{a, 8192, 16384})
	write("1/16384", 24576)
	look("one that grows is not left out", stretch{a, 16384, 24576})
}
