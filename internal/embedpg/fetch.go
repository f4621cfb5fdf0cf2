package embedpg

import (
	"archive/zip"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// pinned is the release that is fetched of each major version.
var pinned = map[int]string{14: "14.23.0", 15: "15.18.0", 16: "16.14.0", 17: "17.10.0", 18: "18.4.0"}

// What a repository may send at most: the real archives have about 15 MiB, and
// 60 MiB unpacked.
const (
	largestArchive  = 256 << 20
	largestChecksum = 1 << 10
)

// fetcher brings server programs from a repository with the layout of the
// project embedded-postgres-binaries, which is that of Maven: an archive for
// each system and release, and its SHA-256 beside it. (The well-known library
// for it cannot fetch without also managing, and deleting, a data directory.)
type fetcher struct {
	repository string // http or https
	// dir is where releases are kept, each in a directory of its name.
	dir    string
	logger *slog.Logger
}

// find returns programs of a major version (0: the newest) that were fetched
// earlier; else it fetches the pinned release.
func (f fetcher) find(ctx context.Context, major int) (binaries, error) {
	major = cmp.Or(major, newestMajor)
	if b, ok := f.kept(major); ok {
		return b, nil
	}
	release, ok := pinned[major]
	if !ok {
		return binaries{}, fmt.Errorf("%w: PostgreSQL %d is not among the versions that are fetched, %d to %d: install it, or move the data to another version with pg_upgrade",
			ErrVersion, major, oldestMajor, newestMajor)
	}
	if err := f.fetch(ctx, release); err != nil {
		return binaries{}, fmt.Errorf("%w: PostgreSQL %s cannot be fetched (%w): install PostgreSQL %d (Debian, Ubuntu: apt install postgresql-%d), or mend database.fetch_url",
			ErrNoBinaries, release, err, major, major)
	}
	b, ok := f.kept(major)
	if !ok {
		return binaries{}, fmt.Errorf("%w: what was fetched as PostgreSQL %s holds no postgres and initdb: mend database.fetch_url", ErrNoBinaries, release)
	}
	return b, nil
}

// kept returns the newest release of a major version in the directory. Its
// programs are not asked for their version: this process may be root, and the
// directory somebody else's.
func (f fetcher) kept(major int) (binaries, bool) {
	entries, _ := os.ReadDir(f.dir) // none yet: nothing kept
	best, found := -1, binaries{}
	for _, entry := range entries {
		first, rest, _ := strings.Cut(entry.Name(), ".")
		minor, _, _ := strings.Cut(rest, ".")
		n, err := strconv.Atoi(minor)
		if first != strconv.Itoa(major) || err != nil || n <= best {
			continue
		}
		bin := filepath.Join(f.dir, entry.Name(), "bin")
		if executable(filepath.Join(bin, "postgres")) && executable(filepath.Join(bin, "initdb")) {
			best, found = n, binaries{dir: bin, major: major}
		}
	}
	return found, best >= 0
}

// fetch brings a release and puts it in its place when it is complete.
func (f fetcher) fetch(ctx context.Context, release string) error {
	began := time.Now()
	name := "embedded-postgres-binaries-" + platform()
	source, err := url.Parse(f.repository)
	if err != nil {
		return errors.New("database.fetch_url is not a URL")
	}
	source = source.JoinPath("io/zonky/test/postgres", name, release, name+"-"+release+".jar")
	f.logger.Info("fetching postgresql programs", "version", release, "url", source.Redacted(), "dir", f.dir)
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(f.dir, ".fetching-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	archive := filepath.Join(work, "archive")
	sum, err := download(ctx, source, archive)
	if err != nil {
		return err
	}
	if err := f.verify(ctx, source, sum); err != nil {
		return err
	}
	fresh := filepath.Join(work, release)
	if err := unpack(archive, fresh); err != nil {
		return fmt.Errorf("unpack %s: %w", source.Redacted(), err)
	}
	if err := os.Rename(fresh, filepath.Join(f.dir, release)); err != nil {
		return err
	}
	f.logger.Info("postgresql programs fetched", "version", release, "sha256", sum, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// verify compares with the checksum that the repository offers. Not all do.
func (f fetcher) verify(ctx context.Context, source *url.URL, sum string) error {
	address := *source
	address.Path += ".sha256"
	body, err := get(ctx, &address)
	if errors.Is(err, errNotThere) {
		f.logger.Warn("the repository offers no checksum", "url", address.Redacted())
		return nil
	}
	if err != nil {
		return err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, largestChecksum))
	if err != nil {
		return fmt.Errorf("read %s: %w", address.Redacted(), err)
	}
	// Some write the file's name behind it.
	if words := strings.Fields(string(text)); len(words) == 0 || !strings.EqualFold(words[0], sum) {
		return fmt.Errorf("%s does not have the checksum that its repository names", source.Redacted())
	}
	return nil
}

// download writes what is at source to a file and returns its SHA-256 in hex.
func download(ctx context.Context, source *url.URL, file string) (string, error) {
	body, err := get(ctx, source)
	if err != nil {
		return "", err
	}
	defer body.Close()
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, hash), io.LimitReader(body, largestArchive+1))
	if err := errors.Join(err, out.Close()); err != nil {
		return "", fmt.Errorf("read %s: %w", source.Redacted(), err)
	}
	if n > largestArchive {
		return "", fmt.Errorf("%s is larger than %d MiB", source.Redacted(), largestArchive>>20)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// client waits for a server that is silent, but not for ever, and keeps nothing.
var client = &http.Client{
	Timeout: 15 * time.Minute,
	Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true,
		TLSHandshakeTimeout: 30 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
	},
}

var errNotThere = errors.New("404 Not Found")

// get returns the body of a successful answer. The error of the client names the
// address, without a password.
func get(ctx context.Context, from *url.URL) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return nil, errors.New("database.fetch_url is not a URL")
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	switch answer.StatusCode {
	case http.StatusOK:
		return answer.Body, nil
	case http.StatusNotFound:
		err = errNotThere
	default:
		err = errors.New(answer.Status)
	}
	answer.Body.Close()
	return nil, fmt.Errorf("%s: %w", from.Redacted(), err)
}

// platform is how the repository calls this kind of machine.
func platform() string {
	arch := runtime.GOARCH
	if arch == "arm64" {
		arch += "v8"
	}
	if _, err := os.Stat("/etc/alpine-release"); err == nil && runtime.GOOS == "linux" {
		arch += "-alpine" // another C library
	}
	return runtime.GOOS + "-" + arch
}

// unpack takes the one tar archive out of the outer archive and makes dir of it.
func unpack(archive, dir string) error {
	outer, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer outer.Close()
	at := slices.IndexFunc(outer.File, func(f *zip.File) bool { return strings.HasSuffix(f.Name, ".txz") })
	if at < 0 {
		return errors.New("it holds no .txz archive")
	}
	inner, err := outer.File[at].Open()
	if err != nil {
		return err
	}
	defer inner.Close()
	return unpackPrograms(inner, dir)
}
