//go:build linux || darwin

package embedpg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// database is the name of the one database that the package makes.
const database = "postbox"

// immediateStop is the time for an immediate shutdown. The postmaster itself
// kills children that do not obey after 5 s.
const immediateStop = 7 * time.Second

// Server is a running PostgreSQL and the goroutine that keeps it running. Its
// methods may be called from several goroutines at once.
type Server struct {
	cluster   *cluster
	settings  map[string]string
	socketDir string
	logger    *slog.Logger
	onRestart func()
	lock      *os.File
	log       *logFile
	every     time.Duration // between two looks at log and socket

	ctx    context.Context // ends when Stop is called
	cancel context.CancelFunc
	done   chan struct{}  // closed when the child and the supervisor are gone
	chores sync.WaitGroup // what else runs until Stop is called

	mu   sync.Mutex // guards proc
	proc *process   // the present postmaster; nil between two
}

// Start starts the server of o.Dir and returns when it takes connections and
// has the database "postbox". The first start makes the cluster (UTF-8, locale C,
// whatever the environment says).
//
// Programs of PostgreSQL 14 to 18 are searched on PATH, then where packages for
// Linux and macOS put them, newest first; for a directory that exists, of the
// version that made it; with [Options.FetchURL] those that are not there are
// fetched. A postmaster left over from a killed server is stopped
// first, which takes 15 seconds at most.
//
// ctx bounds the start only, not the life of the server. Crash recovery takes
// its time: give minutes, not seconds. Errors are one line; among them
// [ErrInUse], [ErrNoBinaries], [ErrVersion], [ErrUnreachable], [ErrUnsupported].
func Start(ctx context.Context, o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		settings:  o.Settings,
		logger:    o.logger(),
		onRestart: o.OnRestart,
		every:     cmp.Or(o.every, 10*time.Second),
		done:      make(chan struct{}),
	}
	if err := s.start(ctx, o); err != nil {
		s.release()
		return nil, fmt.Errorf("embedded postgresql: %w", err)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if !o.NoSync { // else nobody waits for the disk
		s.chores.Go(func() { writeGrowth(s.ctx, s.cluster.data()) })
	}
	go s.supervise()
	return s, nil
}

// start does everything up to the first postmaster that takes connections. What
// it opens is closed by release.
func (s *Server) start(ctx context.Context, o Options) (err error) {
	dir, err := makeDir(o.Dir)
	if err != nil {
		return err
	}
	if s.lock, err = lockDir(dir); err != nil {
		return err
	}
	c, err := openCluster(ctx, dir, o)
	if err != nil {
		return err
	}
	s.cluster = c
	if s.log, err = openLog(dir); err != nil {
		return err
	}
	if s.socketDir, err = c.socketDir(); err != nil {
		return err
	}
	s.proc, err = s.launch(ctx)
	if err != nil {
		return err
	}
	if err := s.createDatabase(ctx); err != nil {
		s.proc.signal(syscall.SIGINT)
		<-s.proc.done
		return err
	}
	s.logger.Info("postgresql started", "pid", s.proc.pid, "dir", c.data(), "version", c.bins.major,
		"account", c.acct.name, "socket_dir", s.socketDir)
	return nil
}

// openCluster returns the cluster of dir, made if there is none, with nothing
// running on it. The caller holds the lock.
func openCluster(ctx context.Context, dir string, o Options) (*cluster, error) {
	c := &cluster{dir: dir, noSync: o.NoSync, logger: o.logger()}
	major, err := clusterVersion(c.data())
	if err != nil {
		return nil, err
	}
	c.bins, err = findBinaries(ctx, o.BinDir, major)
	if err != nil && o.BinDir == "" && o.FetchURL != "" {
		f := fetcher{repository: o.FetchURL, dir: filepath.Join(dir, "programs"), logger: o.logger()}
		c.bins, err = f.find(ctx, major)
	}
	if err != nil {
		return nil, err
	}
	if c.acct, err = chooseAccount(c.data()); err != nil {
		return nil, err
	}
	if err := checkReach(ctx, c.acct, c.bins, dir); err != nil {
		return nil, err
	}
	if major == 0 {
		return c, c.create(ctx)
	}
	if err := c.stopLeftover(ctx); err != nil {
		return nil, err
	}
	return c, c.takeOver()
}

// URL returns the connection URL of the database "postbox" for lib/pq. It stays
// the same for the life of the Server, restarts included. The socket is open to
// this account and to root.
func (s *Server) URL() string { return socketURL(s.socketDir, database) }

// Pid returns the process id of the postmaster, 0 while there is none: between
// its death and its successor, and after Stop.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil || s.proc.gone() {
		return 0
	}
	return s.proc.pid
}

// Stop ends the server by a fast shutdown: open transactions are rolled back,
// what is committed is written out, connections are closed. When it returns the
// child is gone and the directory is free. If ctx ends first the server is
// stopped at once, which costs a recovery at the next start but no committed
// transaction, and the error says so. Calling it again, or from several
// goroutines, is harmless.
func (s *Server) Stop(ctx context.Context) error {
	s.cancel()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	s.signal(syscall.SIGQUIT)
	select {
	case <-s.done:
	case <-time.After(immediateStop):
		s.signal(syscall.SIGKILL)
		<-s.done
	}
	return fmt.Errorf("embedded postgresql was stopped at once, its next start recovers: %w", ctx.Err())
}

func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		s.proc.signal(sig)
	}
}

// release gives back what start took, whatever that was.
func (s *Server) release() {
	if s.socketDir != "" {
		s.cluster.removeSocketDir(s.socketDir)
	}
	var err error
	if s.log != nil {
		err = s.log.close()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	if err != nil {
		s.logger.Warn("closing postgresql files failed", "error", err)
	}
}

// socketGone says whether the socket file has vanished, as when a cleaner of
// temporary files took it for old.
func (s *Server) socketGone() bool {
	return unix.Access(filepath.Join(s.socketDir, ".s.PGSQL."+socketPort), unix.F_OK) == unix.ENOENT
}
