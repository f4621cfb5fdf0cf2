package embedpg

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	oldestMajor = 14
	newestMajor = 18
)

// binaries is a directory with the programs of one PostgreSQL version.
type binaries struct {
	dir   string
	major int
}

func (b binaries) program(name string) string { return filepath.Join(b.dir, name) }

func (b binaries) String() string { return fmt.Sprintf("%d in %s", b.major, b.dir) }

// places are where packagers put the server programs, besides PATH.
var places = []string{
	"/usr/lib/postgresql/*/bin",                       // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                // PostgreSQL's own RPMs
	"/usr/lib/postgresql*/bin",                        // SUSE
	"/usr/lib64/postgresql-*/bin",                     // Gentoo
	"/usr/libexec/postgresql*",                        // Alpine
	"/usr/local/pgsql/bin",                            // built from source
	"/opt/homebrew/opt/postgresql@*/bin",              // Homebrew, Apple silicon
	"/usr/local/opt/postgresql@*/bin",                 // Homebrew, Intel
	"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin", // Homebrew, Linux
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/opt/local/lib/postgresql*/bin", // MacPorts
}

// findBinaries returns the programs to use for a data directory made by major
// version want (0: there is none yet). With binDir it looks there only;
// otherwise the one on PATH is preferred, then the newest.
//
// It knows nothing of the network: what is missing, [fetcher] may bring.
func findBinaries(ctx context.Context, binDir string, want int) (binaries, error) {
	var dirs []string
	if binDir != "" {
		abs, err := filepath.Abs(binDir) // the programs start in another directory
		if err != nil {
			return binaries{}, fmt.Errorf("program directory %s: %w", binDir, err)
		}
		dirs = []string{abs}
	} else {
		dirs = searchDirs(os.Getenv("PATH"), places)
	}
	found := examine(ctx, dirs)
	if binDir == "" && len(found) > 0 {
		onPath := pathDirs(os.Getenv("PATH"))
		slices.SortStableFunc(found, func(a, b binaries) int {
			pa, pb := slices.Contains(onPath, a.dir), slices.Contains(onPath, b.dir)
			switch {
			case pa && pb:
				return 0 // in its order
			case pa:
				return -1
			case pb:
				return 1
			}
			return cmp.Compare(b.major, a.major)
		})
	}
	return pick(found, binDir, want)
}

// pick chooses the first of found that fits, or says in one line what to do.
func pick(found []binaries, binDir string, want int) (binaries, error) {
	for _, b := range found {
		if b.major == want || want == 0 && b.major >= oldestMajor && b.major <= newestMajor {
			return b, nil
		}
	}
	var have []string
	for _, b := range found {
		have = append(have, b.String())
	}
	switch {
	case want != 0:
		only := "there is none here"
		if len(have) > 0 {
			only = "here is only " + strings.Join(have, ", ")
		}
		return binaries{}, fmt.Errorf("%w: the data directory was made by PostgreSQL %d and %s: install PostgreSQL %d (Debian, Ubuntu: postgresql-%d), or move the data to another version with pg_upgrade",
			ErrVersion, want, only, want, want)
	case len(have) > 0:
		return binaries{}, fmt.Errorf("%w: versions %d to %d are supported, here is only %s",
			ErrNoBinaries, oldestMajor, newestMajor, strings.Join(have, ", "))
	case binDir != "":
		return binaries{}, fmt.Errorf("%w in %s: it must hold postgres and initdb", ErrNoBinaries, binDir)
	}
	return binaries{}, fmt.Errorf("%w: install PostgreSQL %d to %d (Debian, Ubuntu: apt install postgresql; Fedora, RHEL: dnf install postgresql-server; Alpine: apk add postgresql; macOS: brew install postgresql@%d) set database.fetch_url to fetch it, or database.url to a server of your own",
		ErrNoBinaries, oldestMajor, newestMajor, newestMajor-1)
}

// searchDirs lists existing directories that hold both programs, PATH first.
func searchDirs(path string, patterns []string) []string {
	dirs := pathDirs(path)
	for _, pattern := range patterns {
		matches, _ := filepath.Glob(pattern) // the patterns are constants: no error
		dirs = append(dirs, matches...)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(dirs, func(dir string) bool {
		twice := seen[dir]
		seen[dir] = true
		return twice || !executable(filepath.Join(dir, "postgres")) || !executable(filepath.Join(dir, "initdb"))
	})
}

func pathDirs(path string) []string {
	return slices.DeleteFunc(filepath.SplitList(path), func(dir string) bool { return !filepath.IsAbs(dir) })
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// examine asks the programs in dirs for their version. Those that do not
// answer are left out.
func examine(ctx context.Context, dirs []string) []binaries {
	var found []binaries
	for _, dir := range dirs {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "-V")
		cmd.Env = childEnv()
		out, err := cmd.Output()
		cancel()
		if err != nil || !executable(filepath.Join(dir, "initdb")) {
			continue
		}
		if m := versionLine.FindSubmatch(out); m != nil {
			major, _ := strconv.Atoi(string(m[1]))
			found = append(found, binaries{dir: dir, major: major})
		}
	}
	return found
}

// allocator has glibc's malloc (mallopt(3)) keep some memory of its own between
// two transactions. By default each gives its last 128 KiB back to the kernel and
// asks for them again, which has to tell all processors each time.
var allocator = []string{
	"MALLOC_TRIM_THRESHOLD_=8388608", "MALLOC_TOP_PAD_=262144", "MALLOC_MMAP_THRESHOLD_=4194304",
}

// childEnv is the whole environment of every program that the package runs, so
// that locale and PG… variables of the caller change nothing.
func childEnv() []string {
	env := append([]string{"LC_ALL=C", "PATH=/usr/local/bin:/usr/bin:/bin"}, allocator...)
	for _, name := range []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
