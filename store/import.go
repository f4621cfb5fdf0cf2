package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"postbox"
)

// ImportMessage is a direct message of another application.
type ImportMessage struct {
	Sender, Recipient postbox.UserID
	SentAt            time.Time // whole milliseconds
	// Key is the message's name there: it becomes its idempotency key.
	Key         string
	ContentType string
	Body        []byte
	Digest      postbox.Digest
	Read        bool // the recipient has read it
}

// ImportFound is what is there already of a message that is to be imported.
type ImportFound struct {
	Conversation postbox.ConversationID
	Seq          postbox.Seq // zero: it is not there
	Changed      bool        // it is there, with other content
	// Late says that it is not there, and that the conversation has a younger
	// message: it would have to take the time of that one.
	Late bool
}

// ImportCount is what became of messages.
type ImportCount struct {
	Added   int
	There   int // they were there before
	Changed int // of those: with other content, which stays
	Late    int // of the added: they have a later time than where they are from
}

// Add adds.
func (c *ImportCount) Add(more ImportCount) {
	c.Added += more.Added
	c.There += more.There
	c.Changed += more.Changed
	c.Late += more.Late
}

// Import stores messages of another application in the inboxes of both sides, as if
// they had been sent when they were: with dense numbers, found by search. It is used
// by one goroutine at a time.
type Import struct {
	store         *Store
	db            *sqlx.DB
	late          bool
	alone         bool                            // the last batch has met others who write
	conversations map[Pair]postbox.ConversationID // of writer and reader
}

// ErrLate refuses a batch of an import.
var ErrLate = postbox.Errorf(postbox.CodeConflict, "messages are older than the last one of their conversation")

// maxImportPairs bounds what an Import remembers of conversations; beyond it the
// memory starts anew.
const maxImportPairs = 100_000

// OpenImport begins to import. Without late nothing is stored behind a message that
// is younger. Close ends it.
func (s *Store) OpenImport(late bool) (*Import, error) {
	settings := map[string]string{"statement_timeout": "60000"}
	for k, v := range laneSettings {
		if k != "statement_timeout" {
			settings[k] = v
		}
	}
	db, err := s.openWith(settings)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return &Import{store: s, db: db, late: late, conversations: make(map[Pair]postbox.ConversationID)}, nil
}

// Close ends the connection.
func (im *Import) Close() error { return im.db.Close() }

// Foresee looks what is there of messages, and what would be late, one for each in
// order. Of the new ones it takes each for itself: one that is late because of another
// is not noticed.
func (im *Import) Foresee(ctx context.Context, all []ImportMessage) ([]ImportFound, error) {
	found, err := im.look(ctx, all)
	if err != nil {
		return nil, err
	}
	last := make(map[Pair]time.Time)
	var lows, highs pq.Int64Array
	for i := range all {
		pair := all[i].pair()
		if _, ok := last[pair]; !ok {
			last[pair] = time.Time{}
			lows, highs = append(lows, int64(pair[0])), append(highs, int64(pair[1]))
		}
	}
	const look = `
		SELECT p.low, p.high, m.sent_at FROM unnest($1::bigint[], $2::bigint[]) AS p (low, high)
		  JOIN postbox.conversations c ON c.user_low = p.low AND c.user_high = p.high
		 CROSS JOIN LATERAL (SELECT m.sent_at FROM postbox.messages m
		                      WHERE m.conversation_id = c.id ORDER BY m.seq DESC LIMIT 1) m`
	rows, err := im.db.QueryContext(ctx, look, lows, highs)
	if err != nil {
		return nil, away("look up conversations of an import", err)
	}
	defer rows.Close()
	for rows.Next() {
		var pair Pair
		var at time.Time
		if err := rows.Scan(&pair[0], &pair[1], &at); err != nil {
			return nil, away("look up conversations of an import", err)
		}
		last[pair] = at
	}
	for i := range all {
		found[i].Late = found[i].Seq == 0 && last[all[i].pair()].After(all[i].SentAt)
	}
	return found, away("look up conversations of an import", rows.Err())
}

// pair are both users, the lower one first.
func (m *ImportMessage) pair() Pair {
	return Pair{min(m.Sender, m.Recipient), max(m.Sender, m.Recipient)}
}

// look looks what is there of messages, one for each in order.
func (im *Import) look(ctx context.Context, all []ImportMessage) ([]ImportFound, error) {
	senders, keys := make(pq.Int64Array, len(all)), make(pq.StringArray, len(all))
	for i := range all {
		senders[i], keys[i] = int64(all[i].Sender), all[i].Key
	}
	const look = `
		SELECT n.ord, m.conversation_id, m.seq, m.digest
		  FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS n (sender, key, ord)
		  JOIN postbox.messages m ON m.sender_id = n.sender AND m.idempotency_key = n.key`
	rows, err := im.db.QueryContext(ctx, look, senders, keys)
	if err != nil {
		return nil, away("look up imported messages", err)
	}
	defer rows.Close()
	found := make([]ImportFound, len(all))
	for rows.Next() {
		var ord int
		var f ImportFound
		var digest []byte
		if err := rows.Scan(&ord, &f.Conversation, &f.Seq, &digest); err != nil {
			return nil, away("look up imported messages", err)
		}
		f.Changed = !bytes.Equal(digest, all[ord-1].Digest[:])
		found[ord-1] = f
	}
	return found, away("look up imported messages", rows.Err())
}

