//go:build linux || darwin

package embedpg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/lib/pq"
	"golang.org/x/sys/unix"
)

// Attach returns the connection URL of the server that another process has
// started on dir, after connecting to it once. Errors: [ErrNotRunning],
// [ErrStarting], and [ErrUnreachable] if the server runs as another account,
// which only that account and root may connect to.
func Attach(dir string) (string, error) {
	notRunning := fmt.Errorf("%w in %s: start it with \"postbox serve\", or set database.url", ErrNotRunning, dir)
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("data directory %s: %w", dir, err)
	}
	rec, err := readRecord(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return "", notRunning
	}
	denied := fmt.Errorf("%w: the server of %s belongs to somebody else: run this as root or as the account that runs it", ErrUnreachable, dir)
	if errors.Is(err, fs.ErrPermission) {
		return "", denied
	}
	if err != nil {
		return "", fmt.Errorf("data directory %s: %w", dir, err)
	}
	owner, _, exists, err := ownerOf(filepath.Join(abs, "pgdata"))
	if err != nil || !exists {
		return "", notRunning
	}
	if err := checkPrivate(rec.SocketDir, owner); errors.Is(err, fs.ErrNotExist) {
		return "", notRunning
	} else if err != nil {
		return "", err
	}
	url := socketURL(rec.SocketDir, database)
	switch err := ping(url); {
	case err == nil:
		return url, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED):
		return "", notRunning
	case errors.Is(err, fs.ErrPermission):
		return "", denied
	case stillStarting(err):
		return "", fmt.Errorf("%w in %s: try again in a moment", ErrStarting, dir)
	default:
		return "", fmt.Errorf("connect to the embedded postgresql in %s: %w", dir, err)
	}
}

func ping(url string) error {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	defer db.Close()
	return pingOnce(context.Background(), db)
}

// stillStarting: recovery, shutdown, or the database is yet to be made.
func stillStarting(err error) bool {
	var answer *pq.Error
	return errors.As(err, &answer) && (answer.Code.Class() == "57" || answer.Code == "3D000")
}
