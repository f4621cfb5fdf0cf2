package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"sync"

	"postbox"
)

// maxRemembered is how many confirmed sends are remembered, for a Send that is
// repeated after its ctx ended.
const maxRemembered = 1024

// sending is one Send that waits for its confirmation.
type sending struct {
	to     postbox.User
	key    string
	topic  string
	body   []byte // never changed: Paho may hold it
	result chan result
}

type result struct {
	receipt Receipt
	err     error
}

// outbox holds the sends that wait, in order. A send stays until it is
// confirmed, refused or given up, and is published on each connection once.
type outbox struct {
	me     postbox.User
	places chan struct{} // holds one value for each send that waits
	more   chan struct{} // told when there may be something to publish

	mu      sync.Mutex
	conn    *link      // on which is published
	waiting []*sending // in the order of Send
	next    int        // the first of waiting not published on this connection
	byKey   map[string]*sending
	// remembered are the newest own copies by key, keys the same as they came.
	remembered map[string]stored
	keys       []string
}

// stored is a confirmed message.
type stored struct {
	receipt Receipt
	to      postbox.User
	digest  [sha256.Size]byte
}

func newOutbox(me postbox.User, inFlight int) *outbox {
	return &outbox{
		me:         me,
		places:     make(chan struct{}, inFlight),
		more:       make(chan struct{}, 1),
		byKey:      make(map[string]*sending),
		remembered: make(map[string]stored),
	}
}

// enter adds a send, once there is a place. Its result may be there at once.
func (b *outbox) enter(ctx, client context.Context, s *sending) error {
	select {
	case b.places <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-client.Done():
		return context.Cause(client)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byKey[s.key] != nil {
		<-b.places
		return postbox.Errorf(postbox.CodeConflict, "another Send is waiting under the idempotency key %s", s.key)
	}
	b.byKey[s.key] = s
	if old, ok := b.remembered[s.key]; ok && old.to == s.to && old.digest == sha256.Sum256(s.body) {
		s.result <- result{receipt: old.receipt}
		return nil
	}
	b.waiting = append(b.waiting, s)
	tell(b.more)
	return nil
}

// leave removes a send, whatever became of it.
func (b *outbox) leave(s *sending) {
	b.mu.Lock()
	b.remove(s)
	delete(b.byKey, s.key)
	b.mu.Unlock()
	<-b.places
}

func (b *outbox) remove(s *sending) {
	if i := slices.Index(b.waiting, s); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
		if i < b.next {
			b.next--
		}
	}
}

// begin makes all that waits due again, on a new connection.
func (b *outbox) begin(conn *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn, b.next = conn, 0
	tell(b.more)
}

// take returns the next send to publish on conn. There is none for any but the
// newest connection.
func (b *outbox) take(conn *link) *sending {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != conn || b.next == len(b.waiting) {
		return nil
	}
	b.next++
	return b.waiting[b.next-1]
}

// putBack undoes the take of s, which could not be published.
func (b *outbox) putBack(conn *link, s *sending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiting, s); b.conn == conn && i >= 0 {
		b.next = min(b.next, i)
	}
}

// confirm looks whether e is the own copy of a send. A copy of another message
// that the user once sent under the same key is not: that send will be refused
// as a conflict.
func (b *outbox) confirm(e *Envelope) {
	if e.Type != TypeMessage || e.Key == "" || e.From != b.me {
		return
	}
	r := Receipt{ID: e.ID, Seq: e.Seq, InboxSeq: e.InboxSeq, SentAt: e.SentAt, Key: e.Key}
	asSent := e.Body != nil && e.EditedAt.IsZero()
	b.mu.Lock()
	defer b.mu.Unlock()
	if asSent {
		b.remember(e.Key, stored{receipt: r, to: e.To, digest: sha256.Sum256(e.Body)})
	}
	s := b.byKey[e.Key]
	if s == nil || s.to != e.To || asSent && !bytes.Equal(s.body, e.Body) {
		return
	}
	b.settle(s, result{receipt: r})
}

// refuse gives an error envelope to the send that it is about, and reports
// whether there is one.
func (b *outbox) refuse(e *Envelope) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.byKey[e.Key]
	if s == nil || s.topic != e.Topic {
		return false
	}
	b.settle(s, result{err: &postbox.Error{Code: e.Code, Message: e.Text}})
	return true
}

// settle ends a send; only its first result counts.
func (b *outbox) settle(s *sending, r result) {
	b.remove(s)
	select {
	case s.result <- r:
	default:
	}
}

func (b *outbox) remember(key string, m stored) {
	if _, ok := b.remembered[key]; !ok {
		if len(b.keys) == maxRemembered {
			delete(b.remembered, b.keys[0])
			b.keys = b.keys[1:]
		}
		b.keys = append(b.keys, key)
	}
	b.remembered[key] = m
}
