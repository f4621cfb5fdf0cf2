//go:build linux || darwin

package embedpg

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeBinaries makes a directory with programs that say they are of a version.
func fakeBinaries(t *testing.T, base, name, version string) string {
	t.Helper()
	dir := filepath.Join(base, name, "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
	for _, program := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindBinaries(t *testing.T) {
	base := t.TempDir()
	for name, version := range map[string]string{"9": "9.6.24", "13": "13.1", "14": "14.18 (Debian 14.18-1)", "16": "16.9", "17": "17beta2", "19": "19devel"} {
		fakeBinaries(t, base, name, version)
	}
	onPath := fakeBinaries(t, base, "path", "15.1")
	if err := os.Remove(filepath.Join(fakeBinaries(t, base, "18", "18.0"), "initdb")); err != nil {
		t.Fatal(err) // only half of a server
	}
	saved := places
	places = []string{filepath.Join(base, "[0-9]*", "bin"), filepath.Join(base, "1*", "bin")}
	t.Cleanup(func() { places = saved })

	for _, c := range []struct {
		name, path, binDir string
		want               int
		dir                string
		err                error
		says               string
	}{
		{name: "newest that is supported", want: 0, dir: base + "/17/bin"},
		{name: "the one on PATH first", path: "relative:" + onPath, want: 0, dir: onPath},
		{name: "the first on PATH, though another is newer", path: base + "/14/bin:" + onPath, want: 0, dir: base + "/14/bin"},
		{name: "the one that made the data", path: onPath, want: 14, dir: base + "/14/bin"},
		{name: "an old one that made the data", want: 13, dir: base + "/13/bin"},
		{name: "none that made the data", want: 12, err: ErrVersion, says: "postgresql-12"},
		{name: "given", binDir: base + "/16/bin", want: 0, dir: base + "/16/bin"},
		{name: "given, of another version", binDir: base + "/16/bin", want: 14, err: ErrVersion, says: "16 in " + base},
		{name: "given, too old", binDir: base + "/13/bin", err: ErrNoBinaries, says: "14 to 18"},
		{name: "given, incomplete", binDir: base + "/18/bin", err: ErrNoBinaries, says: "initdb"},
		{name: "given, missing", binDir: base + "/none", err: ErrNoBinaries, says: base + "/none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("PATH", c.path)
			got, err := findBinaries(t.Context(), c.binDir, c.want)
			if !errors.Is(err, c.err) || got.dir != c.dir {
				t.Errorf("%v, %v", got, err)
			}
			if c.err != nil && !strings.Contains(oneLine(t, err), c.says) {
				t.Error(err)
			}
		})
	}

	places = nil
	t.Setenv("PATH", "")
	_, err := findBinaries(t.Context(), "", 0)
	if got := oneLine(t, err); !errors.Is(err, ErrNoBinaries) || !strings.Contains(got, "apt install postgresql") {
		t.Error(got)
	}
}
