package hooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"postbox"
	"postbox/api"
	"postbox/inbox"
)

// Operations are those of docs/spec.md §7; package api has them.
type Operations interface {
	// Call does one operation: the request and the reply are JSON objects. The
	// error is what the caller may know.
	Call(ctx context.Context, caller api.Caller, operation string, request []byte) ([]byte, *postbox.Error)
	// ParseSend decodes a send, which goes the way of every publish.
	ParseSend(caller api.Caller, request []byte) (api.Send, *postbox.Error)
	// Reads reports whether an operation changes nothing.
	Reads(operation string) bool
}

const (
	// requestTimeout bounds a request: when the database has not answered by then
	// the client is told that it is away.
	requestTimeout = time.Minute
	// maxReads is how many requests of one connection that only read may wait.
	maxReads = 64
	// replyOverhead is what a reply's packet holds beside topic, correlation data
	// and the JSON itself, in bytes.
	replyOverhead = 64
)

// request is one publish to api/v1/{operation}.
type request struct {
	client      *client
	operation   string
	body        []byte
	id          string // to be repeated
	topic       string // of the reply
	correlation []byte
}

// request makes the draft with which a request is acknowledged, and what has to
// be done before. A send is a draft like that of any publish, whose outcome is
// the reply. A request that only reads is acknowledged at once. Of all others the
// acknowledgement follows the commit.
func (c *client) request(pk packets.Packet, operation string) (*inbox.Draft, func()) {
	r := &request{client: c, operation: operation, body: pk.Payload, correlation: pk.Properties.CorrelationData}
	if err := r.address(pk.Properties.ResponseTopic); err != nil {
		return c.refused(pk, err), nil
	}
	if c.hook.o.MayAsk != nil && !c.hook.o.MayAsk(c.who.ID) {
		err := postbox.Errorf(postbox.CodeRateLimited, "too many requests: send fewer each second")
		r.fail(err)
		return c.refused(pk, err), nil
	}
	if operation == "send" {
		send, err := c.hook.o.Operations.ParseSend(r.caller(), r.body)
		if err != nil {
			r.fail(err)
			return c.passed(pk), nil
		}
		d := &inbox.Draft{To: send.To.User, Topic: pk.TopicName, Origin: &sending{client: c, request: r}}
		d.Publish = *send.Publish
		return d, nil
	}
	if !c.hook.o.Operations.Reads(operation) {
		return c.passed(pk), func() { r.answer(false) }
	}
	if c.reads.waiting() >= maxReads {
		r.fail(postbox.Errorf(postbox.CodeRateLimited, "too many requests of this connection wait: send them later"))
	} else {
		c.reads.put(c.hook, nil, func() { r.answer(true) }, c.give)
	}
	return c.passed(pk), nil
}

// passed is a draft that stores nothing and is acknowledged in its turn.
func (c *client) passed(pk packets.Packet) *inbox.Draft {
	d := &inbox.Draft{Action: inbox.Pass, Topic: pk.TopicName}
	d.Publish.Message = &postbox.Message{}
	d.Publish.Digest = postbox.DigestOf(pk.TopicName, "", "", 0, pk.Payload)
	return d
}

// address decides where the reply goes: to the response topic, which must be the
// user's own; without one to where the request says, or to the device's own
// place.
func (r *request) address(response string) error {
	var says struct {
		RequestID string `json:"request_id"`
		Reply     string `json:"reply"`
	}
	_ = json.Unmarshal(r.body, &says) // what is wrong with it the operation says
	if len(says.RequestID) <= postbox.MaxKeyLength {
		r.id = says.RequestID
	}
	mine := "reply/" + string(r.client.who.Name) + "/"
	switch {
	case response != "" && !r.client.mayBeRepliedTo(response):
		return postbox.Errorf(postbox.CodeForbidden, "the response topic must be below %s", mine)
	case response != "":
		r.topic = response
	case says.Reply != "" && r.client.mayBeRepliedTo(mine+says.Reply):
		r.topic = mine + says.Reply
	default:
		r.topic = mine + percentEncode(r.client.device)
	}
	return nil
}

// mayBeRepliedTo reports whether a topic is below the user's own reply/{me}/.
func (c *client) mayBeRepliedTo(topic string) bool {
	f, err := postbox.ParseFilter(topic, c.who.Name)
	return err == nil && f.Kind == postbox.KindReply && !strings.ContainsAny(topic, "+#")
}

func (r *request) caller() api.Caller {
	c := r.client
	size := c.hook.o.Limits.Packet
	if c.maxSize > 0 {
		size = min(size, c.maxSize)
	}
	c.mu.Lock()
	shown := c.shown
	c.mu.Unlock()
	return api.Caller{
		ID: c.who.ID, Name: c.who.Name, Device: c.device, Admin: c.who.Admin, Edge: api.EdgeMQTT,
		Address: c.conn.host(), Shown: shown, Connection: c.name, Renewed: c.renewed,
		MaxReply: max(1, size-len(r.topic)-len(r.correlation)-replyOverhead), RequestID: r.id,
	}
}

// answer does the operation and sends its reply. Reading is done again while the
// database restarts.
func (r *request) answer(reads bool) {
	h := r.client.hook
	defer func() {
		if fault := recover(); fault != nil {
			h.o.Logger.Error("an operation ended in a panic", "panic", fault, "operation", r.operation, "stack", string(debug.Stack()))
			r.fail(postbox.Errorf(postbox.CodeInternal, "a fault of the server; its log has the cause"))
		}
	}()
	ctx, cancel := h.within(requestTimeout)
	defer cancel()
	var reply []byte
	call := func() error {
		var err *postbox.Error
		if reply, err = h.o.Operations.Call(ctx, r.caller(), r.operation, r.body); err != nil {
			return err
		}
		return nil
	}
	var err error
	if reads {
		err = h.patiently(ctx, call)
	} else {
		err = call()
	}
	var refusal *postbox.Error
	if errors.As(err, &refusal) {
		r.fail(refusal)
		return
	}
	r.reply(reply)
}

func (r *request) fail(err *postbox.Error) { r.reply(api.AppendError(nil, err, r.id)) }

func (r *request) reply(payload []byte) {
	r.client.hook.fanOut(packets.Packet{
		TopicName: r.topic, Payload: payload,
		Properties: packets.Properties{
			CorrelationData: r.correlation, ContentType: "application/json",
			PayloadFormat: 1, PayloadFormatFlag: true,
		},
	})
}

// sending is the origin of a send: its outcome is the reply, beside the
// acknowledgement.
type sending struct {
	client  *client
	request *request
}

// Settled implements inbox.Origin.
func (s *sending) Settled(d *inbox.Draft) {
	if d.Refusal != nil {
		s.request.fail(d.Refusal)
	} else {
		s.request.reply(api.AppendSent(nil, d.Stored, d.Duplicate, s.request.id))
	}
	s.client.settle(d, nil) // the reply has told
}

// Flush implements inbox.Origin.
func (s *sending) Flush() { s.client.Flush() }

// percentEncode writes a client id as one level of a topic (RFC 3986 §2.1).
func percentEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
