package main

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"time"

	"github.com/lib/pq"

	"postbox"
	"postbox/internal/bench"
	"postbox/store"
)

// fillBatch is how many messages one transaction of a filling holds.
const fillBatch = 20_000

// library is a database that is filled for reading: so many users, each in a
// conversation with so many others.
type library struct {
	db      *store.Store
	users   []postbox.UserID
	inboxes []int64 // last number of each user's
	shelves []libraryShelf
	total   int
	body    func(low, high string, seq int) string
	last    time.Time // when the last message of a batch was sent
}

// libraryShelf is one conversation; low and high are places in users.
type libraryShelf struct {
	id        postbox.ConversationID
	low, high int
	length    int
}

func libraryUser(i int) postbox.User { return postbox.User(fmt.Sprintf("reader%04d", i)) }

// openLibrary makes users and conversations that are not there yet, and looks
// how long those are that are. Nobody has a password.
func openLibrary(ctx context.Context, db *store.Store, users, friends int) (*library, error) {
	l := &library{db: db, users: make([]postbox.UserID, users), inboxes: make([]int64, users), body: bench.HistoryBody}
	names := make([]postbox.User, users)
	for i := range names {
		names[i] = libraryUser(i)
	}
	if err := db.AddUsers(ctx, names, ""); err != nil {
		return nil, err
	}
	const look = `SELECT u.id, h.head FROM unnest($1::text[]) WITH ORDINALITY AS n (name, i)
		JOIN postbox.users u ON u.name = n.name JOIN postbox.heads h ON h.id = u.id ORDER BY n.i`
	found, err := logHeads(ctx, db, look, pq.Array(names))
	if err != nil || len(found) != users {
		return nil, fmt.Errorf("look up users: %d of %d: %w", len(found), users, err)
	}
	for i, f := range found {
		l.users[i], l.inboxes[i] = postbox.UserID(f.ID), f.Head
	}
	var pairs []store.Pair
	for i := range users {
		for d := 1; d <= friends/2; d++ {
			j := (i + d) % users
			l.shelves = append(l.shelves, libraryShelf{low: min(i, j), high: max(i, j)})
			pairs = append(pairs, store.Pair{l.users[i], l.users[j]}, store.Pair{l.users[j], l.users[i]})
		}
	}
	made, err := db.MakeConversations(ctx, pairs)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(l.shelves))
	for i := range l.shelves {
		l.shelves[i].id = made[2*i]
		ids[i] = int64(made[2*i])
	}
	const heads = `SELECT h.id, h.head FROM unnest($1::bigint[]) WITH ORDINALITY AS n (id, i) JOIN postbox.heads h ON h.id = n.id ORDER BY n.i`
	if found, err = logHeads(ctx, db, heads, pq.Array(ids)); err != nil || len(found) != len(ids) {
		return nil, fmt.Errorf("look up conversations: %d of %d: %w", len(found), len(ids), err)
	}
	for i, f := range found {
		l.shelves[i].length = int(f.Head)
		l.total += int(f.Head)
	}
	return l, nil
}

// logHead is a log's id and its last number.
type logHead struct{ ID, Head int64 }

func logHeads(ctx context.Context, db *store.Store, look string, of any) (found []logHead, err error) {
	err = db.DB().SelectContext(ctx, &found, look, of)
	return found, err
}

// fill adds messages until there are n. Each goes to any conversation, as if they
// had come so: on disk a conversation's messages lie among all the others. Nobody
// else may write in these conversations meanwhile.
func (l *library) fill(ctx context.Context, n int, progress io.Writer) (added int, took time.Duration, err error) {
	began := time.Now()
	err = l.db.Migrating(ctx, func(ctx context.Context, db *sql.DB) error {
		for l.total < n {
			k := min(fillBatch, n-l.total)
			if err := l.batch(ctx, db, k); err != nil {
				return fmt.Errorf("fill the database: %w", err)
			}
			if l.total += k; l.total/1_000_000 != (l.total-k)/1_000_000 {
				fmt.Fprintf(progress, "%d messages after %s\n", l.total, time.Since(began).Round(time.Second))
			}
			added += k
		}
		if added > 0 {
			_, err := db.ExecContext(ctx, `VACUUM (ANALYZE) postbox.messages, postbox.inbox, postbox.conversations, postbox.users`)
			return err
		}
		return nil
	})
	return added, time.Since(began), err
}

// batch stores k messages and their entries in one transaction.
func (l *library) batch(ctx context.Context, db *sql.DB, k int) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	type entry struct {
		user         postbox.UserID
		number       int64
		conversation postbox.ConversationID
		seq          int
	}
	entries := make([]entry, 0, 2*k)
	messages, err := tx.PrepareContext(ctx, `COPY postbox.messages (conversation_id, seq, sender_id, sender_inbox_seq, peer_inbox_seq,
		sent_at, id, qos, digest, device, content_type, body) FROM STDIN`)
	if err != nil {
		return err
	}
	// A batch takes a second or two to write, and comes in a second.
	begin := time.Now().UTC().Truncate(time.Millisecond)
	if begin.Before(l.last) {
		begin = l.last
	}
	for i := range k {
		at := begin.Add(time.Duration(i) * time.Second / fillBatch).Truncate(time.Millisecond)
		l.last = at
		s := &l.shelves[mathrand.IntN(len(l.shelves))]
		from, to := s.low, s.high
		if mathrand.IntN(2) == 0 {
			from, to = to, from
		}
		s.length++
		l.inboxes[from]++
		l.inboxes[to]++
		digest := make([]byte, 16)
		binary.BigEndian.PutUint64(digest, mathrand.Uint64())
		body := l.body(string(libraryUser(s.low)), string(libraryUser(s.high)), s.length)
		_, err := messages.ExecContext(ctx, int64(s.id), s.length, int64(l.users[from]), l.inboxes[from], l.inboxes[to],
			at, postbox.NewMessageID(at).String(), 1, digest, "phone", nil, []byte(body))
		if err != nil {
			return err
		}
		entries = append(entries, entry{l.users[from], l.inboxes[from], s.id, s.length}, entry{l.users[to], l.inboxes[to], s.id, s.length})
	}
	if err := finish(ctx, messages); err != nil {
		return err
	}
	inbox, err := tx.PrepareContext(ctx, `COPY postbox.inbox (user_id, inbox_seq, conversation_id, seq) FROM STDIN`)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := inbox.ExecContext(ctx, int64(e.user), e.number, int64(e.conversation), e.seq); err != nil {
			return err
		}
	}
	if err := finish(ctx, inbox); err != nil {
		return err
	}
	return tx.Commit()
}

// finish ends a COPY.
func finish(ctx context.Context, s *sql.Stmt) error {
	_, err := s.ExecContext(ctx)
	return errors.Join(err, s.Close())
}
