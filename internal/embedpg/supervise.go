//go:build linux || darwin

package embedpg

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// Pauses before a dead postmaster is started again: doubled each time, and back
// to the first after it has lived for a while. The last is what a database that
// will not start costs, and what one that is killed again and again keeps its
// clients waiting.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
	longLife   = time.Minute
)

// supervise keeps a postmaster running until Stop is called, then ends it.
func (s *Server) supervise() {
	defer close(s.done)
	defer s.release()
	defer s.chores.Wait()
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	p, born, pause := s.proc, time.Now(), firstPause
	for {
		select {
		case <-s.ctx.Done():
			p.signal(syscall.SIGINT)
			<-p.done
			if p.err != nil { // it was killed, perhaps without its children
				if err := s.cluster.endOrphans(context.Background(), time.Second); err != nil {
					s.logger.Error("postgresql processes are left over", "error", err)
				}
			}
			s.logger.Info("postgresql stopped", "pid", p.pid, "state", outcome(p))
			return
		case <-tick.C:
			s.lookAfter(p)
			continue
		case <-p.done:
		}
		if time.Since(born) > longLife {
			pause = firstPause
		}
		s.logger.Error("postgresql died", "pid", p.pid, "state", outcome(p), "log", s.log.path)
		if p, pause = s.revive(pause); p == nil {
			return // Stop was called meanwhile
		}
		born = time.Now()
		s.logger.Info("postgresql is running again", "pid", p.pid)
		if s.onRestart != nil {
			s.onRestart()
		}
	}
}

// revive starts postmasters until one stays, and returns it and the pause that
// its death would be followed by. It returns nil if Stop is called first.
func (s *Server) revive(pause time.Duration) (*process, time.Duration) {
	s.setProc(nil)
	for {
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return nil, 0
		}
		pause = min(2*pause, lastPause)
		p, err := s.again()
		if err == nil {
			s.setProc(p)
			return p, pause
		}
		if s.ctx.Err() != nil {
			return nil, 0
		}
		s.logger.Error("postgresql does not start, trying again", "error", err, "pause", pause)
	}
}

// again clears away what the last postmaster left and starts the next one.
func (s *Server) again() (*process, error) {
	if err := s.cluster.endOrphans(s.ctx, time.Second); err != nil {
		return nil, err
	}
	if err := s.cluster.removeStalePidFile(); err != nil {
		return nil, err
	}
	if err := s.cluster.makeSocketDir(s.socketDir); err != nil {
		return nil, err
	}
	return s.launch(s.ctx)
}

// lookAfter does the regular chores. A server whose socket has vanished serves
// nobody and does not notice: it is ended, so that the next one makes it anew.
func (s *Server) lookAfter(p *process) {
	if err := s.log.trim(); err != nil {
		s.logger.Warn("postgresql log not trimmed", "error", err)
	}
	if s.socketGone() {
		s.logger.Error("postgresql socket has vanished, starting anew", "socket_dir", s.socketDir)
		p.signal(syscall.SIGINT)
	}
}

func (s *Server) setProc(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc = p
}

// outcome says how the process ended: "exit status 0", "signal: killed".
func outcome(p *process) string {
	if p.err == nil {
		return "exit status 0"
	}
	if errors.Is(p.err, os.ErrProcessDone) {
		return "unknown"
	}
	return p.err.Error()
}
