package api

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"postbox"
)

// Limits are the settings that requests are held to. Zero values are not
// defaults: give them all.
type Limits struct {
	Body    int // bytes of a message
	Ref     int // bytes of a ref
	Request int // bytes of a request
}

// Options are what an API works with; all but Now are required.
type Options struct {
	Writer   Writer
	Archive  Archive
	Inbox    Inbox
	People   People
	Devices  Devices
	Presence Presence
	Markers  Markers
	Rooms    Rooms
	Signals  Signals
	SignIn   SignIn
	Logins   Logins
	// Directory and Invites are for administrators.
	Directory Directory
	Invites   Invites
	Erasure   Erasure
	Epoch     postbox.Epoch
	Limits    Limits
	Logger    *slog.Logger
	// Now is the clock; time.Now if it is not given.
	Now func() time.Time
}

// API is the operations. Its methods may be called from any goroutine.
type API struct {
	o          Options
	operations []*operation
	announcer  *announcer
}

// New makes the operations. Start runs what they leave to do later.
func New(o Options) *API {
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &API{o: o}
	a.announcer = newAnnouncer(o.Writer, o.Markers, a.quiet, o.Logger)
	a.operations = operations(o.Limits)
	for _, op := range a.operations {
		op.Fields = append(op.Fields, common()...)
	}
	return a
}

// Start runs the announcing of read markers, first of those that an earlier
// server has left.
func (a *API) Start() { a.announcer.start() }

// Shutdown announces what read markers are left, as long as ctx lasts. What is
// not announced then is when the next server starts. It is safe to call twice.
func (a *API) Shutdown(ctx context.Context) error { return a.announcer.shutdown(ctx) }

// Reads reports whether an operation changes nothing; false if there is none of
// the name.
func (a *API) Reads(name string) bool {
	op := a.find(name)
	return op != nil && op.Reads
}

// Call does one operation: the request is a JSON object, and so is the reply.
// The error is one of docs/spec.md §9; its cause, if it is a fault of ours, is in
// the log under the caller's request id. It returns within the time that ctx
// allows.
func (a *API) Call(ctx context.Context, caller Caller, name string, body []byte) ([]byte, *postbox.Error) {
	reply, err := a.Do(ctx, caller, name, body)
	return reply.JSON, err
}

// Do is Call for an edge that tells what was made from what was there.
func (a *API) Do(ctx context.Context, caller Caller, name string, body []byte) (Reply, *postbox.Error) {
	c, err := a.prepare(caller, name, body)
	if err == nil {
		err = c.in.op.run(a, ctx, c)
	}
	if err == nil {
		if id := c.in.get("request_id"); id.set {
			c.out.text("request_id", id.text)
		}
		if reply := c.out.end(); caller.MaxReply == 0 || len(reply) <= caller.MaxReply {
			return Reply{JSON: reply, Created: c.created, borrowed: c.out.borrowed}, nil
		}
		err = postbox.Errorf(postbox.CodeTooLarge, "the reply is larger than what the client takes, %d bytes", caller.MaxReply)
	}
	return Reply{}, a.refusal(ctx, caller, name, err)
}

// prepare decodes a request.
func (a *API) prepare(caller Caller, name string, body []byte) (*call, error) {
	op := a.find(name)
	if op == nil {
		return nil, postbox.Errorf(postbox.CodeNotFound, "there is no operation %s", quote(name))
	}
	switch {
	case op.Edge != EdgeBoth && op.Edge != caller.Edge:
		return nil, postbox.Errorf(postbox.CodeNotFound, "%s is not there by this way in: use the other one", name)
	case caller.ID == 0 && !op.Anonymous:
		return nil, postbox.ErrUnauthenticated
	case op.Admins && !caller.Admin:
		return nil, postbox.Errorf(postbox.CodeForbidden, "%s is for administrators", name)
	}
	if len(body) > a.o.Limits.Request {
		return nil, postbox.Errorf(postbox.CodeTooLarge, "the request has %d bytes; at most %d are allowed", len(body), a.o.Limits.Request)
	}
	in, err := op.decode(body, caller.Edge)
	if err != nil {
		return nil, err
	}
	if err := in.takeKey(caller.Key); err != nil {
		return nil, err
	}
	if err := in.checkChoice(); err != nil {
		return nil, err
	}
	return &call{caller: caller, in: in}, nil
}

// takeKey takes an idempotency key that came beside the request.
func (r *request) takeKey(key *string) error {
	if key == nil {
		return nil
	}
	for i := range r.op.Fields {
		f := &r.op.Fields[i]
		if f.Name != "idempotency_key" {
			continue
		}
		if r.values[i].set && r.values[i].text != *key {
			return postbox.Errorf(postbox.CodeInvalid, "Idempotency-Key and the field idempotency_key name different keys: give one")
		}
		v, err := f.parseText(*key)
		r.values[i] = v
		return err
	}
	return nil
}

// refusal is what a stranger may know of an error. The cause of a fault of ours
// goes into the log.
func (a *API) refusal(ctx context.Context, caller Caller, name string, err error) *postbox.Error {
	var known *postbox.Error
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case errors.As(err, &known):
	case ended && errors.As(context.Cause(ctx), &known):
		// Whoever ended the request has said why.
	case ended:
		known = postbox.ErrUnavailable
	default:
		known = postbox.AsError(err)
		a.o.Logger.Error("an operation failed", "error", err, "operation", name, "user", caller.Name, "request_id", caller.RequestID)
	}
	if known.Message == "" {
		known = &postbox.Error{Code: known.Code, Message: sentences[known.Code]}
	}
	return known
}

// sentences stand in for errors that came without one.
var sentences = map[postbox.Code]string{
	postbox.CodeInvalid:         "the request is not right",
	postbox.CodeUnauthenticated: "log in again",
	postbox.CodeForbidden:       "this is not allowed",
	postbox.CodeNotFound:        "there is no such thing that you may see",
	postbox.CodeConflict:        "the idempotency key was used before for something else",
	postbox.CodeTooLarge:        "this is too large",
	postbox.CodeRateLimited:     "too many requests: try again later",
	postbox.CodeEpochChanged:    "the epoch is over: start again without a number",
	postbox.CodeExpired:         "this is too old to be had",
	postbox.CodeUnavailable:     "the database is away: try again",
	postbox.CodeInternal:        "a fault of the server; its log has the cause",
}

// AppendError appends an error as the JSON of docs/spec.md §9.
func AppendError(dst []byte, err *postbox.Error, requestID string) []byte {
	dst = append(dst, `{"error":{"code":`...)
	dst = postbox.AppendString(dst, string(err.Code))
	dst = append(dst, `,"message":`...)
	dst = append(postbox.AppendString(dst, err.Error()), '}')
	if requestID != "" {
		dst = append(dst, `,"request_id":`...)
		dst = postbox.AppendString(dst, requestID)
	}
	return append(dst, '}')
}
