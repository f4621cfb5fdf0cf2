package client

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"time"

	"postbox"
)

// mostAgain is how many messages, from the first on, are asked for as requests
// when nothing is confirmed: those behind them follow as these are answered.
const mostAgain = 8

// outbox holds the errands that wait for an answer, in order. Each is published
// on each connection once, and again when it is time.
type outbox struct {
	me   postbox.User
	more chan struct{} // told when there may be something to publish

	mu      sync.Mutex
	conn    *link     // on which is published
	waiting []*errand // in the order of enter
	due     []*errand // what of waiting is to be published next
	byKey   map[string]*errand
	byID    map[string]*errand
	// settled is when a message was last confirmed or refused, or a connection
	// begun.
	settled time.Time
}

func newOutbox(me postbox.User) *outbox {
	return &outbox{
		me:    me,
		more:  make(chan struct{}, 1),
		byKey: make(map[string]*errand),
		byID:  make(map[string]*errand),
	}
}

// enter adds an errand.
func (b *outbox) enter(e *errand) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.key != "" {
		if b.byKey[e.key] != nil {
			return postbox.Errorf(postbox.CodeConflict, "another Send is waiting under the idempotency key %s", e.key)
		}
		b.byKey[e.key] = e
	}
	b.byID[e.id] = e
	b.waiting = append(b.waiting, e)
	b.due = append(b.due, e)
	tell(b.more)
	return nil
}

// leave removes an errand, whatever became of it.
func (b *outbox) leave(e *errand) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove(e)
	delete(b.byID, e.id)
	if b.byKey[e.key] == e {
		delete(b.byKey, e.key)
	}
}

func (b *outbox) remove(e *errand) {
	if i := slices.Index(b.waiting, e); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	}
	if i := slices.Index(b.due, e); i >= 0 {
		b.due = slices.Delete(b.due, i, i+1)
	}
}

// begin makes all that waits due again, on a new connection: what was published
// before goes as a request, whose reply tells also what is stored already.
func (b *outbox) begin(conn *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn, b.settled = conn, time.Now()
	for _, e := range slices.Clone(b.waiting) {
		switch {
		case e.published == 0:
		case e.once:
			b.settle(e, result{err: postbox.Errorf(postbox.CodeUnavailable, "the connection was lost before the answer came: it may be done or not")})
		default:
			e.asRequest = true
		}
	}
	b.due = slices.Clone(b.waiting)
	tell(b.more)
}

// take returns the next errand to publish on conn, and whether as a request.
// There is none for any but the newest connection.
func (b *outbox) take(conn *link) (e *errand, asRequest bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != conn || len(b.due) == 0 {
		return nil, false
	}
	e = b.due[0]
	b.due = b.due[1:]
	e.published++
	e.at = time.Now()
	return e, e.asRequest || !e.plain()
}

// putBack undoes the take of e, which could not be published.
func (b *outbox) putBack(conn *link, e *errand) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == conn && slices.Contains(b.waiting, e) && !slices.Contains(b.due, e) {
		e.published--
		b.due = slices.Insert(b.due, 0, e)
	}
}

// patience is how long an errand waits for its answer before again is called.
func (b *outbox) patience(e *errand) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.plain() {
		return confirmBy
	}
	return askAgain
}

// again makes an errand due that has not been answered, and returns how long to
// wait before the next time. A message that was published plainly has time as
// long as others before it are confirmed.
func (b *outbox) again(e *errand) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := slices.Index(b.waiting, e)
	if at < 0 || e.published == 0 || e.once || slices.Contains(b.due, e) {
		return confirmBy
	}
	switch {
	case e.copied != nil:
		b.settle(e, result{receipt: *e.copied})
		return askAgain
	case e.asRequest || !e.plain():
		if time.Since(e.at) < askAgain {
			return confirmBy
		}
	case at >= mostAgain || time.Since(b.settled) < confirmBy:
		return confirmBy
	}
	e.asRequest = true
	b.due = append(b.due, e)
	tell(b.more)
	return confirmBy
}

// calm is told that there were too many requests. What can be published plainly
// is so, which the server slows and does not refuse; all else waits.
func (b *outbox) calm(e *errand, pause time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !e.plain() {
		e.at = time.Time{}
		return pause
	}
	if e.asRequest && slices.Contains(b.waiting, e) && !slices.Contains(b.due, e) {
		b.due = append(b.due, e)
		tell(b.more)
	}
	e.asRequest = false
	return confirmBy
}

// repeated reports whether an errand was published more than once.
func (b *outbox) repeated(e *errand) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return e.published > 1
}

// confirm looks whether e is the own copy of a message that was published
// plainly. A copy of another message that the user once sent under the same key
// is not: that one will be refused as a conflict.
func (b *outbox) confirm(copied *Envelope) {
	if copied.Type != TypeMessage || copied.Key == "" || copied.From != b.me {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.byKey[copied.Key]
	if e == nil || !e.plain() || e.to != copied.To || e.room != copied.Room {
		return
	}
	asSent := copied.Body != nil && copied.EditedAt.IsZero() && bytes.Equal(e.body, copied.Body) && copied.Ref == nil
	if !asSent && !e.private {
		return
	}
	r := Receipt{ID: copied.ID, Seq: copied.Seq, InboxSeq: copied.InboxSeq, SentAt: copied.SentAt, Key: copied.Key}
	if e.asRequest && !e.private {
		e.copied = &r // it may be an old one: the reply tells
		return
	}
	b.settle(e, result{receipt: r})
}

// refuse gives an error envelope to the message that it is about, and reports
// whether there is one.
func (b *outbox) refuse(told *Envelope) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.byKey[told.Key]
	if e == nil || e.topic != told.Topic {
		return false
	}
	b.settle(e, result{err: &postbox.Error{Code: told.Code, Message: told.Text}})
	return true
}

// answer gives a reply to the request with this id, if it waits. Too many
// requests are an answer that does not end it.
func (b *outbox) answer(id string, r result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.byID[id]
	if e == nil {
		return
	}
	if !e.once && errors.Is(r.err, postbox.ErrRateLimited) {
		e.offer(r)
		return
	}
	b.settle(e, r)
}

// settle ends an errand; only its first result counts.
func (b *outbox) settle(e *errand, r result) {
	b.remove(e)
	if e.key != "" {
		b.settled = time.Now()
	}
	e.offer(r)
}

// offer leaves a result. One that says only that there were too many requests
// makes room for a better one.
func (e *errand) offer(r result) {
	select {
	case e.result <- r:
		return
	default:
	}
	select {
	case old := <-e.result:
		if !errors.Is(old.err, postbox.ErrRateLimited) {
			r = old
		}
	default:
	}
	select {
	case e.result <- r:
	default:
	}
}
