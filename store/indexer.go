package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lib/pq"
	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of one round of the indexer.
const (
	indexMessages = 2000
	indexBytes    = 512 << 10 // of bodies: they come as hexadecimal text
	indexQueue    = 256       // rows of the queue
	// tidyRows is after how many rows the index is put in order though it goes
	// on: until then a search looks at what came last row by row.
	tidyRows = 1000
)

// Indexer fills the search index behind the log. What it has done and how far it
// is are committed together: it may be killed at any time. Of several on one
// database one works at a time. Its methods but Round may be called from any
// goroutine.
type Indexer struct {
	store   *Store
	untidy  int  // rows since the index was put in order
	mayTidy bool // PostgreSQL lets us
	floor   queueFloor
	spare   indexRows // memory of the last round

	covered atomic.Int64 // everything that was committed before is indexed; microseconds
	worked  atomic.Int64 // when it last put something in; microseconds
	filling atomic.Bool
	rows    prometheus.Counter
}

// NewIndexer makes the indexer of a server. Nothing is indexed until Round is
// called, again and again.
func (s *Store) NewIndexer() *Indexer {
	x := &Indexer{store: s, mayTidy: true, rows: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "postbox_search_indexed_total", Help: "Messages that were put into the search index, again after an edit.",
	})}
	x.covered.Store(time.Now().UnixMicro())
	s.recent.asked.Store(true)
	return x
}

// Lag is for how long messages have been waiting for the indexer, at most.
func (x *Indexer) Lag(now time.Time) time.Duration {
	return max(0, now.Sub(time.UnixMicro(x.covered.Load())))
}

// busyFor is for how long after it has worked an indexer counts as at work.
const busyFor = time.Second

// Behind is Lag while this indexer is at work; zero if it is not, since it has nothing
// to do, fails, or another server's does it.
func (x *Indexer) Behind(now time.Time) time.Duration {
	if now.Sub(time.UnixMicro(x.worked.Load())) > busyFor {
		return 0
	}
	return x.Lag(now)
}

// Full is which part of the memory for what waits for this indexer is taken; zero if it
// is not at work. What there is no room for costs more: it is read back.
func (x *Indexer) Full(now time.Time) float64 {
	if x.Behind(now) == 0 {
		return 0
	}
	return x.store.recent.full()
}

// Metrics are what the indexer tells about itself. They may be collected at any
// time.
func (x *Indexer) Metrics() []prometheus.Collector {
	return []prometheus.Collector{
		x.rows,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "postbox_search_lag_seconds", Help: "Age of the oldest change that may not be in the search index yet; one of a transaction of more than a second may be older by up to a minute.",
		}, func() float64 { return x.Lag(time.Now()).Seconds() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "postbox_search_filling", Help: "1 while messages from before the search index are put into it; else 0.",
		}, func() float64 {
			if x.filling.Load() {
				return 1
			}
			return 0
		}),
	}
}

// indexState is the row of search_state.
type indexState struct {
	next, fillNext     int64
	newest, fillNewest sql.NullTime
	after, upTo        sql.NullString
	covered, began     time.Time // began is when the row was read; both by the clock of PostgreSQL
}

// Round puts the next messages into the index: those that wait, or if there are
// none a part of those that were there before the index. It reports whether there
// is more to do.
func (x *Indexer) Round(ctx context.Context) (more bool, err error) {
	from := x.floor.from(time.Now())
	more, err = x.round(ctx, from, false)
	var pe *pq.Error
	if errors.As(err, &pe) && pe.Code == "23505" { // also one from before the index was queued
		return x.round(ctx, from, true)
	}
	return more, err
}

// round is Round, for what is behind a row of the queue; again, if some of what is
// put in may be there.
func (x *Indexer) round(ctx context.Context, from int64, again bool) (more bool, err error) {
	began := time.Now()
	x.spare.reset()
	r := &indexRound{recent: &x.store.recent, now: began, from: from, again: again, indexRows: x.spare}
	defer func() { x.spare = r.indexRows }()
	busy, err := r.transact(ctx, x.store)
	if err != nil {
		return false, away("index messages", err)
	}
	if !busy || len(r.queue) == 0 { // another's work, or none is left
		x.store.recent.clear(busy)
	}
	if busy {
		x.rows.Add(float64(len(r.rows)))
		x.untidy += len(r.rows)
		x.filling.Store(r.state.after.Valid)
		if r.waiting.IsZero() {
			r.waiting = began
		}
		x.covered.Store(r.waiting.UnixMicro())
		if len(r.queue) > 0 {
			x.worked.Store(time.Now().UnixMicro())
		}
		x.floor.done(from, r.done, r.looked, began)
	}
	if x.mayTidy && x.untidy > 0 && (!r.more && x.untidy >= tidyRows || !r.worked) {
		return r.more, x.tidy(ctx)
	}
	return r.more, nil
}