// Append stores those of the messages that are not there, in their order and in one
// transaction, and moves read markers, also by those that are. Sorted by SentAt they
// keep their times; one that is older than the last of its conversation takes that
// one's, or nothing is stored and the error is ErrLate. It may be repeated, whatever became of it: a message is stored once. Two of
// one sender with the same Key are one.
func (im *Import) Append(ctx context.Context, all []ImportMessage) (ImportCount, error) {
	var n ImportCount
	found, err := im.look(ctx, all)
	if err != nil {
		return n, err
	}
	type name struct {
		sender postbox.UserID
		key    string
	}
	seen := make(map[name]bool, len(all))
	var fresh []*ImportMessage
	read := make(readUpTo)
	for i := range all {
		m, f := &all[i], found[i]
		switch {
		case f.Seq != 0:
			n.There++
			if f.Changed {
				n.Changed++
			}
			if m.Read {
				read.note(m, f.Conversation, f.Seq)
			}
		case seen[name{m.Sender, m.Key}]:
			n.There++
		default:
			seen[name{m.Sender, m.Key}] = true
			fresh = append(fresh, m)
		}
	}
	if len(fresh) > 0 {
		publishes, err := im.publishes(ctx, fresh)
		if err != nil {
			return ImportCount{}, err
		}
		late, err := im.commit(ctx, fresh, publishes)
		if err != nil {
			return ImportCount{}, err
		}
		n.Added = len(fresh)
		for i, m := range fresh {
			switch p := publishes[i].Message; {
			case late[i]:
				n.Late++ // what stands before it may not have been read
			case m.Read:
				read.note(m, p.Conversation, p.Seq)
			}
		}
	}
	// That nobody is told of: there is no entry of it in an inbox.
	return n, im.store.SaveOwnPositions(ctx, read.positions())
}

// readUpTo is how far users have read, by ReadPosition without its Seq.
type readUpTo map[ReadPosition]postbox.Seq

// note notes that a message was read by its recipient.
func (r readUpTo) note(m *ImportMessage, c postbox.ConversationID, seq postbox.Seq) {
	if m.Recipient != m.Sender {
		key := ReadPosition{User: m.Recipient, Conversation: c}
		r[key] = max(r[key], seq)
	}
}

func (r readUpTo) positions() []ReadPosition {
	all := make([]ReadPosition, 0, len(r))
	for p, seq := range r {
		p.Seq = seq
		all = append(all, p)
	}
	return all
}

// publishes finds the conversations of messages.
func (im *Import) publishes(ctx context.Context, fresh []*ImportMessage) ([]*postbox.Publish, error) {
	if len(im.conversations) > maxImportPairs {
		clear(im.conversations)
	}
	var missing []Pair
	for _, m := range fresh {
		pair := Pair{m.Sender, m.Recipient}
		if _, ok := im.conversations[pair]; !ok {
			im.conversations[pair] = 0
			missing = append(missing, pair)
		}
	}
	if len(missing) > 0 {
		made, err := im.store.MakeConversations(ctx, missing)
		if err == nil && len(made) != len(missing) {
			err = fmt.Errorf("make conversations: %d of %d made", len(made), len(missing))
		}
		for i, pair := range missing {
			if err != nil {
				delete(im.conversations, pair)
				continue
			}
			im.conversations[pair] = made[i]
		}
		if err != nil {
			return nil, err
		}
	}
	publishes := make([]*postbox.Publish, len(fresh))
	for i, m := range fresh {
		publishes[i] = &postbox.Publish{
			Message: &postbox.Message{
				ID: postbox.NewMessageID(m.SentAt), Conversation: im.conversations[Pair{m.Sender, m.Recipient}],
				Sender: m.Sender, Body: m.Body, Key: m.Key, ContentType: m.ContentType,
			},
			Digest: m.Digest,
		}
		if m.Recipient != m.Sender {
			publishes[i].Recipients = []postbox.UserID{m.Recipient}
		}
	}
	return publishes, nil
}

// commit stores messages and fills in their numbers. It returns which have another
// time than they came with.
func (im *Import) commit(ctx context.Context, fresh []*ImportMessage, publishes []*postbox.Publish) (late []bool, err error) {
	tx, err := im.db.BeginTxx(ctx, nil)
	if err != nil {
		return nil, away("import messages", err)
	}
	defer func() { _ = tx.Rollback() }()
	c := columnsOf(publishes)
	b := importBatch{tx: tx, columns: c}
	if im.alone {
		if err := keepAppendsAway(ctx, tx); err != nil {
			return nil, importError(err)
		}
		im.alone = false
	}
	if err := b.lock(ctx); err != nil {
		return nil, importError(err)
	}
	if err := b.readHeads(ctx); err != nil {
		return nil, importError(err)
	}
	for i, m := range fresh {
		at := max(m.SentAt.UnixMilli(), b.stamps[c.log[i]-1])
		late = append(late, at > m.SentAt.UnixMilli())
		b.stamps[c.log[i]-1] = at
		b.times = append(b.times, at)
	}
	if slices.Contains(late, true) && !im.late {
		return nil, ErrLate
	}
	if err := b.insert(ctx); err != nil {
		im.alone = isBehind(err)
		return nil, importError(err)
	}
	if err := tx.Commit(); err != nil {
		return nil, importError(err)
	}
	c.number(b.heads, b.stamps)
	return late, nil
}

// importError sorts the error of a transaction: after one that is
// postbox.ErrUnavailable the same messages can be given again.
func importError(err error) error {
	var pe *pq.Error
	if errors.As(err, &pe) {
		switch pe.Code {
		case "40P01", "40001", "55P03", // others write, too
			"23505": // the same, or an earlier try has been stored after all
			countError(err)
			return &unavailable{"import messages", err}
		}
	}
	return awayUnlessTold("import messages", err)
}
