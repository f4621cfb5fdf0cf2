package model

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"postbox/internal/pgtest"
)

// kill kills the server in the middle of whatever it does, and starts it again.
func (w *world) kill() {
	forget := func() {
		w.life++
		for _, d := range w.devices {
			d.pos.killed()
		}
		w.tell()
	}
	w.locked(func() {
		w.count("kills")
		w.count("kills of the server")
		w.note("KILL of the server")
		forget()
	})
	w.server.Kill9()
	w.locked(forget)
	w.release()
	w.awaitDatabase()
	w.server.Restart()
	w.locked(func() { w.note("the server is there again") })
}

// crash kills a process of PostgreSQL with -9: the postmaster then ends all
// others, recovers from its log, and goes on.
func (w *world) crash() {
	w.trouble("CRASH of PostgreSQL")
	if err := w.killBackend(); err != nil && w.ctx.Err() == nil {
		w.t.Fatalf("crash PostgreSQL: %v", err)
	}
	w.recovered()
}

// killBackend kills the process of one connection and returns when another one
// has been ended for that.
func (w *world) killBackend() error {
	victim, err := w.db.Conn(w.ctx)
	if err != nil {
		return err
	}
	defer victim.Close()
	witness, err := w.db.Conn(w.ctx)
	if err != nil {
		return err
	}
	defer witness.Close()
	var pid int
	if err := victim.QueryRowContext(w.ctx, `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill backend %d: %w", pid, err)
	}
	for witness.PingContext(w.ctx) == nil {
		w.pause(5 * time.Millisecond)
	}
	return nil
}

// killPostgres ends the postmaster, by an immediate shutdown or by kill -9. One
// that dies often is started again more and more slowly: then it is a crash.
func (w *world) killPostgres(r *rand.Rand) {
	pid := w.pg.Pid()
	if pid == 0 || w.deaths >= 3 && time.Since(w.died) < 70*time.Second {
		w.crash()
		return
	}
	w.deaths, w.died = w.deaths+1, time.Now()
	signal := []syscall.Signal{syscall.SIGQUIT, syscall.SIGKILL}[r.IntN(2)]
	w.trouble("KILL of the postmaster: " + signal.String())
	if err := syscall.Kill(pid, signal); err != nil {
		w.t.Fatalf("signal postmaster %d: %v", pid, err)
	}
	for limit := time.Now().Add(patience); w.pg.Pid() == pid || w.pg.Pid() == 0; w.pause(10 * time.Millisecond) {
		if time.Now().After(limit) {
			w.t.Fatalf("PostgreSQL does not come back after %v", patience)
		}
		if w.ctx.Err() != nil {
			return
		}
	}
	w.recovered()
}

// trouble begins an outage of PostgreSQL. The locks that the model holds in it
// go with it.
func (w *world) trouble(what string) {
	w.release()
	w.locked(func() {
		w.count("kills")
		w.count("kills of PostgreSQL")
		w.note("%s", what)
		w.troubles++
		w.troubled = time.Now()
	})
}

func (w *world) recovered() {
	w.awaitDatabase()
	w.locked(func() {
		w.troubles++
		w.troubled = time.Now()
		w.note("PostgreSQL is there again")
	})
}

// shaken reports whether the server may still feel the last outage of
// PostgreSQL: connections that are broken, pauses between tries.
func (w *world) shaken() bool { return time.Since(w.troubled) < 10*time.Second }

// awaitDatabase waits until PostgreSQL answers.
func (w *world) awaitDatabase() {
	for limit := time.Now().Add(patience); w.db.PingContext(w.ctx) != nil && w.ctx.Err() == nil; w.pause(10 * time.Millisecond) {
		if time.Now().After(limit) {
			w.t.Fatalf("PostgreSQL does not answer for %v", patience)
		}
	}
}

// stall keeps every lane from committing for a moment, by a lock on the row
// that each transaction of a lane locks first.
func (w *world) stall(r *rand.Rand) {
	w.release()
	ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
	defer cancel()
	tx, err := w.db.BeginTx(context.Background(), nil)
	if err != nil {
		return
	}
	if _, err := tx.ExecContext(ctx, `SELECT 1 FROM postbox.lanes FOR UPDATE`); err != nil {
		_ = tx.Rollback()
		return
	}
	w.locked(func() {
		w.count("stalls")
		w.note("STALL: no lane commits")
		w.held = time.Now()
		w.letGo = func() { _ = tx.Rollback() }
	})
	held := w.held
	time.AfterFunc(time.Duration(20+r.IntN(250))*time.Millisecond, func() {
		w.locked(func() {
			if w.held == held {
				w.letGoOn()
			}
		})
	})
}

// release ends a stall, if there is one.
func (w *world) release() {
	w.locked(w.letGoOn)
}

func (w *world) letGoOn() {
	if w.letGo == nil {
		return
	}
	w.note("lanes commit again")
	w.held = time.Time{}
	w.letGo()
	w.letGo = nil
}

// expire removes the oldest entries of an inbox, as retention does: never the
// last one, nor what is only seconds old.
func (w *world) expire(r *rand.Rand) {
	w.audits.Lock()
	defer w.audits.Unlock()
	user, upTo := "", int64(0)
	w.locked(func() {
		user = w.users[r.IntN(len(w.users))]
		for _, row := range w.mirror.inboxes[user] {
			if time.Since(row.seen) < 10*time.Second {
				break
			}
			upTo++
		}
		if upTo -= 1 + int64(r.IntN(30)); upTo <= w.removed[user] {
			upTo = 0
			return
		}
		w.removed[user] = upTo
		w.count("removals")
		w.note("the inbox of %s is removed up to %d", user, upTo)
	})
	if upTo > 0 {
		// An error is an outage: it is removed next time.
		_, _ = w.db.ExecContext(w.ctx, pgtest.RemoveEntries, user, upTo)
	}
}

// calm waits until everything sent on connections that are read is answered.
func (w *world) calm() {
	w.release()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until("the answers to all that was published", func() bool {
		for _, d := range w.devices {
			if d.busy > 0 || d.online() && !d.conn.frozen && len(d.conn.due) > 0 {
				return false
			}
		}
		return true
	})
}
