package proof

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// builds holds the programs built in this test run, by package and race.
var builds struct {
	sync.Mutex
	dir   string
	paths map[string]string
}

// overlay names a file for go build -overlay: the proofs run on Postbox with
// some of its source replaced, to show that they fail on a mutant.
var overlay = os.Getenv("POSTBOX_PROOF_OVERLAY")

// goBinary builds a program once per test run and returns its path. Main
// removes it.
func goBinary(t testing.TB, pkg string, race bool) string {
	t.Helper()
	return goBinaryIn(t, ".", pkg, race)
}

// goBinaryIn is goBinary for the module of another folder.
func goBinaryIn(t testing.TB, dir, pkg string, race bool) string {
	t.Helper()
	builds.Lock()
	defer builds.Unlock()
	key := pkg + strconv.FormatBool(race)
	if path := builds.paths[key]; path != "" {
		return path
	}
	if builds.dir == "" {
		made, err := os.MkdirTemp("", "postbox-proof-bin-")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(made, 0o755); err != nil {
			t.Fatal(err)
		}
		builds.dir, builds.paths = made, map[string]string{}
	}
	path := filepath.Join(builds.dir, strconv.Itoa(len(builds.paths))+"-"+filepath.Base(pkg))
	args := []string{"build", "-o", path}
	if race {
		args = append(args, "-race")
	}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	build := exec.Command(tool(t, "go"), append(args, pkg)...)
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	builds.paths[key] = path
	return path
}

// Postbox is the path of the postbox binary, with the race detector or
// without.
func Postbox(t testing.TB, race bool) string {
	t.Helper()
	return goBinary(t, "postbox/cmd/postbox", race)
}

// Main runs the tests of a package and removes the programs built for them, and
// the cluster made for them.
func Main(m *testing.M) int {
	code := m.Run()
	if builds.dir != "" {
		os.RemoveAll(builds.dir)
	}
	if made.root != "" {
		os.RemoveAll(made.root)
	}
	return code
}
