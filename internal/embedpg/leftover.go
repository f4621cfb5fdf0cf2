//go:build linux || darwin

package embedpg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How long processes of an earlier server get: to finish cleanly, to end at
// once, to be gone. 15 seconds in all.
const (
	leftoverFast      = 8 * time.Second
	leftoverImmediate = 5 * time.Second
	leftoverKilled    = 2 * time.Second
)

// stopLeftover ends what a killed server left running on the data directory.
// The caller holds the directory's lock, so nobody is using it. If nothing is
// left over it returns at once.
func (c *cluster) stopLeftover(ctx context.Context) error {
	if pid := recordedPostmaster(c.data()); pid > 0 && isClusterProcess(pid, c.data()) {
		c.logger.Warn("stopping postgresql left over from a killed server", "pid", pid)
		_ = unix.Kill(pid, unix.SIGINT)
		if err := c.awaitGone(ctx, leftoverFast); err != nil {
			return err
		}
	}
	if err := c.endOrphans(ctx, leftoverImmediate); err != nil {
		return err
	}
	return c.removeStalePidFile()
}

// endOrphans ends every process of the cluster the hard way. After the death of
// a postmaster its children may go on for a while, and as long as they hold the
// shared memory no other can start. What they did not commit is lost, as in any
// crash; recovery sees to the rest.
func (c *cluster) endOrphans(ctx context.Context, patience time.Duration) error {
	for _, step := range []struct {
		sig     unix.Signal
		timeout time.Duration
	}{{unix.SIGQUIT, patience}, {unix.SIGKILL, leftoverKilled}} {
		pids := clusterProcesses(c.data())
		if len(pids) == 0 {
			return nil
		}
		c.logger.Warn("ending orphaned postgresql processes", "count", len(pids), "signal", step.sig.String())
		for _, pid := range pids {
			_ = unix.Kill(pid, step.sig)
		}
		if err := c.awaitGone(ctx, step.timeout); err != nil {
			return err
		}
	}
	if pids := clusterProcesses(c.data()); len(pids) > 0 {
		return fmt.Errorf("PostgreSQL processes of an earlier server on %s do not end: kill %s",
			c.data(), strings.Trim(fmt.Sprint(pids), "[]"))
	}
	return nil
}

// awaitGone returns when no process of the cluster is left or the time is over;
// only the end of ctx is an error.
func (c *cluster) awaitGone(ctx context.Context, timeout time.Duration) error {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond) // they are not our children: nothing to wait on
	defer poll.Stop()
	for len(clusterProcesses(c.data())) > 0 {
		select {
		case <-poll.C:
		case <-deadline.C:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("waiting for an earlier PostgreSQL on %s to end: %w", c.data(), ctx.Err())
		}
	}
	return nil
}

// removeStalePidFile removes a postmaster.pid that names a living process which
// is not of this cluster, or nothing at all: PostgreSQL would take it for a
// running server. That happens when a container starts again and process ids
// repeat. A really running server is kept out by the lock, and PostgreSQL
// checks the shared memory too.
func (c *cluster) removeStalePidFile() error {
	file := filepath.Join(c.data(), "postmaster.pid")
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	pid := recordedPostmaster(c.data())
	if pid > 0 && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return nil // PostgreSQL sees by itself that this one is gone
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale pid file: %w", err)
	}
	c.logger.Warn("removed stale postmaster.pid", "pid", pid)
	return nil
}

// recordedPostmaster returns the process id in postmaster.pid, 0 without one.
func recordedPostmaster(dataDir string) int {
	text, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}
