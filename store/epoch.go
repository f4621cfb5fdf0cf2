package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"strings"

	"postbox"
)

// Epoch returns the epoch in force. It begins a new one when the database is
// not the one that the last began on: restored, cloned, failed over.
func (s *Store) Epoch(ctx context.Context) (postbox.Epoch, error) {
	const look = `
		SELECT epoch FROM (SELECT * FROM postbox.epochs ORDER BY began_at DESC LIMIT 1) e
		 WHERE e.system_identifier = (SELECT system_identifier::text FROM pg_control_system())
		   AND e.timeline = ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
		   AND e.database_oid = (SELECT oid::bigint FROM pg_database WHERE datname = current_database())
		   AND e.table_oid = 'postbox.messages'::regclass::oid::bigint`
	var epoch postbox.Epoch
	err := s.db.GetContext(ctx, &epoch, look)
	if errors.Is(err, sql.ErrNoRows) {
		return s.NewEpoch(ctx)
	}
	return epoch, away("read the epoch", err)
}

// NewEpoch begins a new epoch.
func (s *Store) NewEpoch(ctx context.Context) (postbox.Epoch, error) {
	const begin = `
		INSERT INTO postbox.epochs (epoch, system_identifier, timeline, database_oid, table_oid)
		SELECT $1, c.system_identifier::text,
		       ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint,
		       (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),
		       'postbox.messages'::regclass::oid::bigint
		  FROM pg_control_system() c`
	epoch := postbox.Epoch(strings.ToLower(rand.Text()[:6]))
	_, err := s.db.ExecContext(ctx, begin, epoch)
	return epoch, away("begin an epoch", err)
}
