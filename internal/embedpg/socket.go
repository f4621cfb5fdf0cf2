//go:build linux || darwin

package embedpg

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// longestSocketDir keeps the socket's path under 104 bytes, the smallest limit
// of the supported systems (107 on Linux).
const longestSocketDir = 103 - len("/.s.PGSQL."+socketPort+".lock")

// plainPath needs no quoting in a setting, nor in a URL.
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9/._-]*$`)

// record is Dir/postgres.json: what Attach needs to know.
type record struct {
	SocketDir string `json:"socket_dir"`
}

func recordFile(dir string) string { return filepath.Join(dir, "postgres.json") }

// socketDir returns the directory for the socket, of mode 0700 and owned by the
// account, and records it in the cluster's directory. It takes the recorded one
// if that still serves, else Dir/run if sockets work there, else a new one in a
// directory for temporary files. The runtime directory of a login session comes
// last: it vanishes at logout, under a server that stays.
func (c *cluster) socketDir() (string, error) {
	if old, err := readRecord(c.dir); err == nil && c.makeSocketDir(old.SocketDir) == nil {
		return old.SocketDir, nil
	}
	dir, err := c.newSocketDir()
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(record{SocketDir: dir})
	if err != nil {
		return "", err
	}
	temp := recordFile(c.dir) + ".new"
	if err := os.WriteFile(temp, append(text, '\n'), 0o644); err != nil {
		return "", fmt.Errorf("record socket directory: %w", err)
	}
	if err := os.Rename(temp, recordFile(c.dir)); err != nil {
		return "", fmt.Errorf("record socket directory: %w", err)
	}
	return dir, nil
}

func (c *cluster) newSocketDir() (string, error) {
	if run := filepath.Join(c.dir, "run"); c.makeSocketDir(run) == nil {
		return run, nil
	}
	bases := []string{os.TempDir(), "/tmp", "/var/tmp"}
	if runtimeDir := os.Getenv("XDG_RUNTIME_DIR"); runtimeDir != "" && !c.acct.drop {
		bases = append(bases, runtimeDir)
	}
	var problems []error
	for _, candidate := range bases {
		base, err := filepath.EvalSymlinks(candidate)
		if err != nil || !c.trustedBase(base) || !usableLength(base+"/postbox-1234567890") {
			problems = append(problems, fmt.Errorf("%s does not serve", candidate))
			continue
		}
		dir, err := os.MkdirTemp(base, "postbox-") // 0700, and never one that exists
		if err == nil {
			err = c.acct.own(dir)
		}
		if err == nil {
			err = c.makeSocketDir(dir)
		}
		if err == nil {
			return dir, nil
		}
		problems = append(problems, err)
	}
	return "", fmt.Errorf("no place for a private socket (set TMPDIR to a short path): %w", errors.Join(problems...))
}

// makeSocketDir sees to it that dir is a directory that only the account can
// enter, creating it if it is missing, and that a socket can be made in it.
func (c *cluster) makeSocketDir(dir string) error {
	if !usableLength(dir) {
		return fmt.Errorf("socket directory %s: path is too long or needs quoting", dir)
	}
	if err := os.Mkdir(dir, 0o700); err == nil {
		if err := c.acct.own(dir); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if !c.trustedBase(filepath.Dir(dir)) {
		return fmt.Errorf("socket directory %s: others could replace it", dir)
	}
	if err := checkPrivate(dir, c.acct.uid); err != nil {
		return err
	}
	// Some file systems that are shared with a host have no sockets.
	probe := filepath.Join(dir, ".probe")
	_ = os.Remove(probe)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: probe, Net: "unix"})
	if err != nil {
		return fmt.Errorf("socket directory %s: %w", dir, err)
	}
	return l.Close() // removes it too
}

func usableLength(dir string) bool {
	return len(dir) <= longestSocketDir && plainPath.MatchString(dir)
}

// trustedBase says whether entries of base are safe from other users: it is
// owned by root, the account or us, and whoever else may write to it cannot
// rename what is not his (the sticky bit). The account must be able to pass.
func (c *cluster) trustedBase(base string) bool {
	info, err := os.Stat(base)
	if err != nil || !info.IsDir() {
		return false
	}
	st := info.Sys().(*syscall.Stat_t)
	if st.Uid != 0 && st.Uid != c.acct.uid && st.Uid != uint32(os.Geteuid()) {
		return false
	}
	if info.Mode()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return false
	}
	if !c.acct.drop {
		return unix.Access(base, unix.X_OK) == nil
	}
	closed, _ := closedComponent(c.acct, base)
	_, open := searchable(c.acct, closed)
	return open
}

// checkPrivate returns an error unless dir is a directory, not a link to one,
// that belongs to uid and nobody else may enter.
func checkPrivate(dir string, uid uint32) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("socket directory: %w", err)
	}
	st := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || st.Uid != uid {
		return fmt.Errorf("socket directory %s is not a private directory of %s (mode %04o, owner %s)",
			dir, accountName(uid), info.Mode().Perm(), accountName(st.Uid))
	}
	return nil
}

// removeSocketDir removes the directory if it is empty and not in Dir.
func (c *cluster) removeSocketDir(dir string) {
	if !strings.HasPrefix(dir, c.dir+"/") {
		_ = os.Remove(dir)
	}
}

func readRecord(dir string) (record, error) {
	var r record
	text, err := os.ReadFile(recordFile(dir))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%s: %w", recordFile(dir), err)
	}
	return r, nil
}

// socketURL returns the connection URL of a database behind the socket in dir.
func socketURL(dir, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Path: "/" + database}
	u.RawQuery = url.Values{"host": {dir}, "port": {socketPort}, "sslmode": {"disable"}}.Encode()
	return u.String()
}