// tidy has PostgreSQL put into the index what was only noted beside it.
func (x *Indexer) tidy(ctx context.Context) error {
	_, err := x.store.db.ExecContext(ctx, `SELECT gin_clean_pending_list('postbox.search_terms')`)
	var pe *pq.Error
	if errors.As(err, &pe) && pe.Code == "42501" {
		x.mayTidy, err = false, nil // not our index: VACUUM does it
	}
	if err != nil {
		return away("put the search index in order", err)
	}
	x.untidy = 0
	return nil
}

// indexRound is one transaction of the indexer.
type indexRound struct {
	conn   *sql.Conn
	tx     *sql.Tx // on it
	recent *recent
	now    time.Time
	from   int64 // the row of the queue after which to look
	state  indexState

	queue  []queued
	asked  []indexStretch // of the queue
	done   int64          // the last row of it that was done; zero: none
	looked time.Duration  // how long it took to read it

	indexRows
	again        bool // some of the rows may be there
	worked, more bool
	waiting      time.Time // since when the oldest waits that is left; zero: nothing does
}

// transact does the round on a connection of its own; false: somebody else is at it.
func (r *indexRound) transact(ctx context.Context, s *Store) (bool, error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }() // which waits for the end of the transaction
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }()
	r.conn, r.tx = conn, tx
	busy, err := r.run(ctx)
	if err != nil || !busy {
		return false, err
	}
	return true, tx.Commit()
}

// run does the round; false: somebody else is at it.
func (r *indexRound) run(ctx context.Context) (bool, error) {
	// What is lost with a crash is indexed again, so its commit waits for no
	// disk. Others must not be held up by this transaction: it gives way before
	// PostgreSQL would call a ring of waiting transactions a deadlock.
	const take = `
		SELECT s.next, nullif(s.newest, '-infinity'), s.fill_next, nullif(s.fill_newest, '-infinity'), s.fill_after, s.fill_up_to, s.covered, clock_timestamp()
		  FROM postbox.search_state s,
		       set_config('synchronous_commit', 'off', true) AS a, set_config('lock_timeout', '500', true) AS b
		   FOR UPDATE OF s SKIP LOCKED`
	s := &r.state
	err := r.tx.QueryRowContext(ctx, take).Scan(&s.next, &s.newest, &s.fillNext, &s.fillNewest, &s.after, &s.upTo, &s.covered, &s.began)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take the state: %w", err)
	}
	if _, err := r.tx.ExecContext(ctx, `DELETE FROM postbox.search WHERE expires_at <= $1`, r.now.UTC()); err != nil {
		return false, fmt.Errorf("remove what has expired: %w", err)
	}
	began := time.Now()
	if err := r.readQueue(ctx); err != nil {
		return false, err
	}
	r.looked = time.Since(began)
	switch {
	case len(r.queue) > 0:
		r.worked = true
		return true, r.live(ctx)
	case s.after.Valid:
		r.worked, r.more = true, true
		return true, r.fill(ctx)
	case s.settled():
		return true, r.save(ctx)
	}
	return true, nil
}

// settled says, once some time after the last messages, that a search need not look
// for them outside the index any more.
func (s *indexState) settled() bool {
	newest := s.newest.Time
	if s.fillNewest.Time.After(newest) {
		newest = s.fillNewest.Time
	}
	after := newest.Add(2 * coveredMargin)
	return s.covered.Before(after) && !s.began.Before(after)
}

// fill indexes some of the messages that were there before the index.
func (r *indexRound) fill(ctx context.Context) error {
	last, err := r.readBefore(ctx)
	if err != nil {
		return err
	}
	s := &r.state
	if len(r.rows) > 0 {
		if err := r.write(ctx, &s.fillNext, &s.fillNewest); err != nil {
			return err
		}
	}
	if s.after = last; !last.Valid {
		r.more = false
	}
	return r.save(ctx)
}

// save writes the state, by which the next round goes on.
func (r *indexRound) save(ctx context.Context) error {
	const save = `
		UPDATE postbox.search_state
		   SET next = $1, newest = coalesce($2::timestamptz, '-infinity'), fill_next = $3, fill_newest = coalesce($4::timestamptz, '-infinity'), fill_after = $5, covered = $6`
	s := &r.state
	covered := r.waiting
	if covered.IsZero() {
		covered = s.began
	}
	if _, err := r.tx.ExecContext(ctx, save, s.next, s.newest, s.fillNext, s.fillNewest, s.after, covered.UTC()); err != nil {
		return fmt.Errorf("save the state: %w", err)
	}
	return nil
}
