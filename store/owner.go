package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"
)

// ownerLock is the advisory lock that the one server of a database holds.
const ownerLock = 0x706f7374626f78 // "postbox"

// ErrOwned says that another server uses this database.
var ErrOwned = errors.New("another postbox server uses this database: stop it first, or give this one its own database")

// Own takes the database for this server, so that a second one is refused. The
// lock is held by a connection of its own; closing it gives the database free.
// If that connection is lost, the fences of the lanes still keep two servers
// from writing at once.
func (s *Store) Own(ctx context.Context) (io.Closer, error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, away("take the database", err)
	}
	// PostgreSQL notices a moment later that an owner has gone.
	for tries := 20; ; tries-- {
		var got bool
		if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, int64(ownerLock)).Scan(&got); err != nil {
			_ = conn.Close()
			return nil, away("take the database", err)
		}
		if got {
			return owner{conn}, nil
		}
		if tries == 0 {
			_ = conn.Close()
			return nil, ErrOwned
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// owner is the connection that holds the lock.
type owner struct{ conn *sql.Conn }

// Close ends the connection, and the lock with it: the pool would keep both.
func (o owner) Close() error {
	err := o.conn.Raw(func(any) error { return driver.ErrBadConn })
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
