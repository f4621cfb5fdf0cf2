package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// ownerLock is the advisory lock that the one server of a database holds.
const ownerLock = 0x706f7374626f78 // "postbox"

// ErrOwned says that another server uses this database.
var ErrOwned = errors.New("another postbox server uses this database: stop it first, or give this one its own database")

// Owner holds the database for one server. Its methods are not safe for
// concurrent use.
type Owner struct {
	store *Store
	conn  *sql.Conn // that holds the lock; nil: it was lost
}

// Own takes the database for this server, so that a second one is refused. The
// lock is held by a connection of its own; closing it gives the database free.
// While that connection is lost, the fences of the lanes still keep two servers
// from writing at once.
func (s *Store) Own(ctx context.Context) (*Owner, error) {
	o := &Owner{store: s}
	// PostgreSQL notices a moment later that an owner has gone.
	for tries := 20; ; tries-- {
		err := o.take(ctx)
		if !errors.Is(err, ErrOwned) || tries == 0 {
			return o, err
		}
		select {
		case <-ctx.Done():
			return o, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// take connects and takes the lock.
func (o *Owner) take(ctx context.Context) error {
	conn, err := o.store.db.Conn(ctx)
	if err != nil {
		return away("take the database", err)
	}
	var got bool
	err = conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, int64(ownerLock)).Scan(&got)
	switch {
	case err != nil:
		_ = conn.Close()
		return away("take the database", err)
	case !got:
		_ = conn.Close()
		return ErrOwned
	}
	o.conn = conn
	return nil
}

// Keep takes the lock again if its connection was lost. ErrOwned may then mean
// another server, or that PostgreSQL has not noticed yet that we have gone.
func (o *Owner) Keep(ctx context.Context) error {
	if o.conn != nil {
		if _, err := o.conn.ExecContext(ctx, `SELECT 1`); err == nil {
			return nil
		}
		_ = o.Close()
	}
	return o.take(ctx)
}

// Close ends the connection, and the lock with it: the pool would keep both.
func (o *Owner) Close() error {
	if o.conn == nil {
		return nil
	}
	err := o.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = o.conn.Close()
	o.conn = nil
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return nil
	}
	return err
}

// Durability is what PostgreSQL says of its settings on a connection like the
// writer's.
type Durability struct {
	Fsync             string
	FullPageWrites    string
	SynchronousCommit string
}

// Durability reads the settings that decide whether a commit survives.
func (s *Store) Durability(ctx context.Context) (Durability, error) {
	var d Durability
	const show = `SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')`
	err := s.db.QueryRowContext(ctx, show).Scan(&d.Fsync, &d.FullPageWrites, &d.SynchronousCommit)
	if err != nil {
		return d, away("read durability settings", err)
	}
	if d.Fsync != "on" {
		return d, fmt.Errorf("PostgreSQL runs with fsync=%s: an acknowledged message could be lost; set fsync=on", d.Fsync)
	}
	return d, nil
}
