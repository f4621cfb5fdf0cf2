package store

import (
	"context"
	"time"
)

// SigningKey is a key of our own access tokens.
type SigningKey struct {
	ID        string    `db:"id"`
	Secret    []byte    `db:"secret"`
	CreatedAt time.Time `db:"created_at"`
}

// SigningKeys reads all keys, the newest first. If there is none, fresh
// becomes the first.
func (s *Store) SigningKeys(ctx context.Context, fresh SigningKey) ([]SigningKey, error) {
	const first = `INSERT INTO postbox.signing_keys (id, secret) SELECT $1, $2 WHERE NOT EXISTS (SELECT 1 FROM postbox.signing_keys)`
	if _, err := s.db.ExecContext(ctx, first, fresh.ID, fresh.Secret); err != nil {
		return nil, away("make signing key", err)
	}
	var keys []SigningKey
	err := s.db.SelectContext(ctx, &keys, `SELECT id, secret, created_at FROM postbox.signing_keys ORDER BY created_at DESC, id`)
	return keys, away("read signing keys", err)
}
