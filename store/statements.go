package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/jmoiron/sqlx"
)

// statements prepares statements of a pool once for each of its connections.
type statements struct {
	db *sqlx.DB

	mu       sync.Mutex // guards prepared
	prepared map[string]*sqlx.Stmt
}

// close ends the statements and the pool.
func (p *statements) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, s := range p.prepared {
		errs = append(errs, s.Close())
	}
	clear(p.prepared)
	return errors.Join(append(errs, p.db.Close())...)
}

// statement prepares a statement, if it is not yet: from then on each connection
// prepares it when it first needs it.
func (p *statements) statement(ctx context.Context, text string) (*sqlx.Stmt, error) {
	p.mu.Lock()
	s := p.prepared[text]
	p.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := p.db.PreparexContext(ctx, text)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if other := p.prepared[text]; other != nil {
		_ = s.Close()
		return other, nil
	}
	if p.prepared == nil {
		p.prepared = make(map[string]*sqlx.Stmt)
	}
	p.prepared[text] = s
	return s, nil
}

// query runs a prepared statement and calls scan for each row.
func (p *statements) query(ctx context.Context, text string, scan func(*sql.Rows) error, args ...any) (err error) {
	s, err := p.statement(ctx, text)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// get runs a prepared statement for one row, which is read into dest:
// sql.ErrNoRows if there is none.
func (p *statements) get(ctx context.Context, dest any, text string, args ...any) error {
	s, err := p.statement(ctx, text)
	if err != nil {
		return err
	}
	return s.GetContext(ctx, dest, args...)
}
