package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"postbox"
)

// Receipt says where a message is stored.
type Receipt struct {
	ID       postbox.MessageID
	Seq      postbox.Seq      // in the conversation
	InboxSeq postbox.InboxSeq // of the sender's own copy
	SentAt   time.Time
	// Duplicate says that the message was stored before under a key that the
	// program gave: by an earlier Send, or by this one over a connection that
	// was lost before the answer came.
	Duplicate bool
	// Key is the idempotency key it was sent under, also when Send failed.
	Key string
}

// outgoing is a message that is about to be sent.
type outgoing struct {
	to          postbox.User
	room        postbox.Room
	body        []byte
	key         string
	contentType string
	ref         json.RawMessage
	life        time.Duration
}

// SendOption changes one Send.
type SendOption func(*outgoing)

// WithKey sends under an idempotency key of the program's own, 1 to 128
// printable ASCII characters without space, '/', '+' and '#', unique among all
// that the user ever sends. A message sent twice under one key is stored once.
// Without it, Send makes a random one.
func WithKey(key string) SendOption { return func(m *outgoing) { m.key = key } }

// WithContentType says what the body is, in at most 255 bytes. Without it, the
// receivers see text/plain for UTF-8, else application/octet-stream.
func WithContentType(t string) SendOption { return func(m *outgoing) { m.contentType = t } }

// WithRef adds the app's own JSON object, of at most 4 KiB: what the message
// answers, a reaction, an attachment. The server never looks at it.
func WithRef(object json.RawMessage) SendOption { return func(m *outgoing) { m.ref = object } }

// ExpiresIn lets the message expire, in whole seconds from one on: after that it
// is not delivered any more, and shows as a tombstone.
func ExpiresIn(life time.Duration) SendOption { return func(m *outgoing) { m.life = life } }

// Send sends a message to a user and returns once it is stored, or refused:
// then errors.Is(err, postbox.ErrForbidden) and the like hold. It goes on over
// lost connections until ctx ends. An error that is neither a refusal nor from
// checking the arguments (ctx's, ErrClosed) leaves open whether the message is
// stored: call Send again with WithKey(receipt.Key), which never stores it
// twice.
//
// It may be called while deliveries wait for Ack, and by any number of
// goroutines; Options.InFlight of them are on their way at once. Sends of one
// goroutine to one user are stored in their order.
func (c *Client) Send(ctx context.Context, to postbox.User, body []byte, opts ...SendOption) (Receipt, error) {
	return c.send(ctx, &outgoing{to: to, body: body}, opts)
}

// SendToRoom is Send to a room, in which the user must be more than a reader.
func (c *Client) SendToRoom(ctx context.Context, room postbox.Room, body []byte, opts ...SendOption) (Receipt, error) {
	return c.send(ctx, &outgoing{room: room, body: body}, opts)
}

func (c *Client) send(ctx context.Context, m *outgoing, opts []SendOption) (Receipt, error) {
	for _, opt := range opts {
		opt(m)
	}
	private := m.key == ""
	if private {
		m.key = rand.Text()
	}
	if err := c.check(m); err != nil {
		return Receipt{Key: m.key}, err
	}
	e, err := m.errand(private)
	if err != nil {
		return Receipt{Key: m.key}, fmt.Errorf("send to %s: %w", m.destination(), err)
	}
	// The own copy comes behind what is there already. The program may go on
	// with that only when this Send is done.
	e.asRequest = !private || c.ledger.unacknowledged() > wideOpen
	r, err := c.await(ctx, e, c.places)
	if err != nil {
		return Receipt{Key: m.key}, fmt.Errorf("send to %s: not known to be stored: %w", m.destination(), err)
	}
	if r.err != nil {
		return Receipt{Key: m.key}, fmt.Errorf("send to %s: %w", m.destination(), r.err)
	}
	if r.reply == nil {
		return r.receipt, nil
	}
	return receiptOf(r.reply, m.key, private)
}

// wideOpen is how many deliveries may wait for Ack, of the 64 that a server
// sends, before a Send no longer trusts that its own copy will come soon.
const wideOpen = 16

// receiptOf reads the reply to a send. Under a key that nobody else knows a
// duplicate is of this very Send.
func receiptOf(reply []byte, key string, private bool) (Receipt, error) {
	var r struct {
		ID        wireID           `json:"id"`
		Seq       postbox.Seq      `json:"seq"`
		InboxSeq  postbox.InboxSeq `json:"inbox_seq"`
		SentAt    time.Time        `json:"sent_at"`
		Duplicate bool             `json:"duplicate"`
	}
	if err := json.Unmarshal(reply, &r); err != nil {
		return Receipt{Key: key}, fmt.Errorf("read the reply to a send: %w", err)
	}
	return Receipt{
		ID: postbox.MessageID(r.ID), Seq: r.Seq, InboxSeq: r.InboxSeq, SentAt: r.SentAt,
		Duplicate: r.Duplicate && !private, Key: key,
	}, nil
}

// errand makes the two forms of a message: as it is, if there is nothing to say
// beside it, and as a request.
func (m *outgoing) errand(private bool) (*errand, error) {
	m.body = append([]byte{}, m.body...)
	e := newErrand()
	e.operation, e.key, e.private, e.to, e.room = "send", m.key, private, m.to, m.room
	request := func() ([]byte, error) {
		return e.encode(struct {
			To   postbox.User `json:"to,omitempty"`
			Room postbox.Room `json:"room,omitempty"`
			wireBody
			ContentType string          `json:"content_type,omitempty"`
			Ref         json.RawMessage `json:"ref,omitempty"`
			Key         string          `json:"idempotency_key"`
			ExpiresIn   int64           `json:"expires_in,omitempty"`
		}{m.to, m.room, bodyOf(m.body), m.contentType, m.ref, m.key, int64(m.life / time.Second)})
	}
	if m.contentType != "" || m.ref != nil || m.life != 0 {
		var err error
		e.request, err = request()
		return e, err
	}
	e.body = m.body
	e.topic = "inbox/" + string(m.to) + "/" + m.key
	if m.room != "" {
		e.topic = "room/" + string(m.room) + "/" + m.key
	}
	e.late = sync.OnceValue(func() []byte {
		object, _ := request() // of strings alone it cannot fail
		return object
	})
	return e, nil
}

func (m *outgoing) destination() string {
	if m.room != "" {
		return "room " + string(m.room)
	}
	return string(m.to)
}

func (c *Client) check(m *outgoing) error {
	var err error
	if m.room != "" {
		_, err = postbox.ParseRoom(string(m.room))
	} else {
		_, err = postbox.ParseUser(string(m.to))
	}
	if err != nil {
		return err
	}
	if err := postbox.CheckKey(m.key); err != nil {
		return err
	}
	if err := postbox.CheckContentType(m.contentType); err != nil {
		return err
	}
	if m.life != 0 && m.life < time.Second {
		return postbox.Errorf(postbox.CodeInvalid, "the message expires in %s: give a second at least", m.life)
	}
	if len(m.body) > c.o.MaxBody {
		return postbox.Errorf(postbox.CodeTooLarge, "the body has %d bytes; at most %d are allowed", len(m.body), c.o.MaxBody)
	}
	return nil
}
