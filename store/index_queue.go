package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"postbox"
)

// queued is a row of the queue.
type queued struct {
	id int64
	at time.Time
}

// indexStretch is so many messages of a conversation after a seq, which a row of the
// queue asks for.
type indexStretch struct {
	row          int  // of the round's queue
	changed      bool // it is not only what was stored
	conversation postbox.ConversationID
	after        postbox.Seq
	count        int
}

// readQueue reads what waits: of each conversation in the order of its messages.
func (r *indexRound) readQueue(ctx context.Context) error {
	const look = `
		SELECT id, queued_at, array_send(conversations), array_send(afters), array_send(counts), changed
		  FROM postbox.search_queue WHERE id > $2 ORDER BY id LIMIT $1`
	rows, err := r.tx.QueryContext(ctx, look, indexQueue, r.from)
	if err != nil {
		return fmt.Errorf("read the queue: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var q queued
		var conversations, afters int8Array
		var counts int4Array
		var changed bool
		if err := rows.Scan(&q.id, &q.at, &conversations, &afters, &counts, &changed); err != nil {
			return fmt.Errorf("read the queue: %w", err)
		}
		for i, c := range conversations {
			r.asked = append(r.asked, indexStretch{len(r.queue), changed, postbox.ConversationID(c), postbox.Seq(afters[i]), int(counts[i])})
		}
		r.queue = append(r.queue, q)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the queue: %w", err)
	}
	return nil
}

// live indexes what waits, as much as a round takes.
func (r *indexRound) live(ctx context.Context) error {
	now := take(r.asked, indexMessages)
	cut, err := r.collect(ctx, now)
	if err != nil {
		return err
	}
	r.again = r.again || slices.ContainsFunc(now, func(s indexStretch) bool { return s.changed })
	if err := r.write(ctx, &r.state.next, &r.state.newest); err != nil {
		return err
	}
	if cut != nil { // there was no room for their bodies
		now = now[:cut.at+1]
		last := &now[cut.at]
		last.count = int(cut.seq - 1 - last.after)
	}
	if err := r.forget(ctx, now); err != nil {
		return err
	}
	return r.shorten(ctx, now)
}

// collect adds the messages of stretches: what has just been stored from memory,
// unless the queue says that it has changed, and the rest from the database. It
// tells where it has stopped, if it has.
func (r *indexRound) collect(ctx context.Context, now []indexStretch) (*cut, error) {
	changed := make(map[postbox.ConversationID]bool)
	for _, s := range r.asked {
		changed[s.conversation] = changed[s.conversation] || s.changed
	}
	count := 0
	for _, s := range now {
		count += s.count
	}
	held := make([]indexRow, 0, count)
	ends := make([]int, len(now)) // of each stretch, in held
	var rest []indexStretch
	var places []int // of rest in now
	for i, s := range now {
		// Also what has changed is forgotten: nobody may take its first text later.
		taken, there := r.recent.take(s, held)
		if there && !changed[s.conversation] {
			held = taken
		} else {
			rest, places = append(rest, s), append(places, i)
		}
		ends[i] = len(held)
	}
	end := len(held)
	var stop *cut
	if len(rest) > 0 {
		var err error
		if stop, err = r.readStretches(ctx, rest); err != nil {
			return nil, err
		}
		if stop != nil {
			stop.at = places[stop.at]
			end = ends[stop.at]
		}
	}
	r.addAll(held[:end])
	return stop, nil
}

// take is the first n messages of stretches, as stretches.
func take(all []indexStretch, n int) []indexStretch {
	var some []indexStretch
	for _, s := range all {
		if n == 0 {
			break
		}
		s.count = min(s.count, n)
		n -= s.count
		some = append(some, s)
	}
	return some
}

// shorten takes out of the queue what was done: the first stretches, of which
// the last one may have been done in part.
func (r *indexRound) shorten(ctx context.Context, done []indexStretch) error {
	rest := r.asked[len(done)-1:]
	rest[0].after += postbox.Seq(done[len(done)-1].count)
	if rest[0].count -= done[len(done)-1].count; rest[0].count == 0 {
		rest = rest[1:]
	}
	whole := len(r.queue)
	if len(rest) > 0 {
		whole = rest[0].row
		if err := r.keep(ctx, rest); err != nil {
			return err
		}
	}
	ids := make(int8Array, whole)
	for i := range ids {
		ids[i] = r.queue[i].id
	}
	if _, err := r.tx.ExecContext(ctx, `DELETE FROM postbox.search_queue WHERE id = ANY ($1)`, ids); err != nil {
		return fmt.Errorf("shorten the queue: %w", err)
	}
	if whole > 0 {
		r.done = r.queue[whole-1].id
	}
	switch {
	case whole < len(r.queue):
		r.more, r.waiting = true, r.queue[whole].at
	case len(r.queue) == indexQueue: // there may be more rows
		r.more, r.waiting = true, r.queue[whole-1].at
	default:
		r.more = r.state.after.Valid
	}
	return r.save(ctx)
}

// keep leaves of a row of the queue what was not done.
func (r *indexRound) keep(ctx context.Context, rest []indexStretch) error {
	var conversations, afters int8Array
	var counts int4Array
	for _, s := range rest {
		if s.row == rest[0].row {
			conversations = append(conversations, int64(s.conversation))
			afters = append(afters, int64(s.after))
			counts = append(counts, int32(s.count))
		}
	}
	const keep = `UPDATE postbox.search_queue SET conversations = $2, afters = $3, counts = $4 WHERE id = $1`
	if _, err := r.tx.ExecContext(ctx, keep, r.queue[rest[0].row].id, conversations, afters, counts); err != nil {
		return fmt.Errorf("shorten the queue: %w", err)
	}
	return nil
}
