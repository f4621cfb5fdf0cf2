package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"github.com/jmoiron/sqlx"
)

// pqStatements and pqSession are, together, all that a connection of lib/pq can do.
type pqStatements interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.QueryerContext
}

type pqSession interface {
	driver.ConnBeginTx
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// reader is a connection that has statements of its own, for one row at most, which
// go past database/sql: that and lib/pq start a goroutine each for every statement,
// to end it when its context does.
type reader struct {
	pqStatements
	pqSession
	dialer *dialer

	// One user at a time has a connection.
	prepared map[string]driver.StmtQueryContext // by their texts
	backend  int64                              // the process of PostgreSQL
}

// statement prepares a statement, if it is not yet.
func (r *reader) statement(ctx context.Context, text string) (driver.StmtQueryContext, error) {
	if s := r.prepared[text]; s != nil {
		return s, nil
	}
	if r.prepared == nil {
		if err := r.identify(ctx); err != nil {
			return nil, err
		}
		r.prepared = make(map[string]driver.StmtQueryContext)
	}
	s, err := r.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	prepared, ok := s.(driver.StmtQueryContext)
	if !ok {
		return nil, fmt.Errorf("%T does not query", s)
	}
	r.prepared[text] = prepared
	return prepared, nil
}

// identify asks which process of PostgreSQL this is.
func (r *reader) identify(ctx context.Context) error {
	rows, err := r.QueryContext(ctx, `SELECT pg_backend_pid()::bigint`, nil)
	if err != nil {
		return err
	}
	value := make([]driver.Value, 1)
	if err := errors.Join(rows.Next(value), rows.Close()); err != nil {
		return err
	}
	backend, ok := value[0].(int64)
	if !ok {
		return fmt.Errorf("%T is no process", value[0])
	}
	r.backend = backend
	return nil
}

// firstRow runs a statement and gives its row to take, for as long as that runs.
func firstRow(s driver.StmtQueryContext, args []driver.NamedValue, row []driver.Value, take func([]driver.Value) error) error {
	rows, err := s.QueryContext(context.Background(), args)
	if err != nil {
		return err
	}
	err = rows.Next(row)
	if err == nil {
		err = take(row)
	}
	for err == nil {
		err = rows.Next(row)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, rows.Close())
}

// rowReader reads single rows over the readers of a pool.
type rowReader struct {
	pool *sqlx.DB
	// control is to end what runs in the pool: apart, since that may wait for the same.
	control *sqlx.DB
	size    int // of the pool
}

// one runs a statement that returns one row, or none. It ends with its context, as
// query does. take must not keep what it is given; it may be called again, when a
// connection is lost.
func (p *rowReader) one(ctx context.Context, text string, args []driver.NamedValue, columns int, take func([]driver.Value) error) error {
	// After a restart of the database each connection of the pool is found to have
	// gone.
	for left := p.size; ; left-- {
		err := p.once(ctx, text, args, columns, take)
		if left <= 0 || !errors.Is(err, driver.ErrBadConn) {
			return err
		}
	}
}

func (p *rowReader) once(ctx context.Context, text string, args []driver.NamedValue, columns int, take func([]driver.Value) error) error {
	conn, err := p.pool.DB.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var outcome error
	err = conn.Raw(func(c any) error {
		r, ok := c.(*reader)
		if !ok {
			return fmt.Errorf("%T is no reader", c)
		}
		var s driver.StmtQueryContext
		if s, outcome = r.statement(ctx, text); outcome != nil {
			return lost(outcome)
		}
		ended := make(chan struct{})
		stop := context.AfterFunc(ctx, func() { defer close(ended); p.interrupt(r) })
		outcome = firstRow(s, args, make([]driver.Value, columns), take)
		if stop() {
			return lost(outcome)
		}
		// What was asked to end may end what comes next on the same connection.
		<-ended
		if outcome != nil {
			outcome = ctx.Err()
		}
		return driver.ErrBadConn
	})
	if errors.Is(err, driver.ErrBadConn) {
		return outcome
	}
	return errors.Join(err, outcome)
}

// lost is driver.ErrBadConn if a connection is of no more use after an error, so
// that the pool lets it go.
func lost(err error) error {
	if errors.Is(err, driver.ErrBadConn) {
		return driver.ErrBadConn
	}
	return nil
}

// interrupt ends the statement that a reader runs. If the database does not do
// that in a moment, nobody waits for it.
func (p *rowReader) interrupt(r *reader) {
	r.dialer.hurry()
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	_, _ = p.control.ExecContext(ctx, `SELECT pg_cancel_backend($1)`, r.backend)
}
