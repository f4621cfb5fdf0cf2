package api

import (
	"context"

	"github.com/google/uuid"

	"postbox"
)

func sendOperation(l Limits) *operation {
	return &operation{Operation{
		Name: "send", Summary: "Send a message to a user or to a room", Creates: true,
		Doc: "The reply comes when the message is stored. With an idempotency key it is stored once, however often it is sent.",
		Fields: []Field{
			userField("to", "the recipient"),
			roomField("room", "or the room"),
			{Name: "body", Max: int64(l.Body), TooLarge: true, Doc: "the body, as text"},
			{Name: "body_base64", Kind: KindBytes, Max: int64(l.Body), TooLarge: true, Doc: "or any bytes"},
			{
				Name: "content_type", Max: postbox.MaxContentType, check: postbox.CheckContentType,
				Doc: "text/plain if it is not given and the body is UTF-8",
			},
			{Name: "ref", Kind: KindObject, Max: int64(l.Ref), TooLarge: true, Doc: "the app's own object, kept as it is sent"},
			keyField(),
			numberField("expires_in", "seconds after which the message is not delivered and not shown any more", 1, maxExpiry),
		},
		OneOf: [][]string{{"to", "room"}, {"body", "body_base64"}},
		Reply: reply(
			must("id", idSchema("of the message")),
			must("seq", countSchema("its place in the conversation", 1)),
			must("inbox_seq", countSchema("the place of the sender's own copy in the sender's inbox", 1)),
			must("sent_at", timeSchema("when it was stored")),
			must("duplicate", flagSchema("it was stored before, under the same key")),
		),
		Codes: []postbox.Code{postbox.CodeForbidden, postbox.CodeNotFound, postbox.CodeConflict},
	}, (*API).send}
}

// Send is a decoded send.
type Send struct {
	To        postbox.Topic
	Publish   *postbox.Publish // without conversation and recipients
	RequestID string           // to be repeated; empty if none
	Reply     string           // where an MQTT client wants the reply; empty if it does not say
}

// ParseSend decodes a send for an edge that stores it by itself, like any
// publish. The reply is then AppendSent.
func (a *API) ParseSend(caller Caller, body []byte) (Send, *postbox.Error) {
	c, err := a.prepare(caller, "send", body)
	if err != nil {
		return Send{}, postbox.AsError(err)
	}
	to, p := c.draft()
	return Send{To: to, Publish: p, RequestID: c.in.get("request_id").text, Reply: c.in.get("reply").text}, nil
}

// AppendSent appends the reply to a send.
func AppendSent(dst []byte, stored postbox.Stored, duplicate bool, requestID string) []byte {
	var o object
	o.sent(stored, duplicate)
	if requestID != "" {
		o.text("request_id", requestID)
	}
	return append(dst, o.end()...)
}

func (o *object) sent(stored postbox.Stored, duplicate bool) {
	o.text("id", stored.ID.String())
	o.number("seq", int64(stored.Seq))
	o.number("inbox_seq", int64(stored.InboxSeq))
	o.moment("sent_at", stored.SentAt)
	o.flag("duplicate", duplicate)
}

func (a *API) send(ctx context.Context, c *call) error {
	to, p := c.draft()
	stored, duplicate, err := a.o.Writer.Send(ctx, to, p)
	if err != nil {
		return err
	}
	c.out.sent(stored, duplicate)
	c.created = !duplicate
	return nil
}

// draft makes the message of a send. Its digest is that of an MQTT publish of
// the same, so that a key is good at both edges.
func (c *call) draft() (postbox.Topic, *postbox.Publish) {
	key := c.in.get("idempotency_key").text
	to := postbox.Topic{Kind: postbox.KindInbox, User: postbox.User(c.in.get("to").text), Key: key}
	if room := c.in.get("room"); room.set {
		to = postbox.Topic{Kind: postbox.KindRoom, Room: postbox.Room(room.text), Key: key}
	}
	m := &postbox.Message{
		ID: newID(), Sender: c.caller.ID, From: c.caller.Name, To: to.User, Room: to.Room,
		ContentType: c.in.get("content_type").text, Ref: c.in.get("ref").text, Body: c.body(),
		Device: c.caller.Device, Key: key,
	}
	expiry := uint32(c.in.get("expires_in").n)
	return to, &postbox.Publish{
		Message: m, Expiry: expiry, Digest: postbox.DigestOf(m.Destination(), m.ContentType, m.Ref, expiry, m.Body),
	}
}

// body is the body that a request gives, in either form.
func (c *call) body() []byte {
	if raw := c.in.get("body_base64"); raw.set {
		return raw.bytes
	}
	return []byte(c.in.get("body").text)
}

// newID makes an id of the server's (RFC 9562 §5.7).
func newID() postbox.MessageID {
	return postbox.MessageID(uuid.Must(uuid.NewV7())) // fails only without randomness, when nothing is safe
}
