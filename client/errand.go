package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"postbox"
)

const (
	// confirmBy is how long nothing may be confirmed on a connection before what
	// was published plainly is asked for as a request, whose reply does not wait
	// behind the deliveries that the program has not acknowledged.
	confirmBy = time.Second
	// askAgain is how long a reply may take before the request is repeated: a
	// reply is QoS 0, and may be dropped by a server in distress.
	askAgain = 30 * time.Second
	// maxAsking is how many requests wait for their replies at once; the server
	// itself refuses the 65th.
	maxAsking = 32
	// packetSize is what a server takes as one packet, unless set otherwise;
	// packetHead is more than what stands in it beside a request.
	packetSize = 256 << 10
	packetHead = 1 << 10
)

// errand is something that the client does at the server: a message, a request
// or a subscription. It is published on each connection, until it is answered.
type errand struct {
	id string // of the request, in its reply

	// A message, else empty. It is published to topic, if it can be, and is then
	// confirmed by its own copy; or it goes as the request send.
	key     string
	private bool // nobody else knows the key
	to      postbox.User
	room    postbox.Room
	topic   string
	body    []byte // never changed: Paho may hold it

	// A request, or what makes it when it is needed, once.
	operation string
	request   []byte
	late      func() []byte
	once      bool // not to be repeated, since that would do it twice

	// A subscription, or the end of one.
	filters map[string]byte
	ending  bool

	result chan result // has room for one

	// The outbox's lock guards these.
	asRequest bool      // the form of the next publish of a message
	published int       // how often it was
	at        time.Time // when it was last; zero: it is time for another
	copied    *Receipt  // by the own copy, while the reply may say more
}

// result is what became of an errand.
type result struct {
	receipt Receipt // of a message that its own copy confirms
	reply   []byte  // of a request
	err     error
}

func newErrand() *errand {
	return &errand{id: rand.Text(), result: make(chan result, 1)}
}

// newRequest makes the errand of a request, with its id.
func newRequest(operation string, request any) (*errand, error) {
	e := newErrand()
	e.operation = operation
	var err error
	e.request, err = e.encode(request)
	return e, err
}

// encode writes a request with its id.
func (e *errand) encode(request any) ([]byte, error) {
	object, err := marshal(request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.operation, err)
	}
	if len(object) < 2 || object[0] != '{' {
		return nil, postbox.Errorf(postbox.CodeInvalid, "the request of %s is no JSON object", e.operation)
	}
	head := `{"request_id":"` + e.id + `"`
	if string(object) != "{}" {
		head += ","
	}
	return append([]byte(head), object[1:]...), nil
}

// Call does an operation of docs/spec.md §7 by its name and decodes the reply
// into reply, unless that is nil: what has no method of its own, as the
// operations for administrators. The request is a struct or a map, nil is one
// without fields; request_id is set by the client.
//
// The errors are the server's (errors.Is(err, postbox.ErrNotFound) and the
// like), ctx's and the client's. Like all requests it is repeated when the
// connection was lost before its reply came, and when there were too many for
// the server's rate, until ctx ends; so give a key to what has a field for it.
func (c *Client) Call(ctx context.Context, operation string, request, reply any) error {
	if request == nil {
		request = struct{}{}
	}
	for _, r := range operation {
		if (r < 'a' || r > 'z') && r != '.' && r != '_' {
			return postbox.Errorf(postbox.CodeNotFound, "there is no operation %q", operation)
		}
	}
	e, err := newRequest(operation, request)
	if err != nil {
		return err
	}
	return c.ask(ctx, e, reply)
}

// ask does a request.
func (c *Client) ask(ctx context.Context, e *errand, reply any) error {
	r, err := c.await(ctx, e, c.asking)
	if err == nil {
		err = r.err
	}
	if err == nil && reply != nil {
		err = json.Unmarshal(r.reply, reply)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.operation, err)
	}
	return nil
}

// await does an errand and waits for what becomes of it. Too many requests are
// no answer: the errand is done again, after pauses that grow.
func (c *Client) await(ctx context.Context, e *errand, places chan struct{}) (result, error) {
	// The server would end the connection for it, each time anew.
	if most := max(packetSize, 2*c.o.MaxBody) - packetHead; len(e.request) > most {
		return result{err: postbox.Errorf(postbox.CodeTooLarge, "the request has %d bytes; at most %d are allowed", len(e.request), most)}, nil
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-ctx.Done():
		return result{}, ctx.Err()
	case <-c.ctx.Done():
		return result{}, context.Cause(c.ctx)
	}
	if err := c.outbox.enter(e); err != nil {
		return result{err: err}, nil
	}
	defer c.outbox.leave(e)
	pause := backoff{least: 100 * time.Millisecond, most: 2 * time.Second}
	remind := time.NewTimer(c.outbox.patience(e))
	defer remind.Stop()
	var limited error
	for {
		select {
		case r := <-e.result:
			if e.once || !errors.Is(r.err, postbox.ErrRateLimited) {
				return r, nil
			}
			limited = r.err
			remind.Reset(c.outbox.calm(e, pause.pause()))
			continue
		case <-remind.C:
			remind.Reset(c.outbox.again(e))
			continue
		case <-ctx.Done():
		case <-c.ctx.Done():
		}
		break
	}
	select {
	case r := <-e.result: // it came at the same moment
		if !errors.Is(r.err, postbox.ErrRateLimited) {
			return r, nil
		}
	default:
	}
	err := context.Cause(c.ctx)
	if err == nil {
		err = ctx.Err()
	}
	return result{}, errors.Join(err, limited)
}

// object is the request.
func (e *errand) object() []byte {
	if e.late != nil {
		return e.late()
	}
	return e.request
}

// plain reports whether the message can be published as it is.
func (e *errand) plain() bool { return e.topic != "" }
