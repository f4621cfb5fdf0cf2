package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// somethingDeleted is the SQLSTATE of postbox.append for a batch that may have taken
// numbers that there were.
const somethingDeleted = "PB003"

// isBehind reports whether a batch was refused because it took numbers that there are
// or were.
func isBehind(err error) bool {
	var pe *pq.Error
	return errors.As(err, &pe) && (pe.Code == somethingDeleted ||
		pe.Code == "23505" && (pe.Constraint == "inbox_pkey" || pe.Constraint == "messages_pkey"))
}

// aloneLock is the advisory lock that postbox.append shares. Who has it alone meets
// nobody who appends.
const aloneLock = 5794237148022599681

// alone takes aloneLock before what comes after it in FROM and needs alone.zero.
var alone = fmt.Sprintf(`(SELECT length(pg_advisory_xact_lock(%d)::text) AS zero OFFSET 0) alone, LATERAL `, aloneLock)

// keepAppendsAway does the same for the rest of a transaction, at its beginning.
func keepAppendsAway(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(aloneLock))
	return err
}

// apart calls f while no batch of this server has the logs, and once more, with all
// appends kept away, when it has met one all the same.
func (l *Lane) apart(ctx context.Context, logs []int64, f func(alone bool) error) (err error) {
	_, held := l.heads.hold(ctx, logs)
	if err = f(false); isBehind(err) {
		l.metrics.behind.Inc()
		err = f(true)
	}
	switch {
	case held && err != nil:
		l.heads.forget(logs)
	case held:
		l.heads.release(logs)
	}
	return err
}
