package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"postbox"
)

// Receipt says where a message was stored.
type Receipt struct {
	ID       postbox.MessageID
	Seq      postbox.Seq      // in the conversation
	InboxSeq postbox.InboxSeq // of the sender's own copy
	SentAt   time.Time
	// Key is the idempotency key it was sent under, also when Send failed.
	Key string
}

// SendOption changes one Send.
type SendOption func(*sending)

// WithKey sends under an idempotency key of the program's own, 1 to 128
// printable ASCII characters without space, '/', '+' and '#', unique among all
// that the user ever sends. A message sent twice under one key is stored once.
// Without it, Send makes a random one.
func WithKey(key string) SendOption { return func(s *sending) { s.key = key } }

// Send sends a message to a user and returns once it is stored, or refused:
// then errors.Is(err, postbox.ErrForbidden) and the like hold. It goes on over
// lost connections until ctx ends. An error that is neither a refusal nor from
// checking the arguments (ctx's, ErrClosed) leaves open whether the message is
// stored: call Send again with WithKey(receipt.Key), which never stores it
// twice.
//
// The confirmation is the message's own copy in the sender's inbox, behind
// what is there already: it comes only while the program receives and
// acknowledges. A message that was stored and confirmed before this Client was
// made has no new copy in MQTT 3.1.1; sent again under its key, it waits for
// ctx to end.
//
// Sends of one goroutine to one user are stored in their order.
func (c *Client) Send(ctx context.Context, to postbox.User, body []byte, opts ...SendOption) (Receipt, error) {
	s := &sending{to: to, key: rand.Text(), body: append([]byte{}, body...), result: make(chan result, 1)}
	for _, opt := range opts {
		opt(s)
	}
	if err := c.check(s); err != nil {
		return Receipt{Key: s.key}, err
	}
	s.topic = "inbox/" + string(to) + "/" + s.key
	if err := c.outbox.enter(ctx, c.ctx, s); err != nil {
		return Receipt{Key: s.key}, fmt.Errorf("send to %s: %w", to, err)
	}
	defer c.outbox.leave(s)
	select {
	case r := <-s.result:
		return s.outcome(r)
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	select {
	case r := <-s.result: // it came at the same moment
		return s.outcome(r)
	default:
	}
	err := context.Cause(c.ctx)
	if err == nil {
		err = ctx.Err()
	}
	return Receipt{Key: s.key}, fmt.Errorf("send to %s: not known to be stored (%d deliveries wait for Ack): %w",
		to, c.ledger.unacknowledged(), err)
}

func (s *sending) outcome(r result) (Receipt, error) {
	if r.err != nil {
		return Receipt{Key: s.key}, fmt.Errorf("send to %s: %w", s.to, r.err)
	}
	return r.receipt, nil
}

func (c *Client) check(s *sending) error {
	if _, err := postbox.ParseUser(string(s.to)); err != nil {
		return err
	}
	if err := postbox.CheckKey(s.key); err != nil {
		return err
	}
	if len(s.body) > c.o.MaxBody {
		return postbox.Errorf(postbox.CodeTooLarge, "the body has %d bytes; at most %d are allowed", len(s.body), c.o.MaxBody)
	}
	return nil
}
