package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"strings"

	"github.com/jmoiron/sqlx"

	"postbox"
)

// eraseStep is how many messages of a conversation are looked at in one
// transaction of an erasure: it holds nobody up.
const eraseStep = 2000

// errLogGone refuses what was on its way while an account was erased.
var errLogGone = postbox.Errorf(postbox.CodeNotFound, "the account of the sender or of the recipient is not there any more")

// CloseAccount begins the erasure of an account: in one transaction the person is
// gone, with name, password, devices, wills, blocks and sign-ins, nothing can be
// appended to the inbox or by its user any more (but a room's message that is being
// committed just then), and the servers are told. To leave
// its rooms, and what was written, is left for Erase.
// The account keeps a name that tells nothing. It is ErrNotFound if there is no such
// account, or not any more.
func (s *Store) CloseAccount(ctx context.Context, name postbox.User) (postbox.UserID, error) {
	w := word{kind: ControlErased}
	err := s.withWord(ctx, "close an account", &w, func(tx *sqlx.Tx) (bool, error) {
		const find = `SELECT id FROM postbox.users WHERE name = $1 AND erased_at IS NULL`
		if err := tx.GetContext(ctx, &w.user, find, name); err != nil {
			return false, err
		}
		// It is random, and of no person.
		nameless := "erased." + strings.ToLower(rand.Text()[:16])
		// First what may take long and holds nobody up. Wills come before logs, as for
		// those who send them.
		for _, step := range []step{
			{`DELETE FROM postbox.wills WHERE user_id = $1 OR recipient = $2 AND NOT room`, []any{w.user, name}},
			{`DELETE FROM postbox.subscriptions WHERE filter = 'presence/' || $1::text`, []any{name}},
			{`UPDATE postbox.control SET subject = ''
			   WHERE subject <> '' AND (user_id = $1 OR subject = $2 AND kind IN ('blocked', 'unblocked'))`, []any{w.user, name}},
			{`UPDATE postbox.events e SET data = jsonb_set(e.data, '{user}', to_jsonb($3::text))
			   WHERE e.kind = 4 AND e.data ->> 'user' = $2 AND e.conversation_id IN (
			       SELECT m.conversation_id FROM postbox.memberships m WHERE m.user_id = $1)`, []any{w.user, name, nameless}},
		} {
			if err := step.run(ctx, tx); err != nil {
				return false, err
			}
		}
		// The lock of the inbox comes before that of the user, as for those who append:
		// what is being committed is waited for, and then there is nothing to append to.
		// There is none if somebody else has just closed it.
		var locked int64
		if err := tx.GetContext(ctx, &locked, `SELECT id FROM postbox.logs WHERE id = $1 FOR UPDATE`, w.user); err != nil {
			return false, err
		}
		for _, step := range []step{
			{`DELETE FROM postbox.logs WHERE id = $1`, []any{w.user}},
			{`INSERT INTO postbox.reserved_names (digest) VALUES (postbox.reserved_name($1))`, []any{name}},
			{`UPDATE postbox.users
			     SET name = $2, display_name = '', password_hash = '', admin = false, receipts = false, accept = 'nobody', delivered_seq = 0,
			         tokens_valid_after = now(), created_at = now(), seen_at = NULL, disabled_at = NULL, erased_at = now()
			   WHERE id = $1`, []any{w.user, nameless}},
			{`DELETE FROM postbox.blocks WHERE user_id = $1 OR blocked_id = $1`, []any{w.user}},
			{`DELETE FROM postbox.devices WHERE user_id = $1`, []any{w.user}},
			{`DELETE FROM postbox.imported_users WHERE user_id = $1`, []any{w.user}},
			{`DELETE FROM postbox.logins WHERE user_id = $1`, []any{w.user}},
			{`INSERT INTO postbox.erasures (user_id) VALUES ($1)`, []any{w.user}},
		} {
			if err := step.run(ctx, tx); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if errors.Is(err, sql.ErrNoRows) {
		return 0, errNoUser(name)
	}
	return w.user, err
}

// step is a statement of an erasure.
type step struct {
	statement string
	args      []any
}

func (s step) run(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.ExecContext(ctx, s.statement, s.args...)
	return err
}

// Erasures lists accounts of which something is left to erase, and on which
// nobody has worked for a while.
func (s *Store) Erasures(ctx context.Context) ([]postbox.UserID, error) {
	var users []postbox.UserID
	const list = `SELECT user_id FROM postbox.erasures WHERE worked_at < now() - interval '10 seconds' ORDER BY user_id`
	err := s.db.SelectContext(ctx, &users, list)
	return users, away("list erasures", err)
}

// Erase erases what a closed account has left, in short transactions: it leaves its
// rooms, its messages become tombstones, its inbox, read markers and idempotency keys
// go. Whatever
// ends it, it can be done again, and goes on. progress is told how many messages
// it has made tombstones so far; it may be nil. It does nothing for an account
// that is not closed, or of which nothing is left.
func (s *Store) Erase(ctx context.Context, user postbox.UserID, progress func(messages int)) error {
	if err := s.leaveRooms(ctx, user); err != nil {
		return err
	}
	var places []int64
	const find = `
		SELECT c.id FROM postbox.erasures e
		  JOIN postbox.conversations c ON c.user_low = e.user_id OR c.user_high = e.user_id
		 WHERE e.user_id = $1
		UNION SELECT m.conversation_id FROM postbox.erasures e JOIN postbox.memberships m ON m.user_id = e.user_id
		 WHERE e.user_id = $1`
	if err := s.db.SelectContext(ctx, &places, find, user); err != nil {
		return away("find what is to be erased", err)
	}
	erased := 0
	for _, c := range places {
		err := s.eraseIn(ctx, user, c, func(n int) {
			if erased += n; progress != nil {
				progress(erased)
			}
		})
		if err != nil {
			return err
		}
	}
	const entries = `
		DELETE FROM postbox.inbox i USING (
			SELECT user_id, inbox_seq FROM postbox.inbox WHERE user_id = $1 ORDER BY inbox_seq LIMIT $2) n
		 WHERE i.user_id = n.user_id AND i.inbox_seq = n.inbox_seq`
	const events = `
		UPDATE postbox.events e SET idempotency_key = NULL, digest = NULL, body = NULL
		 WHERE e.id IN (SELECT id FROM postbox.events WHERE actor_id = $1 AND num_nonnulls(idempotency_key, digest, body) > 0 LIMIT $2)`
	// A connection that was being made when the account was closed.
	const devices = `DELETE FROM postbox.devices WHERE user_id = $1 AND id IN (SELECT id FROM postbox.devices WHERE user_id = $1 LIMIT $2)`
	for _, statement := range []string{entries, events, devices} {
		for more := true; more; {
			n, err := s.eraseSome(ctx, user, statement, user, eraseStep)
			if more = n > 0; err != nil {
				return err
			}
		}
	}
	_, err := s.db.ExecContext(ctx, `DELETE FROM postbox.erasures WHERE user_id = $1`, user)
	return away("end an erasure", err)
}

// eraseIn erases what a user has left in one conversation.
func (s *Store) eraseIn(ctx context.Context, user postbox.UserID, conversation int64, did func(int)) error {
	var head postbox.Seq
	if err := s.db.GetContext(ctx, &head, `SELECT head FROM postbox.heads WHERE id = $1`, conversation); err != nil {
		return away("find the end of a conversation", err)
	}
	// A digest shows what is not erased yet: each message has one.
	const tombstones = `
		WITH erasing AS MATERIALIZED (SELECT set_config('postbox.erasing', 'on', true)),
		queued AS (
			INSERT INTO postbox.search_queue (queued_at, conversations, afters, counts, changed)
			SELECT clock_timestamp(), ARRAY[$1::bigint], ARRAY[$2::bigint], ARRAY[$3::integer], true)
		UPDATE postbox.messages m
		   SET body = '', ref = NULL, content_type = NULL, device = NULL, idempotency_key = NULL, digest = '',
		       retracted_at = coalesce(m.retracted_at, greatest(m.sent_at, now()))
		  FROM erasing
		 WHERE m.conversation_id = $1 AND m.seq > $2 AND m.seq <= $2 + $3 AND m.sender_id = $4 AND m.digest <> ''`
	for after := postbox.Seq(0); after < head; after += eraseStep {
		n, err := s.eraseSome(ctx, user, tombstones, conversation, after, eraseStep, user)
		if err != nil {
			return err
		}
		if n > 0 {
			did(n)
		}
	}
	_, err := s.eraseSome(ctx, user, `DELETE FROM postbox.positions WHERE conversation_id = $1 AND user_id = $2`, conversation, user)
	return err
}

// eraseSome does one step, and notes that somebody works.
func (s *Store) eraseSome(ctx context.Context, user postbox.UserID, statement string, args ...any) (int, error) {
	tx, err := s.db.BeginTxx(ctx, nil)
	if err != nil {
		return 0, away("erase", err)
	}
	defer func() { _ = tx.Rollback() }()
	done, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, away("erase", err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE postbox.erasures SET worked_at = clock_timestamp() WHERE user_id = $1`, user); err != nil {
		return 0, away("erase", err)
	}
	n, err := done.RowsAffected()
	if err != nil {
		return 0, err
	}
	return int(n), away("erase", tx.Commit())
}

// ForgetNames forgets what users are called, where their conversations are, and how
// far their inboxes are: it is remembered as if it never changed, and an erased
// account has another name and no inbox.
func (s *Store) ForgetNames() {
	s.archive.names.forget()
	s.archive.places.forget()
	s.archive.parties.forget()
	s.heads.forgetAll()
}
