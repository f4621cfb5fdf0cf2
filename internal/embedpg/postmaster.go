//go:build linux || darwin

package embedpg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/lib/pq"
)

// pingTimeout bounds one attempt to connect.
const pingTimeout = 5 * time.Second

// launch starts a postmaster and waits until it takes connections, for as long
// as its recovery takes. On an error nothing of it is left running.
func (s *Server) launch(ctx context.Context) (*process, error) {
	if err := s.removeSocketLock(); err != nil {
		return nil, err
	}
	offset := s.log.size()
	cmd := s.cluster.command("postgres", arguments(s.cluster.data(), s.socketDir, s.cluster.noSync, s.settings)...)
	cmd.Stdout, cmd.Stderr = s.log.file, s.log.file
	// SIGINT is PostgreSQL's fast shutdown.
	p, err := startProcess(cmd, syscall.SIGINT)
	if err != nil {
		return nil, fmt.Errorf("start postgresql: %w", err)
	}
	if err := s.awaitReady(ctx, p); err != nil {
		if p.gone() {
			return nil, fmt.Errorf("postgresql ended while starting (%w): %s (log: %s)", p.err, s.log.complaint(offset), s.log.path)
		}
		p.signal(syscall.SIGQUIT)
		select {
		case <-p.done:
		case <-time.After(immediateStop):
			p.signal(syscall.SIGKILL)
			<-p.done
		}
		return nil, err
	}
	return p, nil
}

// removeSocketLock removes the lock file beside the socket. The directory is
// ours alone and no postmaster runs on it, but the process id in the file may
// belong to somebody else by now, which PostgreSQL would take for a server.
func (s *Server) removeSocketLock() error {
	err := os.Remove(filepath.Join(s.socketDir, ".s.PGSQL."+socketPort+".lock"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale socket lock: %w", err)
	}
	return nil
}

// awaitReady returns when the server takes connections; an error means that the
// child is gone or ctx is over.
func (s *Server) awaitReady(ctx context.Context, p *process) error {
	connector, err := pq.NewConnector(socketURL(s.socketDir, "postgres"))
	if err != nil {
		return fmt.Errorf("connect to postgresql: %w", err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	pause := 5 * time.Millisecond
	report := time.NewTicker(10 * time.Second)
	defer report.Stop()
	for {
		err := pingOnce(ctx, db)
		if accepts(err) {
			return nil
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, 100*time.Millisecond)
		case <-report.C:
			s.logger.Info("waiting for postgresql, it may be recovering", "pid", p.pid, "error", err)
		case <-p.done:
			return errors.New("postgresql is gone")
		case <-ctx.Done():
			return fmt.Errorf("waiting for postgresql to take connections: %w", ctx.Err())
		}
	}
}

func pingOnce(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return db.PingContext(ctx)
}

// accepts says whether the answer to a connection attempt comes from a server
// that takes connections; "too many" of them does.
func accepts(err error) bool {
	var answer *pq.Error
	if errors.As(err, &answer) {
		return answer.Code.Class() != "57" // starting up or shutting down
	}
	return err == nil
}

// createDatabase makes the database "postbox" unless it exists.
func (s *Server) createDatabase(ctx context.Context) error {
	db, err := sql.Open("postgres", socketURL(s.socketDir, "postgres"))
	if err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	defer db.Close()
	var exists bool
	err = db.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, database).Scan(&exists)
	if err == nil && !exists {
		_, err = db.ExecContext(ctx, `CREATE DATABASE `+pq.QuoteIdentifier(database))
	}
	if err != nil {
		return fmt.Errorf("create database %s: %w", database, err)
	}
	return nil
}
