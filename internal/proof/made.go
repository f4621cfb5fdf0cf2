package proof

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"postbox/internal/embedpg"
	"postbox/schema"
)

// made is a cluster with the present schema and nothing in it, which servers
// begin with a copy of: making one takes more of the processor than most tests.
// Main removes it.
var made struct {
	sync.Mutex
	root string
}

// copyCluster puts a copy of the made cluster where a server will look for its
// own.
func copyCluster(t testing.TB, dir string) {
	t.Helper()
	made.Lock()
	defer made.Unlock()
	if made.root == "" {
		root, err := makeCluster(t.Context())
		if err != nil {
			t.Fatalf("make a cluster to be copied: %v", err)
		}
		made.root = root
	}
	if out, err := exec.Command("cp", "-a", filepath.Join(made.root, "data"), dir).CombinedOutput(); err != nil {
		t.Fatalf("copy the cluster: %v: %s", err, out)
	}
}

func makeCluster(ctx context.Context) (root string, err error) {
	// Not t.TempDir: that one is closed to the account that PostgreSQL runs as.
	if root, err = os.MkdirTemp("", "postbox-proof-made-"); err != nil {
		return "", err
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return root, err
	}
	server, err := embedpg.Start(ctx, embedpg.Options{Dir: filepath.Join(root, "data"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return root, err
	}
	db, err := sql.Open("postgres", server.URL())
	if err != nil {
		return root, errors.Join(err, server.Stop(ctx))
	}
	err = errors.Join(schema.Migrate(ctx, db), db.Close(), server.Stop(ctx))
	// The rest is the way to the socket of this server, and its log.
	beside, _ := filepath.Glob(filepath.Join(root, "data", "*"))
	for _, path := range beside {
		if filepath.Base(path) != "pgdata" {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return root, err
}
