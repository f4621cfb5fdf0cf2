//go:build linux || darwin

package embedpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// superuser is the role that initdb makes and that everybody connects as.
const superuser = "postbox"

// cluster is a data directory, the programs that fit it and who runs them.
type cluster struct {
	dir    string // what Options.Dir names, absolute and without links
	bins   binaries
	acct   account
	noSync bool
	logger *slog.Logger
}

func (c *cluster) data() string { return filepath.Join(c.dir, "pgdata") }

// clusterVersion returns the major version that made dataDir, 0 if there is no
// cluster yet. A directory that holds something else is an error.
func clusterVersion(dataDir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION"))
	if errors.Is(err, fs.ErrPermission) {
		return 0, fmt.Errorf("%w: %w: run this as root or as the owner of the directory", ErrUnreachable, err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		entries, err := os.ReadDir(dataDir)
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
			return 0, nil
		}
		if err != nil {
			return 0, fmt.Errorf("read data directory: %w", err)
		}
		return 0, fmt.Errorf("%s is not empty and holds no PostgreSQL cluster (no PG_VERSION): restore it, or move it away to start anew", dataDir)
	}
	if err != nil {
		return 0, fmt.Errorf("read data directory: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s/PG_VERSION does not hold a major version of PostgreSQL 10 or later: %q", dataDir, bytes.TrimSpace(text))
	}
	return major, nil
}

// create makes the cluster beside its place and moves it there complete.
func (c *cluster) create(ctx context.Context) error {
	began := time.Now()
	fresh := c.data() + ".new"
	if err := c.setAside(fresh); err != nil {
		return err
	}
	err := os.Mkdir(fresh, 0o700)
	if err == nil {
		err = c.acct.own(fresh)
	}
	if err != nil {
		return fmt.Errorf("create data directory: %w", err)
	}
	args := []string{
		"-D", fresh, "-U", superuser, "-E", "UTF8", "--locale=C", "--data-checksums",
		"--auth-local=trust", "--auth-host=reject", "--no-instructions",
	}
	if c.noSync {
		args = append(args, "--no-sync")
	}
	if out, err := c.run(ctx, "initdb", args...); err != nil {
		return fmt.Errorf("initdb in %s: %w: %s", fresh, err, lastLine(out))
	}
	settings := defaults
	// Not every build has lz4, and before 15 there was only a slow method.
	if _, err := c.run(ctx, "postgres", "-D", fresh, "-C", "wal_compression", "-c", "wal_compression=lz4"); err == nil {
		settings = append(settings[:len(settings):len(settings)], setting{"wal_compression", "lz4"})
	}
	if err := appendSynced(filepath.Join(fresh, "postgresql.conf"), configuration(settings)); err != nil {
		return fmt.Errorf("configure new cluster: %w", err)
	}
	if err := os.Rename(fresh, c.data()); err != nil {
		return fmt.Errorf("move new cluster into place: %w", err)
	}
	if err := syncDir(c.dir); err != nil {
		return fmt.Errorf("move new cluster into place: %w", err)
	}
	c.logger.Info("postgresql cluster made", "dir", c.data(), "version", c.bins.major, "account", c.acct.name,
		"took", time.Since(began).Round(time.Millisecond))
	return nil
}

// setAside moves away what an interrupted create left. It never was a cluster
// in use, but nothing here deletes a data directory.
func (c *cluster) setAside(fresh string) error {
	if _, err := os.Lstat(fresh); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	aside := c.data() + ".unfinished-" + time.Now().UTC().Format("20060102T150405.000000000")
	if err := os.Rename(fresh, aside); err != nil {
		return fmt.Errorf("set unfinished cluster aside: %w", err)
	}
	c.logger.Warn("unfinished postgresql cluster set aside, it may be deleted", "dir", aside)
	return nil
}

// takeOver gives a data directory that belongs to root, such as one restored
// from a backup, to the account. Nothing outside it is touched. The top comes
// last: until then the directory still counts as root's and a killed takeOver
// is done again.
func (c *cluster) takeOver() error {
	owner, _, _, err := ownerOf(c.data())
	if err != nil || !c.acct.drop || owner == c.acct.uid {
		return err
	}
	err = filepath.WalkDir(c.data(), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == c.data() {
			return err
		}
		return c.acct.own(path)
	})
	if err == nil {
		err = os.Chmod(c.data(), 0o700)
	}
	if err == nil {
		err = c.acct.own(c.data())
	}
	if err != nil {
		return fmt.Errorf("give data directory to %s: %w", c.acct.name, err)
	}
	c.logger.Info("data directory given to account", "dir", c.data(), "account", c.acct.name)
	return nil
}

// run runs one of the programs to its end as the account and returns what it
// printed. It is killed, with its children, when ctx ends or this process dies.
func (c *cluster) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	cmd := c.command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	p, err := startProcess(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		_ = unix.Kill(-p.pid, unix.SIGKILL) // the whole group
		<-p.done
		return out.Bytes(), ctx.Err()
	}
	return out.Bytes(), p.err
}

func appendSynced(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
