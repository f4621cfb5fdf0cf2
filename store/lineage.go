package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/jmoiron/sqlx"

	"postbox"
)

// errReplaced says that behind the URL there is another database than before.
var errReplaced = errors.New("the database is not the one that this server has worked on: it was replaced, put back to an older state, or has failed over")

// lineage is what a Store expects of every database that it connects to.
type lineage struct {
	checking chan struct{} // holds one value during a check

	mu sync.Mutex // guards the fields below
	// epoch is the one that this server works in; empty: any.
	epoch postbox.Epoch
	// witness is a message that was committed; zero: none yet.
	witness  postbox.MessageID
	replaced func()
}

// expect sets the epoch and a message that the database has, if there is one.
func (l *lineage) expect(e postbox.Epoch, witness string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = e
	if witness == "" {
		return nil
	}
	var err error
	l.witness, err = postbox.ParseMessageID(witness)
	return err
}

// committed notes a message that the database must have from now on.
func (l *lineage) committed(id postbox.MessageID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.witness = id
}

// check looks, on a connection that is not in use yet, whether it leads to the
// expected database.
func (l *lineage) check(ctx context.Context, conn driver.Conn) error {
	select {
	case l.checking <- struct{}{}:
		defer func() { <-l.checking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	l.mu.Lock()
	epoch, witness, replaced := l.epoch, l.witness, l.replaced
	l.mu.Unlock()
	if epoch == "" {
		return nil
	}
	same, err := compare(ctx, conn, epoch, witness)
	if err != nil {
		// Whatever it is, this database cannot be worked with now.
		return &unavailable{"look at the database's lineage", err}
	}
	if same {
		return nil
	}
	return l.notThis(replaced)
}

// notThis tells that the database is another one.
func (l *lineage) notThis(replaced func()) error {
	if replaced != nil {
		replaced()
	}
	return &unavailable{"connect", errReplaced}
}

// look is check for a connection of the pool that has been in use: its
// database may have been restored under it.
func (l *lineage) look(ctx context.Context, db *sqlx.DB) error {
	l.mu.Lock()
	epoch, replaced := l.epoch, l.replaced
	l.mu.Unlock()
	if epoch == "" {
		return nil
	}
	var same sql.NullBool
	if err := db.GetContext(ctx, &same, `SELECT (`+presentEpoch+`) = $1`, epoch); err != nil {
		return &unavailable{"look at the database's lineage", err}
	}
	if same.Bool {
		return nil
	}
	return l.notThis(replaced)
}

// compare reports whether a database is in an epoch and has a message. If it is
// the message alone that is missing, the database was put back to an older
// state of the same epoch: its new one begins here.
func compare(ctx context.Context, conn driver.Conn, epoch postbox.Epoch, witness postbox.MessageID) (bool, error) {
	same, err := holds(ctx, conn, fmt.Sprintf(`SELECT (%s) = '%s'`, presentEpoch, epoch))
	if err != nil || !same || witness == (postbox.MessageID{}) {
		return same, err
	}
	has, err := holds(ctx, conn, fmt.Sprintf(`SELECT EXISTS (SELECT FROM postbox.messages WHERE id = '%s')`, witness))
	if err != nil || has {
		return has, err
	}
	x, ok := conn.(driver.ExecerContext)
	if !ok {
		return false, fmt.Errorf("%T does not execute", conn)
	}
	_, err = x.ExecContext(ctx, beginEpoch, []driver.NamedValue{{Ordinal: 1, Value: string(newEpoch())}})
	return false, err
}

// holds runs a query for one boolean; null and no row are false.
func holds(ctx context.Context, conn driver.Conn, query string) (bool, error) {
	q, ok := conn.(driver.QueryerContext)
	if !ok {
		return false, fmt.Errorf("%T does not query", conn)
	}
	rows, err := q.QueryContext(ctx, query, nil)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	value := make([]driver.Value, 1)
	if err := rows.Next(value); err != nil {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return false, err
	}
	yes, _ := value[0].(bool)
	return yes, nil
}

// checked is a connector all of whose connections have the expected lineage.
type checked struct {
	driver.Connector
	lineage *lineage
}

// Connect implements driver.Connector.
func (c checked) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.lineage.check(ctx, conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}
