//go:build linux || darwin

package embedpg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// makeDir creates dir with its missing parents and returns its absolute path
// without symbolic links. What root creates may be entered by everybody, for
// PostgreSQL runs as somebody else; what matters inside has a mode of its own.
// A directory that exists is left as it is.
func makeDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("data directory %s: %w", dir, err)
	}
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o755
	}
	var missing []string
	for p := dir; ; p = filepath.Dir(p) {
		if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) || p == filepath.Dir(p) {
			break
		}
		missing = append(missing, p)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		err := os.Mkdir(missing[i], mode)
		if err == nil {
			err = os.Chmod(missing[i], mode) // whatever the umask is
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("create data directory: %w", err)
		}
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	if info, err := os.Stat(real); err != nil || !info.IsDir() {
		return "", errors.Join(fmt.Errorf("data directory %s is not a directory", dir), err)
	}
	return real, nil
}

// checkReach proves, by doing it, that the account can run the programs and
// enter dir. It does nothing when no account is changed.
func checkReach(ctx context.Context, a account, b binaries, dir string) error {
	if !a.drop {
		return nil
	}
	enter := func(dir string) error {
		cmd := exec.CommandContext(ctx, b.program("postgres"), "-V")
		cmd.Env, cmd.Dir = childEnv(), dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential()}
		return cmd.Run()
	}
	if err := enter("/"); err != nil {
		return fmt.Errorf("%w %s: it cannot run %s: %w", ErrUnreachable, a.name, b.program("postgres"), err)
	}
	err := enter(dir)
	if errors.Is(err, fs.ErrPermission) {
		closed, mode := closedComponent(a, dir)
		return fmt.Errorf("%w %s: it cannot enter %s (mode %04o) on the way to %s: choose a directory elsewhere (database.embedded_dir) or run chmod o+x %s",
			ErrUnreachable, a.name, closed, mode, dir, closed)
	}
	if err != nil {
		return fmt.Errorf("enter %s as %s: %w", dir, a.name, err)
	}
	return nil
}

// closedComponent names the first directory on the way to dir that the account
// may not search, going by mode bits; dir itself when they do not tell.
func closedComponent(a account, dir string) (string, fs.FileMode) {
	path, rest := "/", strings.Split(strings.Trim(dir, "/"), "/")
	for {
		mode, open := searchable(a, path)
		if !open || len(rest) == 0 {
			return path, mode
		}
		path, rest = filepath.Join(path, rest[0]), rest[1:]
	}
}

// searchable says whether the mode bits of the directory let the account pass.
func searchable(a account, dir string) (fs.FileMode, bool) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, false
	}
	st := info.Sys().(*syscall.Stat_t)
	bit := fs.FileMode(0o001)
	switch {
	case st.Uid == a.uid:
		bit = 0o100
	case st.Gid == a.gid:
		bit = 0o010
	}
	return info.Mode().Perm(), info.IsDir() && info.Mode()&bit != 0
}

// syncDir makes renames inside dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
