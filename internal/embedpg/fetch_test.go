//go:build linux || darwin

package embedpg

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ulikunitz/xz"
)

// repository serves files by their path, and notes what it is asked for.
type repository struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	asked []string
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	r := &repository{files: map[string][]byte{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.asked = append(r.asked, q.URL.Path)
		if content, ok := r.files[q.URL.Path]; ok {
			_, _ = w.Write(content)
			return
		}
		http.NotFound(w, q)
	}))
	t.Cleanup(r.Close)
	return r
}

// put adds a release, as the real ones lie in a Maven repository.
func (r *repository) put(release string, archive []byte) {
	name := "embedded-postgres-binaries-" + platform()
	path := "/maven2/io/zonky/test/postgres/" + name + "/" + release + "/" + name + "-" + release + ".jar"
	r.files[path] = archive
	r.files[path+".sha256"] = fmt.Appendf(nil, "%x", sha256.Sum256(archive))
}

// entries are what is in the inner archive, by name: the content of a file, or
// "-> target" for a link.
type entries map[string]string

// jar packs entries as the repository has them: a tar.xz in a zip.
func jar(t *testing.T, content entries) []byte {
	t.Helper()
	var inner, outer bytes.Buffer
	compress, err := xz.NewWriter(&inner)
	if err != nil {
		t.Fatal(err)
	}
	pack := tar.NewWriter(compress)
	for name, text := range content {
		h := &tar.Header{Name: name, Mode: 0o700, Size: int64(len(text)), Typeflag: tar.TypeReg}
		if target, link := strings.CutPrefix(text, "-> "); link {
			h.Typeflag, h.Linkname, h.Size, text = tar.TypeSymlink, target, 0, ""
		}
		if err := pack.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := pack.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	z := zip.NewWriter(&outer)
	if err := errors.Join(pack.Close(), compress.Close()); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"META-INF/MANIFEST.MF": []byte("Manifest-Version: 1.0\n"), "postgres-any.txz": inner.Bytes()} {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return outer.Bytes()
}

// uninstall hides the programs of this machine until the test ends.
func uninstall(t *testing.T) {
	t.Helper()
	saved := places
	places = nil
	t.Cleanup(func() { places = saved })
	t.Setenv("PATH", "")
}

// A cluster whose programs are gone is served by fetched ones, and the second
// start fetches nothing.
func TestProgramsAreFetchedForAClusterThatHasNone(t *testing.T) {
	dir := newDir(t)
	s := start(t, Options{Dir: dir})
	mustQuery(t, s.URL(), `CREATE TABLE kept AS SELECT 42 AS n`)
	stop(t, s)

	installed := s.cluster.bins
	content := entries{"lib/libx.so.1": "x", "lib/libx.so": "-> libx.so.1", "share/postgresql/a": "a"}
	for _, program := range []string{"postgres", "initdb"} {
		content["bin/"+program] = "#!/bin/sh\nexec " + installed.program(program) + ` "$@"` + "\n"
	}
	r := newRepository(t)
	release := pinned[installed.major]
	r.put(release, jar(t, content))
	uninstall(t)
	if _, err := Start(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrVersion) {
		t.Fatalf("unasked: %v", err)
	}

	var log safeBuffer
	o := Options{Dir: dir, FetchURL: r.URL + "/maven2", Logger: slog.New(slog.NewTextHandler(&log, nil))}
	s = start(t, o)
	if got := value(t, s.URL(), `SELECT n FROM kept`); got != "42" {
		t.Errorf("n = %s", got)
	}
	stop(t, s)
	if got := s.cluster.bins.dir; got != filepath.Join(dir, "programs", release, "bin") {
		t.Errorf("programs in %s", got)
	}
	if n := strings.Count(log.String(), "fetching postgresql programs"); n != 1 || !strings.Contains(log.String(), "version="+release) {
		t.Errorf("log:\n%s", log.String())
	}
	asked := len(r.asked)
	s = start(t, o)
	mustQuery(t, s.URL(), `SELECT 1`)
	if len(r.asked) != asked {
		t.Errorf("asked again: %v", r.asked)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "programs", release, "lib", "libx.so")); err != nil || string(text) != "x" {
		t.Errorf("through the link: %q, %v", text, err)
	}
}

