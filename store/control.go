package store

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"postbox"
)

// ControlKind says what happened to a user, in the table that other processes
// and servers leave word in.
type ControlKind string

// The kinds of control event.
const (
	ControlDisabled ControlKind = "disabled"
	ControlEnabled  ControlKind = "enabled"
	// ControlPassword ends all connections of a user but one, which is the subject.
	ControlPassword ControlKind = "password"
	ControlTokens   ControlKind = "tokens" // all of them have ended
	ControlAdmin    ControlKind = "admin"  // the user is an administrator now, or no more
	ControlErased   ControlKind = "erased" // the account is gone, and has another name
	ControlEpoch    ControlKind = "epoch"  // a new one has begun; of no user
	// ControlImported says that there are entries in inboxes which have come by no
	// server; of no user. The subject is a room, if it is about its members alone.
	ControlImported ControlKind = "imported"
	// ControlLogin is of a login that has ended, whose number is the subject.
	ControlLogin ControlKind = "login"
	// ControlRevoked is of a device, which is the subject.
	ControlRevoked ControlKind = "revoked"
	// ControlBlocked and ControlUnblocked are of who blocks; the subject is the
	// name of who is blocked.
	ControlBlocked   ControlKind = "blocked"
	ControlUnblocked ControlKind = "unblocked"
	ControlProfile   ControlKind = "profile" // receipts, accept or the display name
	// ControlRoom is of a change of a room, which is the subject, and of the user
	// who is in it now, zero if there is none; ControlParted of the one who is in
	// it no longer, zero for all of them.
	ControlRoom   ControlKind = "room"
	ControlParted ControlKind = "parted"
)

// ControlEvent is one line of that table.
type ControlEvent struct {
	ID   int64          `db:"id"`
	Kind ControlKind    `db:"kind"`
	User postbox.UserID `db:"user_id"`
	// Subject is what of the user it is about, by kind; else empty.
	Subject string `db:"subject"`
}

const controlChannel = "postbox_control"

// controlPoll is how often the table is read without a notification: one may
// be lost with its connection.
const controlPoll = 5 * time.Second

// controlOverlap is how many ids are read again: two events may become visible
// in another order than that of their ids.
const controlOverlap = 100

// word is what is left for the servers.
type word struct {
	kind    ControlKind
	user    postbox.UserID
	subject string
}

// withWord changes something and leaves word of it, in one transaction. change
// reports whether it changed anything, and may complete w.
func (s *Store) withWord(ctx context.Context, doing string, w *word, change func(*sqlx.Tx) (bool, error)) error {
	tx, err := s.db.BeginTxx(ctx, nil)
	if err != nil {
		return away(doing, err)
	}
	defer func() { _ = tx.Rollback() }()
	changed, err := change(tx)
	if err != nil || !changed {
		return awayUnlessTold(doing, err)
	}
	if err := tell(ctx, tx, *w); err != nil {
		return err
	}
	return away(doing, tx.Commit())
}

func tell(ctx context.Context, tx *sqlx.Tx, w word) error {
	const leave = `INSERT INTO postbox.control (kind, user_id, subject) VALUES ($1, $2, $3)`
	if _, err := tx.ExecContext(ctx, leave, w.kind, w.user, w.subject); err != nil {
		return away("leave word for the servers", err)
	}
	_, err := tx.ExecContext(ctx, `SELECT pg_notify($1, '')`, controlChannel)
	return away("notify the servers", err)
}

// ControlWatch hears of the control events that were not there yet when it was
// made. It is used by one goroutine at a time.
type ControlWatch struct {
	store   *Store
	last    int64          // the highest id so far
	handled map[int64]bool // of the last ids
}

// WatchControl begins to watch. Whoever reads accounts afterwards misses nothing
// that happens to them: Run tells.
func (s *Store) WatchControl(ctx context.Context) (*ControlWatch, error) {
	w := &ControlWatch{store: s, handled: make(map[int64]bool)}
	events, err := s.controlAfter(ctx, 0)
	w.handle(events, func(ControlEvent) {})
	return w, err
}

// handle passes on what it has not seen before.
func (w *ControlWatch) handle(events []ControlEvent, f func(ControlEvent)) {
	for _, e := range events {
		if !w.handled[e.ID] {
			f(e)
		}
		w.handled[e.ID] = true
		w.last = max(w.last, e.ID)
	}
	maps.DeleteFunc(w.handled, func(id int64, _ bool) bool { return id <= w.last-controlOverlap })
}

// Run calls handle for every event, in the order in which they become visible,
// until ctx ends. It survives the loss of the database.
func (w *ControlWatch) Run(ctx context.Context, handle func(ControlEvent)) error {
	s := w.store
	dsn, err := withSettings(s.options.URL, connectionSettings)
	if err != nil {
		return err
	}
	listener := pq.NewDialListener(newDialer(patienceOf(dsn)), dsn, 100*time.Millisecond, time.Second, nil)
	defer listener.Close()
	// Listen waits for the database; the polls go on meanwhile.
	listening := make(chan error, 1)
	go func() { listening <- listener.Listen(controlChannel) }()
	tick := time.NewTicker(controlPoll)
	defer tick.Stop()
	for {
		if events, err := s.controlAfter(ctx, w.last-controlOverlap); err == nil {
			w.handle(events, handle)
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-listening:
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("listen for control events: %w", err)
			}
		case <-listener.Notify:
		case <-tick.C:
			// A listener that hears nothing cannot tell a quiet day from a dead
			// connection: it gives up one that does not even hear this. That it
			// cannot be said is noticed by the next poll.
			_, _ = s.db.ExecContext(ctx, `SELECT pg_notify($1, '')`, controlChannel)
		}
	}
}

func (s *Store) controlAfter(ctx context.Context, after int64) ([]ControlEvent, error) {
	var events []ControlEvent
	const read = `
		SELECT id, kind, user_id, subject FROM postbox.control
		 WHERE id > greatest($1, (SELECT max(id) FROM postbox.control) - 10000) ORDER BY id`
	err := s.db.SelectContext(ctx, &events, read, after)
	return events, away("read control events", err)
}
