//go:build linux || darwin

package embedpg

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestUnreachableDirectory(t *testing.T) {
	t.Parallel()
	closed := filepath.Join(newDir(t), "closed")
	dir := filepath.Join(closed, "below", "data")
	mode, fix := os.FileMode(0o700), "chmod o+x "+closed
	if os.Geteuid() != 0 {
		mode, fix = 0, "permission denied" // an ordinary user is only shut out by itself
	}
	if err := os.MkdirAll(closed, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(closed, mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(closed, 0o700) })
	_, err := Start(t.Context(), Options{Dir: dir, NoSync: true})
	if got := oneLine(t, err); !strings.Contains(got, fix) || !strings.Contains(got, closed) {
		t.Error(got)
	}
	if os.Geteuid() == 0 && !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	// What the message says helps.
	if err := os.Chmod(closed, mode|0o711); err != nil {
		t.Fatal(err)
	}
	start(t, Options{Dir: dir})
}

func TestLongDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(newDir(t), strings.Repeat("long/", 20), strings.Repeat("x", 120))
	s := start(t, Options{Dir: dir})
	mustQuery(t, s.URL(), `SELECT 1`)
	if n := len(s.socketDir + "/.s.PGSQL." + socketPort); n > 103 {
		t.Errorf("socket path has %d bytes", n)
	}
	url, err := Attach(dir)
	if err != nil || url != s.URL() {
		t.Errorf("attach: %s, %v", url, err)
	}
	stop(t, s)
	if _, err := os.Stat(s.socketDir); err == nil {
		t.Errorf("%s is left over", s.socketDir)
	}
}

func TestDirectoryWithSpacesAndThroughALink(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	link := filepath.Join(filepath.Dir(dir), "a link, 'quoted'")
	if err := os.MkdirAll(dir+" with spaces", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir+" with spaces", link); err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{Dir: link})
	url, err := Attach(link)
	if err != nil || url != s.URL() {
		t.Errorf("attach: %s, %v", url, err)
	}
	mustQuery(t, url, `SELECT 1`)
}

func TestSocketDirectoryIsNotTakenFromOthers(t *testing.T) {
	t.Parallel()
	base := newDir(t)
	if err := os.Mkdir(base, 0o755); err != nil {
		t.Fatal(err)
	}
	acct, err := chooseAccount(base + "/pgdata")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{dir: base, acct: acct}
	for name, make := range map[string]func(dir string) error{
		"link":     func(dir string) error { return os.Symlink(t.TempDir(), dir) },
		"file":     func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"open":     func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o750), acct.own(dir)) },
		"too long": func(dir string) error { return nil },
	} {
		dir := filepath.Join(base, name)
		if name == "too long" {
			dir += strings.Repeat("x", 100)
		}
		if err := make(dir); err != nil {
			t.Fatal(err)
		}
		oneLine(t, c.makeSocketDir(dir))
	}
	// In a directory where others may rename what is ours nothing is safe.
	loose := filepath.Join(base, "loose")
	if err := errors.Join(os.Mkdir(loose, 0o777), os.Chmod(loose, 0o777)); err != nil {
		t.Fatal(err)
	}
	oneLine(t, c.makeSocketDir(filepath.Join(loose, "run")))
	if err := os.Chmod(loose, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := c.makeSocketDir(filepath.Join(loose, "run")); err != nil {
		t.Error(err)
	}
	if os.Geteuid() == 0 { // a directory of somebody else's
		other := filepath.Join(loose, "other")
		if err := errors.Join(os.Mkdir(other, 0o700), os.Chown(other, 12345, 12345)); err != nil {
			t.Fatal(err)
		}
		oneLine(t, c.makeSocketDir(other))
	}
}

func TestMadeDirectoriesCanBeEnteredWhateverTheUmask(t *testing.T) {
	// The mask belongs to the whole process: not parallel.
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := newDir(t)
	start(t, Options{Dir: filepath.Join(dir, "a", "b")})
}
