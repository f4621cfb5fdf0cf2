package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"strings"
	"time"

	"postbox"
)

// Of what the lineage of a database is made: none of them survives a dump that
// is restored, a clone or a failover.
const (
	systemIdentifier = `(SELECT system_identifier::text FROM pg_control_system())`
	timeline         = `('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint`
	databaseOID      = `(SELECT oid::bigint FROM pg_database WHERE datname = current_database())`
	tableOID         = `'postbox.messages'::regclass::oid::bigint`
)

// presentEpoch selects the newest epoch, if it began on this very database.
const presentEpoch = `
	SELECT e.epoch FROM (SELECT * FROM postbox.epochs ORDER BY began_at DESC LIMIT 1) e
	 WHERE e.system_identifier = ` + systemIdentifier + ` AND e.timeline = ` + timeline + `
	   AND e.database_oid = ` + databaseOID + ` AND e.table_oid = ` + tableOID

// beginEpoch makes the newest epoch, also if the clock is behind that of the
// last one's machine.
const beginEpoch = `
	INSERT INTO postbox.epochs (epoch, system_identifier, timeline, database_oid, table_oid, began_at)
	SELECT $1, ` + systemIdentifier + `, ` + timeline + `, ` + databaseOID + `, ` + tableOID + `,
	       greatest(clock_timestamp(), (SELECT max(began_at) + interval '1 microsecond' FROM postbox.epochs))`

// Epoch returns the epoch in force. It begins a new one when the database is
// not the one that the last began on: restored, cloned, failed over.
//
// From then on every new connection of this Store must lead to a database of
// the same epoch, which has all that was committed through this Store: others
// are refused, as if the database were away, and Replaced is called.
func (s *Store) Epoch(ctx context.Context) (postbox.Epoch, error) {
	var epoch postbox.Epoch
	err := s.db.GetContext(ctx, &epoch, presentEpoch)
	if errors.Is(err, sql.ErrNoRows) {
		epoch = newEpoch()
		_, err = s.db.ExecContext(ctx, beginEpoch, epoch)
	}
	if err != nil {
		return "", away("read the epoch", err)
	}
	const newest = `SELECT id FROM postbox.messages ORDER BY id DESC LIMIT 1`
	var witness string
	if err := s.db.GetContext(ctx, &witness, newest); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", away("read the newest message", err)
	}
	return epoch, s.lineage.expect(epoch, witness)
}

// NewEpoch begins a new epoch, and tells the server, which then starts again
// on it.
func (s *Store) NewEpoch(ctx context.Context) (postbox.Epoch, error) {
	epoch := newEpoch()
	tx, err := s.db.BeginTxx(ctx, nil)
	if err != nil {
		return "", away("begin an epoch", err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, beginEpoch, epoch); err != nil {
		return "", away("begin an epoch", err)
	}
	if err := tell(ctx, tx, word{kind: ControlEpoch}); err != nil {
		return "", err
	}
	return epoch, away("begin an epoch", tx.Commit())
}

// NewEpochAfterRollback begins a new epoch in place of a given one because a
// client knows of entries of that one that are not there. It reports false
// when that cannot be: PostgreSQL has not been stopped since the given one
// began, so nobody can have put an older state in its place, and the client's
// word is worth nothing.
func (s *Store) NewEpochAfterRollback(ctx context.Context, of postbox.Epoch) (bool, error) {
	const begin = beginEpoch + `
		 WHERE EXISTS (SELECT FROM postbox.epochs WHERE epoch = $2 AND began_at < pg_postmaster_start_time())
		   AND NOT EXISTS (SELECT FROM postbox.epochs WHERE began_at > pg_postmaster_start_time())`
	result, err := s.db.ExecContext(ctx, begin, newEpoch(), of)
	if err != nil {
		return false, away("begin an epoch", err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

func newEpoch() postbox.Epoch { return postbox.Epoch(strings.ToLower(rand.Text()[:6])) }

// clockSkew is how far the clocks of servers and PostgreSQL may be apart.
const clockSkew = time.Minute

// PositionSince translates a position of an earlier epoch into the numbers of
// the one in force: up to there both have the same entries. It reports false
// for an epoch that this database has never been in.
func (s *Store) PositionSince(ctx context.Context, user postbox.UserID, p postbox.Position) (postbox.InboxSeq, bool, error) {
	const end = `
		SELECT min(began_at) FROM postbox.epochs
		 WHERE began_at > (SELECT began_at FROM postbox.epochs WHERE epoch = $1)`
	var ended sql.NullTime
	if err := s.db.GetContext(ctx, &ended, end, p.Epoch); err != nil {
		return 0, false, away("read the end of an epoch", err)
	}
	if !ended.Valid {
		return 0, false, nil
	}
	head, err := s.Head(ctx, user)
	if err != nil {
		return 0, false, err
	}
	before := ended.Time.Add(-clockSkew)
	// Every entry up to low is older than the end of that epoch; none after
	// high is.
	low, high := postbox.InboxSeq(0), min(p.Seq, head)
	for try := high; low < high; try = low + (high-low+1)/2 {
		older, err := s.stampedBefore(ctx, user, try, before)
		if err != nil {
			return 0, false, err
		}
		if older {
			low = try
		} else {
			high = try - 1
		}
	}
	return low, true, nil
}

// stampedBefore says whether the entry n, or the first one after it that
// retention has left, is from before a time. Of one that was imported that is not
// known: its message is from elsewhere, and so is its time.
func (s *Store) stampedBefore(ctx context.Context, user postbox.UserID, n postbox.InboxSeq, t time.Time) (bool, error) {
	look := `
		SELECT coalesce(m.qos, 0) >= 0 AND coalesce(e.happened_at, m.sent_at, 'epoch') < $3
		  FROM (SELECT i.*, i.seq + greatest(0, $2 - i.inbox_seq) AS message FROM postbox.inbox i
		         WHERE ` + fromEntry("$1", "$2") + ` ORDER BY i.inbox_seq LIMIT 1) i
		  LEFT JOIN postbox.events e ON e.id = i.event_id
		  LEFT JOIN postbox.messages m ON m.conversation_id = i.conversation_id AND m.seq = i.message`
	var older bool
	err := s.db.GetContext(ctx, &older, look, user, n, t)
	if errors.Is(err, sql.ErrNoRows) {
		return true, nil // all of them are gone: the gap of retention says so
	}
	return older, away("read when an entry came", err)
}
