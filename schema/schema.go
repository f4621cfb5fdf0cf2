// Package schema is the database schema of Postbox: numbered, forward-only
// migrations, embedded in the program and run under an advisory lock.
//
// Everything lives in one PostgreSQL schema, "postbox", so that it can share
// the application's database.
package schema

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versionTable is where goose keeps which migrations have run.
const versionTable = "postbox.schema_version"

// NewerError says that the database was migrated by a newer Postbox.
type NewerError struct {
	Database, Known int64 // versions
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("the database has schema version %d, this program knows up to %d: start a newer postbox", e.Database, e.Known)
}

// Migrate brings the database to the newest schema this program knows. Two
// processes may call it at once: one waits for the other. A database of a
// newer schema is left alone and reported as *NewerError. Each migration is
// one transaction.
func Migrate(ctx context.Context, db *sql.DB) error {
	provider, err := newProvider(ctx, db)
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate schema: %w", err)
	}
	return nil
}

// Versions tells the schema version of the database and the newest that this
// program knows.
func Versions(ctx context.Context, db *sql.DB) (database, known int64, err error) {
	provider, err := newProvider(ctx, db)
	if err != nil && provider == nil {
		return 0, 0, err
	}
	return provider.GetVersions(ctx)
}

func newProvider(ctx context.Context, db *sql.DB) (*goose.Provider, error) {
	// IF NOT EXISTS still races with itself in another process: the second
	// one's unique violation means that the schema is there.
	if _, err := db.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS postbox`); err != nil {
		var there bool
		const look = `SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'postbox')`
		if again := db.QueryRowContext(ctx, look).Scan(&there); again != nil || !there {
			return nil, fmt.Errorf("create schema postbox: %w", err)
		}
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open embedded migrations: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
	if err != nil {
		return nil, fmt.Errorf("make migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName(versionTable), goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	database, known, err := provider.GetVersions(ctx)
	if err != nil {
		return nil, fmt.Errorf("read schema version: %w", err)
	}
	if database > known {
		return provider, &NewerError{Database: database, Known: known}
	}
	return provider, nil
}
