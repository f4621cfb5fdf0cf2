package pgtest

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postbox/internal/embedpg"
)

// NewCluster returns a server for this test alone, to be killed, stopped and
// restarted, with fsync on. Its database is migrated and empty. It is stopped
// and deleted at the end of the test. It is always one of our own, also when
// POSTBOX_TEST_DATABASE_URL is set, and takes about two seconds.
func NewCluster(t testing.TB) *embedpg.Server {
	t.Helper()
	dir, err := makeDir()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := removeDir(dir); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	server, err := embedpg.Start(t.Context(), embedpg.Options{
		Dir:    dir,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	if err := migrate(t.Context(), server.URL()); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return server
}

const (
	dirPrefix = "postbox-pgtest-"
	// abandoned is the age at which a directory of a killed test binary may go.
	abandoned = 24 * time.Hour
)

// makeDir makes the directory of a server, which the account that PostgreSQL
// runs as can enter; those of the testing package only their owner can.
func makeDir() (string, error) {
	parent, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, "data"), os.Chmod(parent, 0o755)
}

func removeDir(dir string) error { return os.RemoveAll(filepath.Dir(dir)) }

// sweep removes what test binaries that were killed long ago left in base. What
// cannot be removed is somebody else's.
func sweep(base string) {
	dirs, _ := filepath.Glob(filepath.Join(base, dirPrefix+"*")) // the pattern is well-formed unless base has brackets
	for _, dir := range dirs {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() && time.Since(info.ModTime()) > abandoned {
			_ = os.RemoveAll(dir)
		}
	}
}
