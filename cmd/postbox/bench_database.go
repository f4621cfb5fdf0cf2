package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"postbox"
	"postbox/auth"
	"postbox/internal/bench"
	"postbox/internal/embedpg"
	"postbox/store"
)

// prepare fills in what the broker's own flags and its database tell: address,
// users, and the probe that shows whether the database is durable. release lets
// the database go.
func (d *benchDatabase) prepare(ctx context.Context, address string, o *bench.Options) (release func(), err error) {
	release = func() {}
	databaseURL := d.DatabaseURL
	if d.EmbeddedDir != "" {
		if databaseURL, err = embedpg.Attach(d.EmbeddedDir); err != nil {
			return nil, err
		}
		if address == "" {
			if address, err = embeddedAddress(d.EmbeddedDir); err != nil {
				return nil, err
			}
		}
	}
	if address == "" {
		address = bench.DefaultOptions().Address
	}
	o.Address, o.DatabasePID = address, d.DatabasePID
	if databaseURL == "" {
		return release, nil
	}
	db, err := store.Open(store.Options{URL: databaseURL, PoolSize: 2})
	if err != nil {
		return nil, err
	}
	if o.DatabasePID == 0 {
		if o.DatabasePID, err = findPostmaster(ctx, db); err != nil {
			_ = db.Close()
			return nil, err
		}
	}
	o.Database = &durabilityProbe{db: db}
	if d.CreateUsers {
		o.CreateUsers = func(ctx context.Context, names []string, password string) error {
			return createUsers(ctx, db, names, password)
		}
	}
	return func() { _ = db.Close() }, nil
}

// embeddedAddress reads where the server of a data directory listens.
func embeddedAddress(dir string) (string, error) {
	path := filepath.Join(dir, "addresses.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("find the server of %s: %w: give --addr", dir, err)
	}
	var addresses struct {
		MQTT string `json:"mqtt"`
	}
	if err := json.Unmarshal(text, &addresses); err != nil || addresses.MQTT == "" {
		return "", fmt.Errorf("%s names no MQTT address: give --addr", path)
	}
	return addresses.MQTT, nil
}

// createUsers makes accounts that share one hash: hashing takes the time, and
// one is enough for a load test.
func createUsers(ctx context.Context, db *store.Store, names []string, password string) error {
	hash, err := auth.HashPassword(password)
	if err != nil {
		return err
	}
	users := make([]postbox.User, len(names))
	for i, name := range names {
		if users[i], err = postbox.ParseUser(name); err != nil {
			return err
		}
	}
	return db.AddUsers(ctx, users, hash)
}

// findPostmaster gives the process that the database's backends are children
// of, or 0 if it is not on this machine.
func findPostmaster(ctx context.Context, db *store.Store) (int, error) {
	var backend int
	if err := db.DB().GetContext(ctx, &backend, `SELECT pg_backend_pid()`); err != nil {
		return 0, fmt.Errorf("ask the database for its process: %w", err)
	}
	parent := statusField(backend, "PPid")
	pid, err := strconv.Atoi(parent)
	if err != nil || !strings.HasPrefix(statusField(backend, "Name"), "postgres") || !strings.HasPrefix(statusField(pid, "Name"), "postgres") {
		return 0, nil // the number means something else here, or nothing
	}
	return pid, nil
}

// statusField reads a field of /proc/PID/status; empty if there is none.
func statusField(pid int, name string) string {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if field, value, ok := strings.Cut(line, ":"); ok && field == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
