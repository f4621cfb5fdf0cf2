package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/lib/pq"

	"postbox"
)

var (
	changeStatement = changeColumns + `postbox.change($1` + changeArguments
	changeAlone     = changeColumns + alone + `postbox.change($1 + alone.zero` + changeArguments

	changeColumns = `
	SELECT r_outcome, r_id, r_conversation, r_seq, r_at, r_expires, r_target, r_to, r_room, r_users, r_numbers
	  FROM `
	changeArguments = `, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`
)

// changed is what postbox.change returns.
type changed struct {
	outcome      string
	id, target   sql.NullString
	conversation sql.NullInt64
	seq          sql.NullInt64
	at, expires  sql.NullTime
	to, room     sql.NullString
	users        pq.Int64Array
	numbers      pq.Int64Array
}

// Change commits one edit, retraction or read marker in one round trip (schema
// function postbox.change), or a change of a room (postbox.room), and fills in its
// second block: numbers, or why it is refused. A change of a room that has another
// version by now is postbox.ErrStaleRoute. A read marker that everybody has been told of gets no number. Its
// errors are those of Append, and after an outcome that is not known the same
// change must be given again.
func (l *Lane) Change(ctx context.Context, c *postbox.Change) error {
	if l.unsure != nil || l.unsureChange != nil {
		if l.unsureChange != c {
			return fmt.Errorf("change on lane %d: what was last stored has no known outcome yet", l.id)
		}
		// Once the fence is raised an earlier try has committed or never will;
		// postbox.change tells by the id.
		if err := l.refence(ctx); err != nil {
			if errors.Is(err, l.fenced) {
				return err
			}
			l.drop()
			return &unavailable{"settle a change of unknown outcome", err}
		}
		l.unsureChange = nil
	}
	if c.Room != nil {
		return l.changeRoom(ctx, c)
	}
	var got *changed
	err := l.apart(ctx, logsOf(c), func(alone bool) (err error) {
		got, err = l.callChange(ctx, c, alone)
		if err == nil {
			l.heads.raise(got.users, got.numbers)
		}
		return err
	})
	if err != nil {
		return l.changeFailed(c, err)
	}
	return got.into(c)
}

// logsOf are the inboxes that a change writes to, in ascending order, as far as that
// is known before: of the frequent ones, which are read markers.
func logsOf(c *postbox.Change) []int64 {
	if c.Type != postbox.EntryRead {
		return nil
	}
	actor, peer := int64(c.Actor), int64(c.Peer)
	if c.Quiet || peer == 0 || peer == actor {
		return []int64{actor}
	}
	return []int64{min(actor, peer), max(actor, peer)}
}

func (l *Lane) callChange(ctx context.Context, c *postbox.Change, alone bool) (*changed, error) {
	conn, err := l.connect(ctx)
	if err != nil {
		return nil, err
	}
	key := c.Event.Key
	target := sql.NullString{String: c.Target.String(), Valid: c.Type != postbox.EntryRead}
	body := c.Body
	if body == nil {
		body = []byte{}
	}
	statement := changeStatement
	if alone {
		statement = changeAlone
	}
	var got changed
	err = conn.QueryRowContext(ctx, statement,
		l.id, l.incarnation, time.Now().UTC().Truncate(time.Millisecond),
		int16(c.Type), c.Actor, c.Event.ID.String(), target, int64(c.Conversation), int64(c.Event.Seq), c.Quiet,
		key, c.Digest[:], body,
	).Scan(&got.outcome, &got.id, &got.conversation, &got.seq, &got.at, &got.expires, &got.target,
		&got.to, &got.room, &got.users, &got.numbers)
	return &got, err
}

// changeFailed sorts the error of a call, as failed does for batches.
func (l *Lane) changeFailed(c *postbox.Change, err error) error {
	var pe *pq.Error
	if errors.As(err, &pe) {
		switch pe.Code {
		case "PB001":
			return l.fenced
		case "PB002":
			return errLogGone
		case "40P01", "40001", "55P03":
			return away("change", err) // rolled back, and worth another try
		case "23505":
			// Another server has just stored its key: the next try finds it.
			return &unavailable{"change", err}
		}
		if !isAway(err) {
			return fmt.Errorf("store a change: %w", err)
		}
	}
	l.unsureChange = c
	l.drop()
	return &unavailable{"change", err}
}

// into fills in a change.
func (got *changed) into(c *postbox.Change) error {
	switch got.outcome {
	case "stored", "duplicate":
	case "known":
		c.Recipients, c.InboxSeqs = nil, nil
		return nil
	default:
		c.Refusal = changeRefusal(got.outcome, c)
		return nil
	}
	id, err := postbox.ParseMessageID(got.id.String)
	if err != nil {
		return err
	}
	e := &c.Event
	e.ID, e.Seq, e.At = id, postbox.Seq(got.seq.Int64), got.at.Time.UTC()
	e.To, e.Room = postbox.User(got.to.String), postbox.Room(got.room.String)
	c.Conversation, c.Duplicate = postbox.ConversationID(got.conversation.Int64), got.outcome == "duplicate"
	got.number(c)
	if c.Type == postbox.EntryRead {
		return nil
	}
	if e.Of, err = postbox.ParseMessageID(got.target.String); err != nil {
		return err
	}
	c.Message = &postbox.Message{
		ID: e.Of, Conversation: c.Conversation, Seq: e.Seq, To: e.To, Room: e.Room,
		ExpiresAt: got.expires.Time, Body: c.Body,
	}
	if c.Type == postbox.EntryRetract {
		c.Message.RetractedAt = e.At
	} else {
		c.Message.EditedAt = e.At
	}
	return nil
}

// number fills in who got which number.
func (got *changed) number(c *postbox.Change) {
	c.Recipients, c.InboxSeqs = make([]postbox.UserID, len(got.users)), make([]postbox.InboxSeq, len(got.numbers))
	for i, u := range got.users {
		c.Recipients[i] = postbox.UserID(u)
	}
	for i, n := range got.numbers {
		c.InboxSeqs[i] = postbox.InboxSeq(n)
	}
}

func changeRefusal(outcome string, c *postbox.Change) *postbox.Error {
	switch outcome {
	case "conflict":
		return postbox.Errorf(postbox.CodeConflict, "the idempotency key was used before for another change: use a new one")
	case "forbidden":
		return postbox.Errorf(postbox.CodeForbidden, "message %s is not yours to change", c.Target)
	case "gone":
		return postbox.Errorf(postbox.CodeNotFound, "message %s was retracted or has expired", c.Target)
	}
	if c.Type == postbox.EntryRead {
		return postbox.Errorf(postbox.CodeNotFound, "there is no such conversation")
	}
	return postbox.Errorf(postbox.CodeNotFound, "there is no message %s", c.Target)
}