func TestFetchThatFailsSaysWhatToDo(t *testing.T) {
	uninstall(t)
	good := entries{"bin/postgres": "p", "bin/initdb": "i"}
	with := func(name, text string) entries {
		return entries{"bin/postgres": "p", "bin/initdb": "i", name: text}
	}
	newest := pinned[newestMajor]
	for name, c := range map[string]struct {
		prepare func(t *testing.T, r *repository)
		says    string
	}{
		"nothing there": {func(*testing.T, *repository) {}, "404"},
		"wrong checksum": {func(t *testing.T, r *repository) {
			r.put(newest, jar(t, good))
			for path := range r.files {
				if strings.HasSuffix(path, ".sha256") {
					r.files[path] = bytes.Repeat([]byte("0"), 64)
				}
			}
		}, "checksum"},
		"no archive":    {func(_ *testing.T, r *repository) { r.put(newest, []byte("<html>captive portal</html>")) }, "zip"},
		"no programs":   {func(t *testing.T, r *repository) { r.put(newest, jar(t, entries{"bin/psql": "p"})) }, "no postgres and initdb"},
		"a file out":    {func(t *testing.T, r *repository) { r.put(newest, jar(t, with("../../evil", "e"))) }, "unpack"},
		"a link out":    {func(t *testing.T, r *repository) { r.put(newest, jar(t, with("lib/x", "-> ../../evil"))) }, "leads out"},
		"absolute link": {func(t *testing.T, r *repository) { r.put(newest, jar(t, with("lib/x", "-> /etc"))) }, "leads out"},
		"unreachable":   {func(_ *testing.T, r *repository) { r.Close() }, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)
			c.prepare(t, r)
			dir := newDir(t)
			withPassword := strings.Replace(r.URL, "://", "://me:topsecret@", 1) + "/maven2"
			var log safeBuffer
			_, err := Start(t.Context(), Options{Dir: dir, FetchURL: withPassword, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			got := oneLine(t, err)
			if !errors.Is(err, ErrNoBinaries) || !strings.Contains(got, c.says) || !strings.Contains(got, "database.fetch_url") {
				t.Error(got)
			}
			if strings.Contains(got+log.String(), "topsecret") {
				t.Errorf("the password: %s\n%s", got, log.String())
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "programs", ".*")); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
			if evil, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), "*evil*")); len(evil) > 0 {
				t.Errorf("written outside: %v", evil)
			}
		})
	}
}

func TestFetchedReleases(t *testing.T) {
	t.Parallel()
	f := fetcher{dir: t.TempDir(), logger: slog.New(slog.DiscardHandler)}
	for _, release := range []string{"17.9.0", "17.10.0", "17.2.0", "16.14.0", "18.99", "notes", "17.x"} {
		for _, program := range []string{"postgres", "initdb"} {
			file := filepath.Join(f.dir, release, "bin", program)
			if release == "18.99" && program == "initdb" {
				continue // half of one
			}
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, nil, 0o755)); err != nil {
				t.Fatal(err)
			}
		}
	}
	var got []string
	for major := 15; major <= 18; major++ {
		if b, ok := f.kept(major); ok {
			got = append(got, filepath.Base(filepath.Dir(b.dir)))
		}
	}
	if want := []string{"16.14.0", "17.10.0"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	if _, err := f.find(t.Context(), 13); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
	for major := oldestMajor; major <= newestMajor; major++ {
		if !strings.HasPrefix(pinned[major], fmt.Sprint(major, ".")) {
			t.Errorf("version %d is pinned to %q", major, pinned[major])
		}
	}
}
